/*
 * model.c - see model.h.
 *
 *   keys[]  sorted by name; each with all its versions, oldest first
 *   "now" inside an entry that has written something is revision + 1, else revision
 */
#include "tests/sim/model.h"
#include "common/schema/pbbytes.h"
#include "tests/sim/answer.h"

void model_init(struct model *model)
{
    *model = (struct model){.revision = 1, .compacted = -1, .answer = BUF_INIT(BUF_UNLIMITED)};
    rights_init(&model->rights);
}

void model_fini(struct model *model)
{
    for (size_t i = 0; i < model->key_count; i++) {
        for (size_t v = 0; v < model->keys[i].count; v++)
            free((void *)(uintptr_t)model->keys[i].versions[v].value.data);
        free(model->keys[i].versions);
        free((void *)(uintptr_t)model->keys[i].name.data);
    }
    buf_free(&model->answer);
    free(model->revisions);
}

static struct slice copy_of(struct slice bytes)
{
    uint8_t *copy = xalloc(bytes.size + 1);

    if (bytes.size != 0)
        memcpy(copy, bytes.data, bytes.size);
    return slice_of(copy, bytes.size);
}

static bool in_range(struct slice name, ProtobufCBinaryData key, ProtobufCBinaryData range_end)
{
    if (range_end.len == 0)
        return slice_equal(name, pb_slice(key));
    if (slice_compare(name, pb_slice(key)) < 0)
        return false;
    return (range_end.len == 1 && range_end.data[0] == 0) ||
           slice_compare(name, pb_slice(range_end)) < 0;
}

static struct model_key *key_of(struct model *model, struct slice name)
{
    size_t at = 0;

    while (at < model->key_count && slice_compare(model->keys[at].name, name) < 0)
        at++;
    if (at < model->key_count && slice_equal(model->keys[at].name, name))
        return &model->keys[at];
    must(model->key_count < MODEL_KEYS_MAX);
    memmove(&model->keys[at + 1], &model->keys[at],
            (model->key_count - at) * sizeof(model->keys[0]));
    model->key_count++;
    model->keys[at] = (struct model_key){.name = copy_of(name)};
    return &model->keys[at];
}

static int64_t now_of(const struct model *model)
{
    return model->revision + (model->writes != 0 ? 1 : 0);
}

/* The version that `revision` sees; NULL when there is no living one. */
static const struct model_version *seen_at(const struct model_key *key, int64_t revision)
{
    const struct model_version *found = NULL;

    for (size_t v = 0; v < key->count && key->versions[v].main <= revision; v++)
        found = &key->versions[v];
    return found != NULL && !found->tombstone ? found : NULL;
}

static Mvccpb__KeyValue key_value_of(const struct model_key *key,
                                     const struct model_version *version)
{
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;

    kv.key = (ProtobufCBinaryData){key->name.size, (uint8_t *)(uintptr_t)key->name.data};
    kv.create_revision = version->create;
    kv.mod_revision = version->main;
    kv.version = version->version;
    kv.lease = version->lease;
    kv.value =
        (ProtobufCBinaryData){version->value.size, (uint8_t *)(uintptr_t)version->value.data};
    return kv;
}

static void add_version(struct model *model, struct model_key *key, struct model_version version)
{
    version.main = model->revision + 1;
    version.sub = model->writes++;
    if (key->count == key->capacity) {
        key->capacity = MAX(key->capacity * 2, 8);
        key->versions = xrealloc(key->versions, key->capacity * sizeof(*key->versions));
    }
    key->versions[key->count++] = version;
}

bool model_keeps_at(const struct model *model, int64_t revision)
{
    for (size_t i = 0; i < model->key_count; i++) {
        const struct model_version *version = seen_at(&model->keys[i], revision);

        if (version != NULL && version->main < revision)
            return true;
    }
    return false;
}

bool model_has_lease(const struct model *model, int64_t id)
{
    for (size_t i = 0; i < model->lease_count; i++)
        if (model->leases[i] == id)
            return true;
    return false;
}

