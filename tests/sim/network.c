/*
 * network.c - what members say to each other, and what happens to it on the way.
 *
 *   message   -> encoded -> lost | late | twice | on time -> decoded -> engine_message()
 *   snapshot  -> the same, with the database: it is durable there before raft hears of it
 *   question  -> the peer door there -> answer; without one the asker hears status 0 after its time
 *
 * As the links do (peers.h): a proposal is never sent twice, what is known to be lost is reported
 * as unreachable, maybe before send() returns, what a removed member says is refused and it is told
 * so.
 */
#include "tests/sim/sim.h"

#include <stdio.h>

#define MESSAGE_ARENA_BYTES (8 * MIB)
#define LATE_MS_MAX 3000 /* of a message that lingers somewhere */
#define PARTITION_MS_MAX 6000
#define FIELDS_MAX 4 /* of a question */

static struct node *node_of(struct host *host)
{
    return CONTAINER_OF(host, struct sim_host, host)->node;
}

/* ---- links ---- */

static bool is_blocked(const struct sim *sim, const struct node *from, const struct node *to)
{
    return sim->now_ms < sim->blocked_ms[from->number - 1][to->number - 1];
}

static uint64_t delay(struct sim *sim, const struct node *from, const struct node *to)
{
    uint64_t *last_ms = &sim->arrived_ms[from->number - 1][to->number - 1];
    uint64_t at_ms = sim->now_ms + 1 + sim_draw(sim, sim->options.net_delay_ms + 1);

    if (!sim->quiet && sim_chance(sim, sim->options.net_late_1000))
        at_ms += sim_draw(sim, LATE_MS_MAX);
    if (sim->options.net_in_order)
        *last_ms = at_ms = MAX(at_ms, *last_ms);
    return at_ms - sim->now_ms;
}

uint64_t network_connected_ms(struct host *host, uint64_t member)
{
    struct node *node = node_of(host), *other = truth_node(node->sim, member);

    if (other == NULL || other->engine == NULL || is_blocked(node->sim, node, other) ||
        is_blocked(node->sim, other, node))
        return 0;
    return 10000;
}

static void block(struct sim *sim, size_t from, size_t to, uint64_t until_ms)
{
    sim->blocked_ms[from][to] = MAX(sim->blocked_ms[from][to], until_ms);
}

/* Some members are cut off from the others, both ways or one way; or one link goes. */
void network_fault(struct sim *sim)
{
    uint64_t until_ms = sim->now_ms + sim_draw(sim, PARTITION_MS_MAX);
    uint64_t kind = sim_draw(sim, 4), side = sim_draw(sim, UINT64_MAX);
    size_t count = sim->node_count;

    if (count < 2)
        return;
    sim_trace(sim, "partition", kind, side);
    sim->trouble_ms = until_ms;
    if (kind == 0) {
        block(sim, sim_draw(sim, count), sim_draw(sim, count), until_ms);
        return;
    }
    if (kind == 1) /* one alone */
        side = 1ULL << sim_draw(sim, count);
    for (size_t a = 0; a < count; a++)
        for (size_t b = 0; b < count; b++) {
            bool from = side >> a & 1, to = side >> b & 1;

            if (from != to && (kind != 3 || from))
                block(sim, a, b, until_ms);
        }
}

void network_heal(struct sim *sim)
{
    memset(sim->blocked_ms, 0, sizeof(sim->blocked_ms));
}

/* ---- messages ---- */

struct letter {
    struct node *from, *to;
    struct buf bytes;         /* owned */
    struct backend *database; /* owned: of a snapshot */
    uint64_t to_id, index;
};

static void letter_free(struct sim *sim, void *arg)
{
    struct letter *letter = arg;

    (void)sim;
    buf_free(&letter->bytes);
    backend_close(letter->database);
    free(letter);
}

struct report {
    struct node *node;
    uint64_t member, index;
    bool ok;
};

static void report_free(struct sim *sim, void *arg)
{
    (void)sim;
    free(arg);
}

static void lost(struct sim *sim, void *arg)
{
    struct report *report = arg;

    (void)sim;
    engine_unreachable(report->node->engine, report->member);
    if (report->index != 0)
        engine_snapshot_sent(report->node->engine, report->member, report->index, report->ok);
    free(report);
}

