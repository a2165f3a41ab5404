/*
 * cmd_mirror.c - make-mirror: copy keys to another cluster, then follow their changes (cli.md 2.6).
 *
 *   pages of the source at one revision -> txns of puts       (left out with --rev)
 *   watch from there, or from --rev     -> a txn for each revision of the source
 *
 * Puts and deletes in order may be done twice without harm. So a destination that goes away is
 * waited for, and what it may have missed is sent again. Neither need be there at the beginning.
 */
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/schema/pbbytes.h"
#include "etcd-ctl/connect.h"
#include "etcd-ctl/pages.h"
#include "etcd-ctl/watch_stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define TXN_BYTES_MAX (512UL * KIB) /* a third of what servers take by default */
#define TELL_EVERY_S 30

struct mirror {
    struct ctl *ctl;
    struct client *destination;
    const char *prefix, *dest_prefix;
    size_t txn_ops_max;
    atomic_llong copied;
    /* the txn that is being made */
    struct arena arena; /* its keys; its values are borrowed */
    Etcdserverpb__RequestOp *ops;
    Etcdserverpb__PutRequest *puts; /* for ops of the same number, as are deletes */
    Etcdserverpb__DeleteRangeRequest *deletes;
    Etcdserverpb__RequestOp **list;
    size_t op_count;
    uint64_t bytes;
    int64_t revision; /* of the source */
};

/* ---- the destination ---- */

/* Send what was gathered, and forget it. */
static int send_txn(struct mirror *mirror, struct err *err)
{
    Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    bool told = false;

    request.success = mirror->list;
    request.n_success = mirror->op_count;
    while (mirror->op_count > 0) {
        ProtobufCMessage *response = NULL;
        struct err cause = ERR_INIT;

        if (client_call(mirror->destination, RPC_KV_Txn, &request.base, &mirror->arena, &response,
                        &cause) == 0) {
            (void)atomic_fetch_add(&mirror->copied, (long long)mirror->op_count);
            mirror->op_count = 0;
        } else if (!client_may_pass(mirror->destination, &cause)) {
            *err = cause;
            err_prefix(err, "destination");
            return -1;
        } else {
            ctl_wait_for_server("destination: ", &cause, &told);
        }
    }
    mirror->bytes = 0;
    arena_reset(&mirror->arena);
    return 0;
}

/* The key there: the source's prefix replaced by the destination's. */
static ProtobufCBinaryData key_there(struct mirror *mirror, ProtobufCBinaryData key)
{
    size_t cut = strlen(mirror->prefix), added = strlen(mirror->dest_prefix);
    ProtobufCBinaryData there;

    must(key.len >= cut);
    there.len = added + key.len - cut;
    there.data = arena_zalloc(&mirror->arena, there.len + 1);
    must(there.data != NULL); /* a txn is small */
    memcpy(there.data, mirror->dest_prefix, added);
    if (key.len > cut)
        memcpy(there.data + added, key.data + cut, key.len - cut);
    return there;
}

/* Put `kv` there, or delete it. Its value is borrowed until the txn is sent. */
static int add(struct mirror *mirror, const Mvccpb__KeyValue *kv, bool deleted, struct err *err)
{
    size_t bytes = kv->key.len + kv->value.len, at = mirror->op_count;
    Etcdserverpb__RequestOp *op = &mirror->ops[at];

    if (kv->key.len == 0 || !slice_starts_with(pb_slice(kv->key), slice_text(mirror->prefix))) {
        err_set(err, ERR_FORMAT, "the source sent a key without the prefix \"%s\"", mirror->prefix);
        return -1;
    }
    etcdserverpb__request_op__init(op);
    if (deleted) {
        etcdserverpb__delete_range_request__init(&mirror->deletes[at]);
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        op->request_delete_range = &mirror->deletes[at];
        mirror->deletes[at].key = key_there(mirror, kv->key);
    } else {
        etcdserverpb__put_request__init(&mirror->puts[at]);
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = &mirror->puts[at];
        mirror->puts[at].key = key_there(mirror, kv->key);
        mirror->puts[at].value = kv->value;
    }
    mirror->list[at] = op;
    mirror->op_count++;
    mirror->bytes += bytes;
    return mirror->op_count == mirror->txn_ops_max ? send_txn(mirror, err) : 0;
}

/* ---- the source as it is ---- */

static int copy_page(void *arg, const Etcdserverpb__RangeResponse *page, struct err *err)
{
    struct mirror *mirror = arg;

    for (size_t i = 0; i < page->n_kvs; i++) {
        size_t size = page->kvs[i]->key.len + page->kvs[i]->value.len;

        if (mirror->bytes + size > TXN_BYTES_MAX && send_txn(mirror, err) < 0)
            return -1;
        if (add(mirror, page->kvs[i], false, err) < 0)
            return -1;
    }
    return send_txn(mirror, err); /* the values are the page's */
}

static int copy_all(struct mirror *mirror, const struct watch_order *order, struct err *err)
{
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;

    range.key = order->key;
    range.range_end = order->range_end;
    return pages_read(mirror->ctl->client, &range, copy_page, mirror, true, &mirror->revision, err);
}

/* ---- its changes ---- */