size_t model_lease_keys(const struct model *model, int64_t id)
{
    size_t count = 0;

    for (size_t i = 0; i < model->key_count; i++) {
        const struct model_version *version = seen_at(&model->keys[i], model->revision);

        count += version != NULL && version->lease == id;
    }
    return count;
}

/* ---- events ---- */

static bool is_before(const struct model_version *a, int64_t main, int64_t sub)
{
    return a->main < main || (a->main == main && a->sub < sub);
}

bool model_next_event(const struct model *model, ProtobufCBinaryData key,
                      ProtobufCBinaryData range_end, int64_t main, int64_t sub,
                      struct model_event *event)
{
    *event = (struct model_event){.version = NULL};
    for (size_t i = 0; i < model->key_count; i++) {
        const struct model_key *one = &model->keys[i];
        size_t v = one->count;

        if (!in_range(one->name, key, range_end))
            continue;
        while (v > 0 && !is_before(&one->versions[v - 1], main, sub))
            v--;
        if (v == one->count ||
            (event->version != NULL &&
             !is_before(&one->versions[v], event->version->main, event->version->sub)))
            continue;
        *event =
            (struct model_event){.key = one->name,
                                 .version = &one->versions[v],
                                 .overwritten = v + 1 < one->count &&
                                                one->versions[v + 1].main == one->versions[v].main};
    }
    return event->version != NULL;
}

void model_event_key_value(const struct model_event *event, Mvccpb__KeyValue *kv)
{
    struct model_key key = {.name = event->key};

    *kv = key_value_of(&key, event->version);
}

bool model_key_at(const struct model *model, struct slice name, int64_t revision,
                  Mvccpb__KeyValue *kv)
{
    for (size_t i = 0; i < model->key_count; i++) {
        const struct model_version *version = seen_at(&model->keys[i], revision);

        if (version == NULL || !slice_equal(model->keys[i].name, name))
            continue;
        *kv = key_value_of(&model->keys[i], version);
        return true;
    }
    return false;
}

bool model_oldest_at(const struct model *model, struct slice prefix, int64_t revision,
                     Mvccpb__KeyValue *kv)
{
    bool found = false;

    for (size_t i = 0; i < model->key_count; i++) {
        const struct model_key *key = &model->keys[i];
        const struct model_version *version = seen_at(key, revision);

        if (version == NULL || key->name.size < prefix.size ||
            memcmp(key->name.data, prefix.data, prefix.size) != 0 ||
            (found && version->create >= kv->create_revision))
            continue;
        *kv = key_value_of(key, version);
        found = true;
    }
    return found;
}

/* ---- range ---- */

static enum err_code check_revision(const struct model *model, int64_t revision)
{
    if (revision > model->revision)
        return ERR_FUTURE_REV;
    return revision > 0 && revision < model->compacted ? ERR_COMPACTED : ERR_OK;
}

static bool passes(const Etcdserverpb__RangeRequest *request, const struct model_version *version)
{
    return (request->min_mod_revision == 0 || version->main >= request->min_mod_revision) &&
           (request->max_mod_revision == 0 || version->main <= request->max_mod_revision) &&
           (request->min_create_revision == 0 || version->create >= request->min_create_revision) &&
           (request->max_create_revision == 0 || version->create <= request->max_create_revision);
}

/* Only sorted by key, upwards or downwards; other orders are mvcc_model_test's. */
static void run_range(struct model *model, const Etcdserverpb__RangeRequest *request,
                      struct buf *answer)
{
    bool down = request->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    int64_t at = request->revision > 0 ? request->revision : now_of(model);
    struct buf kvs = BUF_INIT(BUF_UNLIMITED);
    int64_t count = 0, given = 0;
    bool more = false;