static void tell_lost(const struct letter *letter)
{
    struct sim *sim = letter->from->sim;
    struct report *report = xalloc(sizeof(*report));

    *report =
        (struct report){.node = letter->from, .member = letter->to_id, .index = letter->index};
    if (letter->from->engine == NULL)
        free(report);
    else
        sim_after(sim, letter->from, 1 + sim_draw(sim, 20), lost, report)->drop = report_free;
}

static void arrived(struct sim *sim, void *arg)
{
    struct report *report = arg;

    (void)sim;
    engine_snapshot_sent(report->node->engine, report->member, report->index, true);
    free(report);
}

/*
 * The sender's links cannot take it. He may hear so from inside send(), while the messages behind
 * this one still lie in raft's memory; or later; or never.
 */
static void letter_refused(struct sim *sim, struct letter *letter)
{
    if (sim_chance(sim, 500)) {
        if (sim_chance(sim, 500))
            engine_unreachable(letter->from->engine, letter->to_id);
        else
            tell_lost(letter);
    }
    letter_free(sim, letter);
}

/* The receiver dies before the message comes. */
static void letter_lost(struct sim *sim, void *arg)
{
    struct letter *letter = arg;

    if (letter->index != 0 || sim_chance(sim, 500))
        tell_lost(letter);
    letter_free(sim, letter);
}

static void told_removed(struct sim *sim, void *arg)
{
    struct node *node = arg;
    struct err err = ERR_INIT;

    (void)sim;
    err_set(&err, ERR_REMOVED, "the others say that it was removed");
    engine_fail(node->engine);
    node->host.host.ops->stop(&node->host.host, &err);
}

static void keep_database(struct node *node, struct letter *letter)
{
    struct received *received = xalloc(sizeof(*received));

    *received = (struct received){node->received, letter->index, letter->database};
    letter->database = NULL;
    node->received = received;
}

static void deliver(struct sim *sim, void *arg)
{
    struct letter *letter = arg;
    struct node *node = letter->to, *from = letter->from;
    struct raft_message message;
    struct arena arena;
    struct err err = ERR_INIT;

    if (is_blocked(sim, from, node)) {
        letter_lost(sim, letter);
        return;
    }
    if (member_is_removed(engine_members(node->engine), from->id)) {
        if (from->engine != NULL && !from->stopped)
            (void)sim_after(sim, from, 1 + sim_draw(sim, 20), told_removed, from);
        letter_lost(sim, letter);
        return;
    }
    arena_init(&arena, MESSAGE_ARENA_BYTES);
    sim_check(sim, raft_message_decode(buf_slice(&letter->bytes), &arena, &message, &err) == 0,
              "a message does not parse: %s", err.text);
    sim_trace(sim, "message", (uint64_t)message.type << 8 | node->number, message.index);
    if (sim->verbose)
        printf("%8" PRIu64 "   m%u -> m%u type %u term %" PRIu64 " index %" PRIu64
               " of term %" PRIu64 " entries %zu commit %" PRIu64 "%s\n",
               sim->now_ms, from->number, node->number, message.type, message.term, message.index,
               message.log_term, message.entry_count, message.commit,
               message.reject ? " rejected" : "");
    if (letter->database != NULL) {
        struct report *report = xalloc(sizeof(*report));

        keep_database(node, letter);
        *report = (struct report){.node = from, .member = node->id, .index = letter->index};
        if (from->engine != NULL)
            sim_after(sim, from, delay(sim, node, from), arrived, report)->drop = report_free;
        else
            free(report);
    }
    engine_message(node->engine, &message);
    arena_free(&arena);
    letter_free(sim, letter);
}

static struct letter *letter_new(struct node *from, struct node *to,
                                 const struct raft_message *message)
{
    struct letter *letter = xalloc(sizeof(*letter));

    letter->from = from;
    letter->to = to;
    letter->to_id = message->to;
    letter->bytes = BUF_INIT(BUF_UNLIMITED);
    must(raft_message_encode(message, &letter->bytes));
    return letter;
}

static void post(struct letter *letter)
{
    struct sim *sim = letter->from->sim;
    bool gone = letter->to == NULL || letter->to->engine == NULL;

    if (gone || is_blocked(sim, letter->from, letter->to) ||
        (!sim->quiet && sim_chance(sim, sim->options.net_loss_1000))) {
        letter_refused(sim, letter);
        return;
    }
    sim_after(sim, letter->to, delay(sim, letter->from, letter->to), deliver, letter)->drop =
        letter_lost;
}

