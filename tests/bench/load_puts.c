/* load_puts.c - see load_puts.h. */
#include "tests/bench/load_puts.h"

#include "common/schema/rpc.pb-c.h"

#define SLOTS 8192 /* puts under way: above that none is sent, and the rate is not kept */
#define KEY_BYTES 128

struct put_slot {
    struct load_call call;
    struct put_slot *next; /* spare */
    struct load_puts *puts;
    uint64_t sent_ns;
};

static void answered(struct load_call *call)
{
    struct put_slot *slot = call->arg;
    struct load_puts *puts = slot->puts;

    uint64_t now_ns = load_now_ns();

    load_times_add(&puts->times, now_ns - slot->sent_ns);
    if (puts->took != NULL)
        puts->took(puts->arg, slot->sent_ns, now_ns);
    puts->answered++;
    load_call_free(call);
    slot->next = puts->spare;
    puts->spare = slot;
}

void load_puts_start(struct load_puts *puts, struct load *load, unsigned port)
{
    puts->conn = load_connect(load, port);
    puts->slots = xalloc(SLOTS * sizeof(*puts->slots));
    puts->spare = NULL;
    for (size_t i = 0; i < SLOTS; i++) {
        puts->slots[i].puts = puts;
        puts->slots[i].next = puts->spare;
        puts->spare = &puts->slots[i];
    }
    load_times_init(&puts->times);
    load_puts_resume(puts);
}

void load_puts_free(struct load_puts *puts)
{
    free(puts->slots);
    load_times_free(&puts->times);
}

void load_puts_resume(struct load_puts *puts)
{
    puts->began_ns = load_now_ns();
    puts->begun = 0;
}

static void put(struct load_puts *puts, uint64_t now_ns)
{
    struct put_slot *slot = puts->spare;
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    char key[KEY_BYTES];
    uint8_t value[1024] = {0};
    uint64_t stamp[2] = {puts->sent, now_ns};

    must(puts->value_bytes >= sizeof(stamp) && puts->value_bytes <= sizeof(value));
    puts->spare = slot->next;
    slot->sent_ns = now_ns;
    slot->call = (struct load_call){.arg = slot, .ended = answered};
    memcpy(value, stamp, sizeof(stamp));
    request.key =
        (ProtobufCBinaryData){puts->key(puts->arg, puts->sent, key, sizeof(key)), (uint8_t *)key};
    request.value = (ProtobufCBinaryData){puts->value_bytes, value};
    load_call_start(&slot->call, puts->conn, "/etcdserverpb.KV/Put");
    load_call_send(&slot->call, &request.base, true);
    puts->sent++;
}

/* Somewhere in [0, 1), the same in each run. */
static double scatter(uint64_t number)
{
    return (double)(number * 0x9e3779b97f4a7c15U >> 40) / (1U << 24);
}

static uint64_t due_ns(const struct load_puts *puts, uint64_t number)
{
    double steps = (double)number + (puts->scattered ? scatter(number) : 0);

    return puts->began_ns + (uint64_t)(steps * 1e9 / puts->rate);
}

uint64_t load_puts_due(struct load_puts *puts, uint64_t now_ns)
{
    for (; due_ns(puts, puts->begun) <= now_ns && puts->spare != NULL; puts->begun++)
        put(puts, now_ns);
    return due_ns(puts, puts->begun);
}