    for (size_t i = 0; i < model->key_count; i++) {
        const struct model_key *key = &model->keys[down ? model->key_count - 1 - i : i];
        const struct model_version *version = seen_at(key, at);
        Mvccpb__KeyValue kv;

        if (version == NULL || !in_range(key->name, request->key, request->range_end))
            continue;
        count++;
        if (request->count_only || !passes(request, version))
            continue;
        if (request->limit > 0 && given == request->limit) {
            more = true;
            continue;
        }
        given++;
        kv = key_value_of(key, version);
        if (request->keys_only)
            kv.value.len = 0;
        answer_key_value(&kvs, &kv);
    }
    answer_range_head(answer, now_of(model), count, more);
    buf_append_slice(answer, buf_slice(&kvs));
    buf_free(&kvs);
}

enum err_code model_range(struct model *model, const Etcdserverpb__RangeRequest *request,
                          struct buf *answer)
{
    enum err_code code = check_revision(model, request->revision);

    if (code == ERR_OK)
        run_range(model, request, answer);
    return code;
}

/* ---- put, delete ---- */

/* The lease first (api.md 6.1); puts of transactions have only the one or the other. */
static enum err_code check_put(struct model *model, const Etcdserverpb__PutRequest *put)
{
    if (put->lease != 0 && !model_has_lease(model, put->lease))
        return ERR_LEASE_NOT_FOUND;
    if ((put->ignore_value || put->ignore_lease) &&
        seen_at(key_of(model, pb_slice(put->key)), model->revision) == NULL)
        return ERR_KEY_NOT_FOUND;
    return ERR_OK;
}

static void run_put(struct model *model, const Etcdserverpb__PutRequest *put, struct buf *answer)
{
    struct model_key *key = key_of(model, pb_slice(put->key));
    const struct model_version *old = seen_at(key, now_of(model));
    struct model_version made = {.create = old != NULL ? old->create : model->revision + 1,
                                 .version = old != NULL ? old->version + 1 : 1,
                                 .lease = put->ignore_lease ? old->lease : put->lease};

    made.value = copy_of(put->ignore_value ? old->value : pb_slice(put->value));
    answer_put_head(answer, model->revision + 1);
    if (put->prev_kv && old != NULL) {
        Mvccpb__KeyValue kv = key_value_of(key, old);

        answer_key_value(answer, &kv);
    }
    add_version(model, key, made);
}

static void run_delete(struct model *model, const Etcdserverpb__DeleteRangeRequest *request,
                       struct buf *answer)
{
    struct buf kvs = BUF_INIT(BUF_UNLIMITED);
    int64_t deleted = 0;

    for (size_t i = 0; i < model->key_count; i++) {
        struct model_key *key = &model->keys[i];
        const struct model_version *old = seen_at(key, now_of(model));
        Mvccpb__KeyValue kv;

        if (old == NULL || !in_range(key->name, request->key, request->range_end))
            continue;
        deleted++;
        kv = key_value_of(key, old);
        if (request->prev_kv)
            answer_key_value(&kvs, &kv);
        add_version(model, key, (struct model_version){.tombstone = true});
    }
    answer_delete_head(answer, now_of(model), deleted);
    buf_append_slice(answer, buf_slice(&kvs));
    buf_free(&kvs);
}

/* ---- txn ---- */

static bool relation(Etcdserverpb__Compare__CompareResult result, int order)
{
    return result == ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL     ? order == 0
           : result == ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER ? order > 0
           : result == ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS    ? order < 0
                                                                      : order != 0;
}

static bool holds_for(const Etcdserverpb__Compare *compare, const struct model_version *version)
{
    static const struct model_version missing = {.lease = 0};
    int64_t have = 0, want = 0;

    if (compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE)
        return version != NULL &&
               relation(compare->result, slice_compare(version->value, pb_slice(compare->value)));
    if (version == NULL)
        version = &missing;
    if (compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION) {
        have = version->version;
        want = compare->version;
    } else if (compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE) {
        have = version->create;
        want = compare->create_revision;
    } else if (compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD) {
        have = version->main;
        want = compare->mod_revision;
    } else {
        have = version->lease;
        want = compare->lease;
    }
    return relation(compare->result, (have > want) - (have < want));
}