void network_send(struct host *host, const struct raft_message *messages, size_t count)
{
    struct node *node = node_of(host);
    struct sim *sim = node->sim;

    for (size_t i = 0; i < count; i++) {
        const struct raft_message *message = &messages[i];
        struct node *to = truth_node(sim, message->to);

        truth_sent(node, message);
        post(letter_new(node, to, message));
        if (message->type != RAFT_MSG_PROP && !sim->quiet &&
            sim_chance(sim, sim->options.net_twice_1000))
            post(letter_new(node, to, message));
    }
}

void network_send_snapshot(struct host *host, const struct raft_message *message,
                           struct backend_read *read)
{
    struct node *node = node_of(host);
    struct letter *letter = letter_new(node, truth_node(node->sim, message->to), message);
    uint64_t far_ms = 1 + sim_draw(node->sim, 400); /* it takes its time */

    truth_sent(node, message);
    node->sim->snapshots_sent++;
    letter->index = message->snapshot->meta.index;
    letter->database = backend_mem_of_read(read, NULL);
    sim_check(node->sim, node_consistent_index(read) >= letter->index,
              "member %u sends a snapshot of %" PRIu64 " entries with the database of %" PRIu64,
              node->number, letter->index, node_consistent_index(read));
    backend_read_end(read);
    sim_trace(node->sim, "snapshot", node->number, letter->index);
    if (node == node->sim->damaged) { /* it is lost: who needs it does not catch up */
        node->sim->damage_snapshots++;
        node->sim->trouble_ms = MAX(node->sim->trouble_ms, node->sim->now_ms);
    }
    if (letter->to == NULL || letter->to->engine == NULL || node == node->sim->damaged ||
        (!node->sim->quiet && sim_chance(node->sim, 100)))
        letter_lost(node->sim, letter);
    else
        sim_after(node->sim, letter->to, far_ms, deliver, letter)->drop = letter_lost;
}

/* ---- questions ---- */

struct asking {
    struct node *from;
    struct host_question *question; /* NULL: nobody waits any more */
    unsigned holders;               /* the question, and events that name it */
};

/* The other side of it: a request that the member's peer door has. */
struct sim_served {
    struct exchange exchange; /* first */
    struct sim_served *next;
    struct node *node, *from;
    struct asking *asking;
    struct link link;
    struct exchange_field fields[FIELDS_MAX];
    char *path, *lines; /* owned; what the exchange borrows */
    struct buf body;
};

struct answer {
    struct asking *asking;
    unsigned status;
    struct buf body;
};

static void let_go(struct asking *asking)
{
    if (--asking->holders == 0)
        free(asking);
}

static void finish(struct asking *asking, unsigned status, struct slice body)
{
    struct host_question *question = asking->question;

    if (question == NULL)
        return;
    asking->question = NULL;
    question->host = NULL;
    let_go(asking);
    question->done(question, status, body);
}

static void no_answer(struct sim *sim, void *arg)
{
    (void)sim;
    finish(arg, 0, SLICE_EMPTY);
    let_go(arg);
}

static void drop_asking(struct sim *sim, void *arg)
{
    (void)sim;
    let_go(arg);
}

static void drop_answer(struct sim *sim, void *arg)
{
    struct answer *answer = arg;

    (void)sim;
    let_go(answer->asking);
    buf_free(&answer->body);
    free(answer);
}

static void take_answer(struct sim *sim, void *arg)
{
    struct answer *answer = arg;

    finish(answer->asking, answer->status, buf_slice(&answer->body));
    drop_answer(sim, answer);
}

static void served_free(struct sim_served *own)
{
    free(own->path);
    free(own->lines);
    buf_free(&own->body);
    free(own);
}

static void unlink_served(struct sim_served *served)
{
    struct sim_served **at = &served->node->served;

    while (*at != served)
        at = &(*at)->next;
    *at = served->next;
}

/* Who promotes at a follower shows his token to the leader, from the question to the answer. */
static void show_token(struct sim_served *own)
{
    struct slice value;
    char *token;

    if (!exchange_field(&own->exchange, "authorization", &value))
        return;
    token = strndup((const char *)value.data, value.size);
    must(token != NULL);
    login_shown(own->node, token);
    free(token);
}