static int on_changes(void *arg, const Etcdserverpb__WatchResponse *response, struct err *err)
{
    struct mirror *mirror = arg;

    if (response->canceled && response->compact_revision != 0) {
        err_set(err, ERR_COMPACTED, "%s", err_text(ERR_COMPACTED));
        return -1;
    }
    for (size_t i = 0; i < response->n_events; i++) {
        const Mvccpb__Event *event = response->events[i];

        if (event->kv == NULL)
            continue;
        if (event->kv->mod_revision != mirror->revision && send_txn(mirror, err) < 0)
            return -1;
        mirror->revision = event->kv->mod_revision;
        if (add(mirror, event->kv, event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE, err) < 0)
            return -1;
    }
    return send_txn(mirror, err);
}

static void *tell_count(void *arg)
{
    struct mirror *mirror = arg;

    for (;;) {
        clock_pause_ms(TELL_EVERY_S * 1000);
        if (printf("%lld\n", atomic_load(&mirror->copied)) < 0 || fflush(stdout) != 0)
            exit(ctl_fail(CTL_FAILED, "standard output cannot be written to"));
    }
    return NULL;
}

static int mirror_all(struct mirror *mirror, const struct watch_order *range, struct err *err)
{
    struct watch_order order = *range;
    pthread_t thread;

    if (pthread_create(&thread, NULL, tell_count, mirror) == 0)
        (void)pthread_detach(thread); /* ends with the program */
    if (order.revision == 0) {
        if (copy_all(mirror, range, err) < 0)
            return -1;
        order.revision = mirror->revision + 1;
    }
    if (watch_stream(mirror->ctl->client, &order, on_changes, mirror, err) < 0)
        return -1;
    err_set(err, ERR_NET, "the source ended the watch");
    return -1;
}

/* ---- the command ---- */

static int read_flags(struct mirror *mirror, const struct args *args, struct watch_order *range)
{
    int64_t ops = args_number(args, "max-txn-ops"), revision = args_number(args, "rev");
    const char *dest_prefix = args_text(args, "dest-prefix");
    ProtobufCBinaryData end;
    bool root = args_bool(args, "no-dest-prefix");

    if (args->word_count != 1)
        return ctl_bad_args("make-mirror takes one destination argument");
    if (dest_prefix[0] != '\0' && root)
        return ctl_bad_args("`--dest-prefix` and `--no-dest-prefix` cannot be set at the same "
                            "time, choose one");
    if (ops < 1 || ops > MIRROR_TXN_OPS_MAX)
        return ctl_bad_args("--max-txn-ops=%" PRId64 " is not between 1 and %u", ops,
                            MIRROR_TXN_OPS_MAX);
    if (revision < 0)
        return ctl_bad_args("--rev=%" PRId64 " is no revision: it begins with 1", revision);
    mirror->prefix = args_text(args, "prefix");
    mirror->dest_prefix = dest_prefix[0] != '\0' || root ? dest_prefix : mirror->prefix;
    mirror->txn_ops_max = (size_t)ops;
    *range = (struct watch_order){.key = pb_text(mirror->prefix), .revision = revision};
    end = kv_prefix_end(mirror->ctl, range->key);
    range->range_end = (ProtobufCBinaryData){.len = end.len, .data = xalloc(end.len)};
    memcpy(range->range_end.data, end.data, end.len); /* the arena does not last as long */
    if (range->key.len == 0)                          /* every key */
        range->key = range->range_end;
    return CTL_OK;
}

/* Which of the two failed says where the hint is. */
static int tell_failure(struct mirror *mirror, const struct err *err)
{
    const struct client_failure *there = client_failure(mirror->destination);

    if (there->kind != CLIENT_FAILURE_NONE) {
        (void)ctl_fail(CTL_FAILED, "%s", err->text);
        if (there->hint[0] != '\0')
            connect_destination_hint(there->hint);
        return there->kind == CLIENT_FAILURE_LOGIN || there->kind == CLIENT_FAILURE_ENDPOINT
                   ? CTL_NO_CLIENT
                   : CTL_FAILED;
    }
    if (err->code == ERR_COMPACTED) {
        (void)ctl_fail(CTL_FAILED, "%s", err->text);
        (void)fprintf(stderr, "Leave --rev out, so that the keys there are now are copied.\n");
        return CTL_FAILED;
    }
    return ctl_fail_err(mirror->ctl, CTL_FAILED, err);
}

int cmd_make_mirror(struct ctl *ctl, const struct args *args)
{
    struct mirror *mirror = xalloc(sizeof(*mirror)); /* outlives main's frame: a thread reads it */
    struct watch_order range = {.revision = 0};
    struct err err = ERR_INIT;
    int code;

    mirror->ctl = ctl;
    code = read_flags(mirror, args, &range);
    if (code == CTL_OK)
        code = connect_destination(args, args->words[0], &mirror->destination);
    if (code != CTL_OK) {
        free(range.range_end.data);
        free(mirror);
        return code;
    }
    client_set_timeout(ctl->client, 0);
    arena_init(&mirror->arena, CLIENT_RESPONSE_MAX);
    mirror->ops = xalloc(mirror->txn_ops_max * sizeof(*mirror->ops));
    mirror->puts = xalloc(mirror->txn_ops_max * sizeof(*mirror->puts));
    mirror->deletes = xalloc(mirror->txn_ops_max * sizeof(*mirror->deletes));
    mirror->list = xalloc(mirror->txn_ops_max * sizeof(*mirror->list));
    (void)mirror_all(mirror, &range, &err);
    exit(tell_failure(mirror, &err)); /* with all it holds: the thread may be reading */
}