/* Always against the state before the entry. */
static bool compare_holds(const struct model *model, const Etcdserverpb__Compare *compare)
{
    bool any = false;

    for (size_t i = 0; i < model->key_count; i++) {
        const struct model_version *version = seen_at(&model->keys[i], model->revision);

        if (version == NULL || !in_range(model->keys[i].name, compare->key, compare->range_end))
            continue;
        any = true;
        if (!holds_for(compare, version))
            return false;
    }
    return any || holds_for(compare, NULL);
}

static bool succeeds(const struct model *model, const Etcdserverpb__TxnRequest *txn)
{
    for (size_t i = 0; i < txn->n_compare; i++)
        if (!compare_holds(model, txn->compare[i]))
            return false;
    return true;
}

/* The puts of all branches that run come first, then the ranges. */
static enum err_code check_txn(struct model *model, const Etcdserverpb__TxnRequest *txn, bool puts)
{
    bool yes = succeeds(model, txn);
    size_t count = yes ? txn->n_success : txn->n_failure;
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        const Etcdserverpb__RequestOp *op = yes ? txn->success[i] : txn->failure[i];

        if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
            code = check_txn(model, op->request_txn, puts);
        else if (puts && op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            code = check_put(model, op->request_put);
        else if (!puts && op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
            code = check_revision(model, op->request_range->revision);
    }
    return code;
}

static void run_txn(struct model *model, const Etcdserverpb__TxnRequest *txn, struct buf *answer)
{
    bool yes = succeeds(model, txn);
    size_t count = yes ? txn->n_success : txn->n_failure;

    for (size_t i = 0; i < count; i++) {
        const Etcdserverpb__RequestOp *op = yes ? txn->success[i] : txn->failure[i];

        if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            answer_txn_head(answer, 0, succeeds(model, op->request_txn));
            run_txn(model, op->request_txn, answer);
            answer_txn_tail(answer);
        } else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            run_put(model, op->request_put, answer);
        } else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE) {
            run_delete(model, op->request_delete_range, answer);
        } else {
            run_range(model, op->request_range, answer);
        }
    }
}

static enum err_code whole_txn(struct model *model, const Etcdserverpb__TxnRequest *txn,
                               struct buf *answer)
{
    enum err_code code = check_txn(model, txn, true);
    struct buf inner = BUF_INIT(BUF_UNLIMITED);
    bool yes = succeeds(model, txn);

    if (code == ERR_OK)
        code = check_txn(model, txn, false);
    if (code == ERR_OK) {
        run_txn(model, txn, &inner);
        answer_txn_head(answer, now_of(model), yes);
        buf_append_slice(answer, buf_slice(&inner));
        answer_txn_tail(answer);
    }
    buf_free(&inner);
    return code;
}

enum err_code model_read_txn(struct model *model, const Etcdserverpb__TxnRequest *request,
                             struct buf *answer)
{
    return whole_txn(model, request, answer);
}

/* ---- leases, alarms ---- */

static enum err_code grant(struct model *model, int64_t id)
{
    if (model_has_lease(model, id))
        return ERR_LEASE_EXIST;
    must(model->lease_count < MODEL_LEASES_MAX);
    model->leases[model->lease_count++] = id;
    return ERR_OK;
}

static enum err_code revoke(struct model *model, int64_t id)
{
    if (!model_has_lease(model, id))
        return ERR_LEASE_NOT_FOUND;
    for (size_t i = 0; i < model->key_count; i++) {
        const struct model_version *version = seen_at(&model->keys[i], model->revision);

        if (version != NULL && version->lease == id)
            add_version(model, &model->keys[i], (struct model_version){.tombstone = true});
    }
    for (size_t i = 0; i < model->lease_count; i++)
        if (model->leases[i] == id)
            model->leases[i] = model->leases[--model->lease_count];
    return ERR_OK;
}

static void change_alarm(struct model *model, const Etcdserverpb__AlarmRequest *request)
{
    size_t at = 0;

    if (request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET ||
        request->alarm == ETCDSERVERPB__ALARM_TYPE__NONE)
        return;
    while (at < model->alarm_count && (model->alarms[at].memberid != request->memberid ||
                                       model->alarms[at].alarm != request->alarm))
        at++;
    if (request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE) {
        if (at < model->alarm_count)
            model->alarms[at] = model->alarms[--model->alarm_count];
    } else if (at == model->alarm_count) {
        must(at < MODEL_ALARMS_MAX);
        model->alarms[at].memberid = request->memberid;
        model->alarms[at].alarm = request->alarm;
        model->alarm_count++;
    }
}