/* What the door says: the exchange is ours again. */
static void served(struct exchange *exchange, const struct exchange_head *head, struct slice body)
{
    struct sim_served *own = CONTAINER_OF(exchange, struct sim_served, exchange);
    struct sim *sim = own->node->sim;
    struct answer *answer = xalloc(sizeof(*answer));

    answer->asking = own->asking; /* with its hold */
    answer->status = head->status;
    answer->body = BUF_INIT(BUF_UNLIMITED);
    buf_append_slice(&answer->body, body);
    sim_trace(sim, "told", (uint64_t)head->status << 8 | own->node->number, body.size);
    show_token(own);
    if (own->from->engine == NULL || is_blocked(sim, own->node, own->from))
        drop_answer(sim, answer);
    else
        sim_after(sim, own->from, delay(sim, own->node, own->from), take_answer, answer)->drop =
            drop_answer;
    unlink_served(own);
    served_free(own);
}

static void drop_served(struct sim *sim, void *arg)
{
    struct sim_served *own = arg;

    (void)sim;
    let_go(own->asking);
    served_free(own);
}

static void serve(struct sim *sim, void *arg)
{
    static const struct exchange_ops ops = {.answer = served};
    struct sim_served *own = arg;
    struct exchange_handler door;

    if (is_blocked(sim, own->from, own->node)) {
        drop_served(sim, own);
        return;
    }
    own->next = own->node->served;
    own->node->served = own;
    own->exchange.ops = &ops;
    own->exchange.link = &own->link;
    show_token(own);
    door = peer_door_handler(own->node->peer_door);
    door.start(door.arg, &own->exchange);
}

/* The member dies: those who asked hear nothing. */
void network_drop_served(struct node *node)
{
    while (node->served != NULL) {
        struct sim_served *own = node->served;

        node->served = own->next;
        if (own->exchange.gone != NULL)
            own->exchange.gone(&own->exchange);
        drop_served(node->sim, own);
    }
}

/* Lines "Name: value\r\n". */
static void split_fields(struct sim_served *own)
{
    char *saved = NULL, *value;

    for (char *line = strtok_r(own->lines, "\r\n", &saved); line != NULL;
         line = strtok_r(NULL, "\r\n", &saved)) {
        must(own->exchange.field_count < FIELDS_MAX);
        value = strstr(line, ": ");
        must(value != NULL);
        own->fields[own->exchange.field_count++] =
            (struct exchange_field){slice_of(line, (size_t)(value - line)), slice_text(value + 2)};
    }
    own->exchange.fields = own->fields;
}

/* The question dies when its asker does: a copy of all. */
static struct sim_served *served_new(struct node *node, struct node *from, struct asking *asking,
                                     const struct host_question *question)
{
    struct sim_served *own = xalloc(sizeof(*own));
    const char *method = question->method != NULL ? question->method : "POST";

    own->node = node;
    own->from = from;
    own->asking = asking;
    asking->holders++;
    own->path = xstrdup(question->path);
    own->lines = xstrdup(question->fields != NULL ? question->fields : "");
    own->body = BUF_INIT(BUF_UNLIMITED);
    buf_append_slice(&own->body, question->body);
    own->exchange.method = strcmp(method, "GET") == 0 ? METHOD_GET : METHOD_POST;
    own->exchange.path = slice_text(own->path);
    own->exchange.body = buf_slice(&own->body);
    own->exchange.body_bytes = question->body.size;
    split_fields(own);
    return own;
}

void network_ask(struct host *host, uint64_t member, struct host_question *question)
{
    struct node *node = node_of(host), *to = truth_node(node->sim, member);
    struct sim *sim = node->sim;
    struct asking *asking = xalloc(sizeof(*asking));
    uint64_t timeout_ms = question->timeout_ms;
    bool gone = to == NULL || to->engine == NULL || is_blocked(sim, node, to);

    *asking = (struct asking){.from = node, .question = question, .holders = 2};
    question->host = asking;
    sim_trace(sim, "ask", to != NULL ? to->number : 0, question->body.size);
    if (gone && sim_chance(sim, 500)) /* the connection is refused */
        timeout_ms = MIN(timeout_ms, sim->options.net_delay_ms + 1);
    sim_after(sim, node, timeout_ms, no_answer, asking)->drop = drop_asking;
    if (gone || (!sim->quiet && sim_chance(sim, sim->options.net_loss_1000)))
        return;
    sim_after(sim, to, delay(sim, node, to), serve, served_new(to, node, asking, question))->drop =
        drop_served;
}

void network_ask_cancel(struct host *host, struct host_question *question)
{
    struct asking *asking = question->host;

    (void)host;
    if (asking == NULL)
        return;
    question->host = NULL;
    asking->question = NULL;
    let_go(asking);
}