static bool alarmed(const struct model *model, Etcdserverpb__AlarmType type)
{
    for (size_t i = 0; i < model->alarm_count; i++)
        if (model->alarms[i].alarm == type)
            return true;
    return false;
}

static bool puts_directly(Etcdserverpb__RequestOp *const *ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
            return true;
    return false;
}

static enum err_code refused_by_alarm(const struct model *model,
                                      const Etcdserverpb__InternalRaftRequest *request)
{
    const Etcdserverpb__TxnRequest *txn = request->txn;
    bool grows = request->put != NULL || request->lease_grant != NULL ||
                 (txn != NULL && (puts_directly(txn->success, txn->n_success) ||
                                  puts_directly(txn->failure, txn->n_failure)));
    bool writes = grows || txn != NULL || request->delete_range != NULL ||
                  request->compaction != NULL || request->lease_revoke != NULL;

    if (writes && alarmed(model, ETCDSERVERPB__ALARM_TYPE__CORRUPT))
        return ERR_CORRUPT;
    return grows && alarmed(model, ETCDSERVERPB__ALARM_TYPE__NOSPACE) ? ERR_NO_SPACE : ERR_OK;
}

/* ---- the log ---- */

static void apply_request(struct model *model, const Etcdserverpb__InternalRaftRequest *request)
{
    model->code = refused_by_alarm(model, request);
    if (model->code == ERR_OK)
        model->code = rights_check(model, request);
    if (model->code != ERR_OK)
        return;
    if (request->put != NULL) {
        model->code = check_put(model, request->put);
        if (model->code == ERR_OK)
            run_put(model, request->put, &model->answer);
    } else if (request->delete_range != NULL) {
        run_delete(model, request->delete_range, &model->answer);
    } else if (request->txn != NULL) {
        model->code = whole_txn(model, request->txn, &model->answer);
    } else if (request->compaction != NULL) {
        int64_t revision = request->compaction->revision;

        model->code = revision <= model->compacted ? ERR_COMPACTED
                      : revision > model->revision ? ERR_FUTURE_REV
                                                   : ERR_OK;
        if (model->code == ERR_OK)
            model->compacted = revision;
    } else if (request->lease_grant != NULL) {
        model->code = grant(model, request->lease_grant->id);
    } else if (request->lease_revoke != NULL) {
        model->code = revoke(model, request->lease_revoke->id);
    } else if (request->alarm != NULL) {
        change_alarm(model, request->alarm);
    } else if (rights_are_asked(request)) {
        model->code = rights_apply(&model->rights, request, model->index);
    }
}

static void remember_revision(struct model *model)
{
    if (model->index > model->revision_capacity) {
        model->revision_capacity = MAX(model->revision_capacity * 2, 256);
        model->revisions =
            xrealloc(model->revisions, model->revision_capacity * sizeof(*model->revisions));
    }
    model->revisions[model->index - 1] = model->revision;
}

int64_t model_revision_at(const struct model *model, uint64_t index)
{
    return index == 0 ? 1 : index <= model->index ? model->revisions[index - 1] : 0;
}

void model_apply(struct model *model, const struct raft_entry *entry,
                 const Etcdserverpb__InternalRaftRequest *request, uint64_t *added,
                 uint64_t *removed)
{
    must(entry->index == model->index + 1);
    model->index = entry->index;
    model->code = ERR_OK;
    model->writes = 0;
    buf_reset(&model->answer);
    if (entry->type == RAFT_ENTRY_CONF_CHANGE)
        model->code = roster_apply(&model->roster, entry, added, removed);
    else if (request != NULL)
        apply_request(model, request);
    if (model->writes != 0)
        model->revision++;
    model->writes = 0;
    remember_revision(model);
}
