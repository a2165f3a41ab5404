/*
 * corrupt_check.c - see corrupt_check.h. One round at a time:
 *
 *   IDLE -> HASHING (our own) -> ASKING (the others, all at once) -> judge -> IDLE
 *
 * A member that lags behind the revision is asked again until the round's time is up. Only hashes
 * with the same compact revision can be compared; who answers with another one is passed over, as
 * is who does not answer. A round that told nothing because somebody compacted meanwhile begins
 * again, at the revision that is current then.
 *
 * Without a key that lives a hash is vague (mvcc.h): members that hold the same may differ in it.
 * But whether a key lives at a revision all know alike, whatever they compacted below it. So a
 * member that has none asks the others for that, too (fields that etcd does not know and leaves
 * out): it holds another thing than those with one. If none has one, their histories are compared
 * (mvcc.h: struct mvcc_history), of those that tell them above the same compact revision. Else it
 * holds the same, as far as can be told.
 */
#include "etcd-server/service/corrupt_check.h"
#include "common/base/base.h"
#include "common/base/json_reader.h"
#include "common/base/limits.h"
#include "common/base/plants.h"
#include "common/schema/pbjson.h"
#include "etcd-server/service/hashing.h"

#include <stdio.h>

#define START_BEHIND_MS 1000   /* at start nobody waits longer for a member that lags behind */
#define ROUND_TIMEOUT_MS 60000 /* a large store is hashed for seconds */
#define START_AGAIN_MS 500     /* to a new round that somebody compacted away ... */
#define START_ROUNDS_MAX 10
#define ROUNDS_MAX 3   /* ... and of the other kinds, at the next tick */
#define AGAIN_MS 60000 /* between comparisons while the alarm is up and no majority answers */
#define ANSWER_BYTES_MAX (64UL * KIB)
#define BODY_BYTES 48
#define FIELD_BYTES 80
#define TEXT_BYTES 160

enum round_kind { ROUND_START, ROUND_WHOLE, ROUND_COMPACTED, ROUND_EXPLAIN };
enum round_state { ROUND_IDLE, ROUND_HASHING, ROUND_ASKING };
enum asked_state { ASKED_BEHIND, ASKED_WAITING, ASKED_ANSWERED, ASKED_PASSED_OVER };

/* One other member in a round. */
struct asked {
    struct corrupt_check *check;
    struct host_question question;
    uint64_t member;
    enum asked_state state;
    bool compacted; /* passed over for another compact revision, but not the next time, perhaps */
    int64_t compact_revision;
    uint32_t hash;
    bool living; /* this and the next: of a vague round; a key lives */
    struct mvcc_history history;
};

struct corrupt_check {
    struct corrupt_check_config config;
    struct engine *engine;
    enum round_state state;
    enum round_kind kind;
    struct hash_query query;
    struct mvcc_hash_result own;
    bool vague;          /* the round: whether a key lives is compared, then the histories */
    struct asked *asked; /* owned */
    size_t asked_count;
    char body[BODY_BYTES], fields[FIELD_BYTES]; /* of the questions */
    uint64_t began_ms;
    unsigned rounds;     /* of this comparison, this one included */
    uint64_t restart_ms; /* the next of them begins; 0 = none will */
    uint64_t next_whole_ms, next_compacted_ms;
    int64_t compacted_done; /* revision of the last hash of a compaction that all agree on */
    bool alarm_seen;        /* the alarm is up, and this member has compared itself ... */
    uint64_t again_at_ms;   /* ... without a majority: once more then; 0 = it is known */
    enum corrupt_start start;
    char start_text[ERR_TEXT_MAX];
};

static uint64_t now_ms(const struct corrupt_check *check)
{
    return host_now_ms(engine_host(check->engine));
}

static const char *name_of(const struct corrupt_check *check, uint64_t id)
{
    const struct member *member = member_find(engine_members(check->engine), id);

    return member != NULL ? member->name : "";
}

/* ---- the end of a round ---- */

static void alarmed(void *arg, const struct engine_result *result)
{
    (void)arg;
    (void)result; /* if it failed, the next round finds the same */
}

static void raise_alarm(struct corrupt_check *check, uint64_t member)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;
    enum err_code refusal;

    if (PLANTED(HASH_UNTOLD) ||
        alarm_names(engine_alarms(check->engine), member, ETCDSERVERPB__ALARM_TYPE__CORRUPT))
        return;
    alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    alarm.memberid = member;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
    request.alarm = &alarm;
    if (engine_propose(check->engine, &request, NULL, alarmed, NULL, &refusal) == 0)
        host_note(engine_host(check->engine), LOG_ERROR, "cannot raise the alarm CORRUPT",
                  log_hex("member", member), log_str("error", err_text(refusal)));
}

/* Two hashes made above the same compact revision; in a vague round those of the history. */
static bool has_hash(const struct corrupt_check *check, const struct asked *asked)
{
    const struct mvcc_history *own = &check->own.history, *other = &asked->history;

    if (asked->state != ASKED_ANSWERED)
        return false;
    if (check->vague)
        return own->known && other->known &&
               (own->compact_revision == other->compact_revision || PLANTED(HASH_COMPACTED));
    return asked->compact_revision == check->own.compact_revision || PLANTED(HASH_COMPACTED);
}

static uint32_t own_hash(const struct corrupt_check *check)
{
    return check->vague ? check->own.history.hash : check->own.hash;
}

static uint32_t hash_of(const struct corrupt_check *check, const struct asked *asked)
{
    return check->vague ? asked->history.hash : asked->hash;
}

/* Hashes are compared; false: only whether a key lives. */
static bool is_by_hash(const struct corrupt_check *check)
{
    bool differs = false;

    if (!check->vague)
        return true;
    for (size_t i = 0; i < check->asked_count; i++) {
        const struct asked *asked = &check->asked[i];

        if (asked->state == ASKED_ANSWERED && asked->living)
            return false;
        differs = differs || (has_hash(check, asked) && hash_of(check, asked) != own_hash(check));
    }
    return differs;
}

static bool comparable(const struct corrupt_check *check, const struct asked *asked)
{
    return is_by_hash(check) ? has_hash(check, asked) : asked->state == ASKED_ANSWERED;
}

static uint32_t mark_of(const struct corrupt_check *check, const struct asked *asked)
{
    return is_by_hash(check) ? hash_of(check, asked) : asked->living;
}

/* Here no key is living: else the round were not vague. */
static uint32_t own_mark(const struct corrupt_check *check)
{
    return is_by_hash(check) ? own_hash(check) : 0;
}

/* How many members hold `mark`, this one included. */
static size_t count_of(const struct corrupt_check *check, uint32_t mark)
{
    size_t count = own_mark(check) == mark;

    for (size_t i = 0; i < check->asked_count; i++)
        count += comparable(check, &check->asked[i]) && mark_of(check, &check->asked[i]) == mark;
    return count;
}

/* What most of all members hold. */
static bool find_majority(const struct corrupt_check *check, uint32_t *mark)
{
    size_t quorum = (check->asked_count + 1) / 2 + 1;

    *mark = own_mark(check);
    if (PLANTED(HASH_BLAME))
        return true;
    for (size_t i = 0; count_of(check, *mark) < quorum; i++) {
        if (i == check->asked_count)
            return false;
        if (comparable(check, &check->asked[i]))
            *mark = mark_of(check, &check->asked[i]);
    }
    return true;
}

/* The hash that tells what differs, of another member or (NULL) of this one. */
static uint32_t shown_of(const struct corrupt_check *check, const struct asked *other)
{
    if (is_by_hash(check))
        return other != NULL ? hash_of(check, other) : own_hash(check);
    return other != NULL ? other->hash : check->own.hash;
}

static void say_difference(const struct corrupt_check *check, const struct asked *other)
{
    host_note(engine_host(check->engine), LOG_ERROR,
              "the stores of two members differ at the same revision",
              log_i64("revision", check->own.hash_revision),
              log_i64("compact-revision", check->own.compact_revision),
              log_hex("member", engine_member_id(check->engine)),
              log_u64("hash", shown_of(check, NULL)), log_hex("other-member", other->member),
              log_str("other-name", name_of(check, other->member)),
              log_u64("other-hash", shown_of(check, other)));
}

static const struct asked *first_different(const struct corrupt_check *check)
{
    for (size_t i = 0; i < check->asked_count; i++)
        if (comparable(check, &check->asked[i]) &&
            mark_of(check, &check->asked[i]) != own_mark(check))
            return &check->asked[i];
    return NULL;
}

static void blame(struct corrupt_check *check, bool majority, uint32_t right)
{
    if (!majority) {
        host_note(engine_host(check->engine), LOG_ERROR,
                  "no hash is that of a majority: which member is wrong cannot be told; the alarm "
                  "names none");
        raise_alarm(check, 0);
        return;
    }
    if (own_mark(check) != right)
        raise_alarm(check, engine_member_id(check->engine));
    for (size_t i = 0; i < check->asked_count; i++)
        if (comparable(check, &check->asked[i]) && mark_of(check, &check->asked[i]) != right)
            raise_alarm(check, check->asked[i].member);
}

static void judge_start(struct corrupt_check *check, const struct asked *other, bool right)
{
    size_t equal = count_of(check, own_mark(check)) - 1;
    struct err err = ERR_INIT;

    check->start = other == NULL && equal == 0 ? CORRUPT_START_UNKNOWN : CORRUPT_START_GOOD;
    host_note(engine_host(check->engine),
              check->start == CORRUPT_START_UNKNOWN ? LOG_WARN : LOG_INFO,
              check->start == CORRUPT_START_UNKNOWN
                  ? "no other member's store could be compared before serving"
                  : "compared the store with the other members' before serving",
              log_i64("revision", check->own.hash_revision), log_u64("equal", equal),
              log_u64("others", check->asked_count));
    if (other == NULL || right || PLANTED(HASH_SERVED))
        return;
    err_set(&err, ERR_DAMAGED,
            "this member's store differs from that of others at revision %" PRId64
            ": member %" PRIx64 " (this one) has hash %" PRIu32 ", member %" PRIx64
            " (%s) has %" PRIu32 ", both compacted at %" PRId64
            "; it does not serve what may be wrong: if the others agree among themselves (etcd-ctl "
            "endpoint hashkv --cluster), remove this member, add it anew with an empty data "
            "directory; --initial-corrupt-check=false starts it all the same",
            check->own.hash_revision, engine_member_id(check->engine), shown_of(check, NULL),
            other->member, name_of(check, other->member), shown_of(check, other),
            check->own.compact_revision);
    check->start = CORRUPT_START_DIFFERS;
    memcpy(check->start_text, err.text, sizeof(check->start_text));
}

static bool alarm_names_self(const struct corrupt_check *check)
{
    return alarm_names(engine_alarms(check->engine), engine_member_id(check->engine),
                       ETCDSERVERPB__ALARM_TYPE__CORRUPT);
}

/* Is there another voter that has ever been started? */
static bool has_fellows(const struct corrupt_check *check)
{
    const struct member_store *members = engine_members(check->engine);

    for (size_t i = 0; i < member_count(members); i++) {
        const struct member *member = member_at(members, i);

        if (member->id != engine_member_id(check->engine) && !member->learner &&
            member->name[0] != '\0')
            return true;
    }
    return false;
}

/* The alarm is up, and no majority was there to compare with: whom it names is not to be trusted,
 * unless it is the only one. */
static void remain_in_doubt(struct corrupt_check *check)
{
    check->again_at_ms = now_ms(check) + AGAIN_MS;
    service_set_differs(check->config.service, alarm_names_self(check) && has_fellows(check));
}

static const char *words_on_self(bool differs, bool trusted)
{
    if (differs)
        return "this member's store is not what most others hold: it serves no data while the "
               "alarm CORRUPT is up; remove it from the cluster, then add it anew with an empty "
               "data directory";
    if (!trusted)
        return "the alarm CORRUPT names this member, and too few others can be compared with: it "
               "serves no data; compare with etcd-ctl endpoint hashkv --cluster, then lift the "
               "alarm with etcd-ctl alarm disarm, or add this member anew with an empty data "
               "directory";
    return "the alarm CORRUPT names this member, but nobody holds anything else: it goes on "
           "answering reads; when etcd-ctl endpoint hashkv --cluster says so too, lift the alarm "
           "with etcd-ctl alarm disarm";
}

/* After the alarm: is it this member? */
static void judge_self(struct corrupt_check *check, const struct asked *other, bool majority,
                       uint32_t right)
{
    bool differs = majority && own_mark(check) != right;

    check->again_at_ms = 0;
    service_set_differs(check->config.service, differs);
    if (!majority)
        remain_in_doubt(check);
    if (differs || alarm_names_self(check))
        host_note(engine_host(check->engine), LOG_ERROR,
                  words_on_self(differs, !service_differs(check->config.service)),
                  log_hex("member", engine_member_id(check->engine)),
                  log_i64("revision", check->own.hash_revision),
                  log_u64("hash", shown_of(check, NULL)),
                  log_u64("other-hash", shown_of(check, other)));
}

static bool somebody_compacted(const struct corrupt_check *check)
{
    for (size_t i = 0; i < check->asked_count; i++)
        if (check->asked[i].compacted)
            return true;
    return false;
}

static void forget_round(struct corrupt_check *check)
{
    free(check->asked);
    check->asked = NULL;
    check->asked_count = 0;
    check->state = ROUND_IDLE;
}

/* False: there were enough of them. A hash that a compaction left behind stays what it is. */
static bool again_later(struct corrupt_check *check)
{
    bool start = check->kind == ROUND_START;

    if (check->kind == ROUND_COMPACTED || check->rounds >= (start ? START_ROUNDS_MAX : ROUNDS_MAX))
        return false;
    check->restart_ms = now_ms(check) + (start ? START_AGAIN_MS : 1);
    return true;
}

static void end_round(struct corrupt_check *check)
{
    const struct asked *other = first_different(check);
    uint32_t right;
    bool majority = find_majority(check, &right), all = true;

    check->state = ROUND_IDLE;
    for (size_t i = 0; i < check->asked_count; i++) {
        const struct asked *asked = &check->asked[i];

        all = all && comparable(check, asked);
        if (comparable(check, asked) && mark_of(check, asked) != own_mark(check))
            say_difference(check, asked);
    }
    if (!majority && other == NULL && somebody_compacted(check) && again_later(check)) {
        forget_round(check);
        return;
    }
    switch (check->kind) {
    case ROUND_START:
        judge_start(check, other, majority && right == own_mark(check));
        break;
    case ROUND_COMPACTED:
        if (all || other != NULL)
            check->compacted_done = check->own.hash_revision;
        if (other != NULL)
            blame(check, majority, right);
        break;
    case ROUND_WHOLE:
        if (other != NULL)
            blame(check, majority, right);
        break;
    case ROUND_EXPLAIN:
        judge_self(check, other, majority, right);
        break;
    }
    forget_round(check);
}

/* Where this member alone is judged, a majority is enough: nobody waits for one that hangs, or that
 * waits for a snapshot of this member. */
static void end_early(struct corrupt_check *check)
{
    struct host *host = engine_host(check->engine);

    for (size_t i = 0; i < check->asked_count; i++) {
        if (check->asked[i].state == ASKED_WAITING)
            host->ops->ask_cancel(host, &check->asked[i].question);
        if (check->asked[i].state == ASKED_WAITING || check->asked[i].state == ASKED_BEHIND)
            check->asked[i].state = ASKED_PASSED_OVER;
    }
    end_round(check);
}

static void end_if_all_said(struct corrupt_check *check)
{
    uint32_t mark;

    if ((check->kind == ROUND_START || check->kind == ROUND_EXPLAIN) &&
        find_majority(check, &mark)) {
        end_early(check);
        return;
    }
    for (size_t i = 0; i < check->asked_count; i++)
        if (check->asked[i].state == ASKED_WAITING || check->asked[i].state == ASKED_BEHIND)
            return;
    end_round(check);
}

/* ---- the others ---- */

static void pass_over(struct asked *asked, const char *why)
{
    asked->state = ASKED_PASSED_OVER;
    host_note(engine_host(asked->check->engine), LOG_WARN,
              "a member's store cannot be compared now", log_hex("member", asked->member),
              log_str("name", name_of(asked->check, asked->member)),
              log_i64("revision", asked->check->own.hash_revision), log_str("reason", why));
}

/* {"hash":1,"compact_revision":2,"living":false,"history":3,"history_compact_revision":4}: what
 * stands for `wanted`, empty when nothing does. */
static struct slice find_text(struct slice body, const char *wanted)
{
    struct json_reader reader;
    struct json_string name;
    struct slice found = SLICE_EMPTY;
    struct err err = ERR_INIT;
    bool first = true, more;

    json_reader_init(&reader, body);
    if (json_enter(&reader, JSON_OBJECT, &err) < 0)
        return SLICE_EMPTY;
    while (json_next_name(&reader, &first, &name, &more, &err) == 0 && more) {
        enum json_kind kind = json_peek(&reader);
        const uint8_t *at = reader.at;

        if (json_skip(&reader, &err) < 0)
            return SLICE_EMPTY;
        if (kind != JSON_STRING && slice_equal(name.raw, slice_text(wanted)))
            found = slice_of(at, (size_t)(reader.at - at));
    }
    return found;
}

static bool find_whole(struct slice body, const char *wanted, uint64_t max, bool *negative,
                       uint64_t *magnitude)
{
    return json_take_integer(find_text(body, wanted), negative, magnitude) == JSON_INTEGER_OK &&
           *magnitude <= max;
}

static struct mvcc_history find_history(struct slice body)
{
    bool below, negative;
    uint64_t hash, compacted;

    if (!find_whole(body, "history", UINT32_MAX, &negative, &hash) || negative ||
        !find_whole(body, "history_compact_revision", INT64_MAX, &below, &compacted))
        return (struct mvcc_history){.known = false};
    return (struct mvcc_history){.known = true,
                                 .hash = (uint32_t)hash,
                                 .compact_revision =
                                     below ? -(int64_t)compacted : (int64_t)compacted};
}

static void take_living(struct asked *asked, struct slice body)
{
    struct slice living = find_text(body, "living");

    asked->living = slice_equal(living, slice_text("true"));
    asked->history = find_history(body);
    if (!asked->living && !slice_equal(living, slice_text("false")))
        pass_over(asked, "this member has no keys, and it does not say whether it has");
}

static void take_hash(struct asked *asked, struct slice body)
{
    const Etcdserverpb__HashKVResponse *response;
    ProtobufCMessage *message = NULL;
    struct arena arena;
    struct err err = ERR_INIT;
    char text[TEXT_BYTES];

    arena_init(&arena, ANSWER_BYTES_MAX * 4);
    if (body.size > ANSWER_BYTES_MAX || pbjson_parse(&etcdserverpb__hash_kvresponse__descriptor,
                                                     body, NULL, &arena, &message, &err) < 0) {
        pass_over(asked, "its answer is no hash");
    } else {
        response = (const Etcdserverpb__HashKVResponse *)(const void *)message;
        asked->state = ASKED_ANSWERED;
        asked->hash = response->hash;
        asked->compact_revision = response->compact_revision;
        if (asked->check->vague)
            take_living(asked, body);
        else if (!comparable(asked->check, asked)) {
            /* at a compaction's own revision some remember the hash, others do not: for good */
            asked->compacted = asked->check->own.hash_revision !=
                               MAX(asked->compact_revision, asked->check->own.compact_revision);
            (void)snprintf(text, sizeof(text),
                           "its compact revision is %" PRId64 ", that of this member %" PRId64,
                           asked->compact_revision, asked->check->own.compact_revision); /* fits */
            pass_over(asked, text);
        }
    }
    arena_free(&arena);
}

static void answered(struct host_question *question, unsigned status, struct slice body)
{
    struct asked *asked = CONTAINER_OF(question, struct asked, question);
    char text[TEXT_BYTES];

    if (status == 200) {
        take_hash(asked, body);
    } else if (status == 400 &&
               memmem(body.data, body.size, "future revision", strlen("future revision")) != NULL) {
        asked->state = ASKED_BEHIND; /* asked again at the next tick */
    } else if (status == 0 || status == HOST_QUESTION_REFUSED) {
        pass_over(asked, "it does not answer");
    } else {
        asked->compacted = status == 400 && memmem(body.data, body.size, "has been compacted",
                                                   strlen("has been compacted")) != NULL;
        (void)snprintf(text, sizeof(text), "it answers %u: %.*s", status,
                       (int)MIN(body.size, TEXT_BYTES - 40), (const char *)body.data); /* cut */
        text[strcspn(text, "\r\n")] = '\0';
        pass_over(asked, text);
    }
    end_if_all_said(asked->check);
}

static void ask(struct asked *asked)
{
    struct corrupt_check *check = asked->check;
    struct host *host = engine_host(check->engine);

    asked->state = ASKED_WAITING;
    asked->question = (struct host_question){.path = "/members/hashkv",
                                             .method = "GET",
                                             .content_type = "application/json",
                                             .fields = check->fields,
                                             .body = slice_text(check->body),
                                             .timeout_ms = check->kind == ROUND_START
                                                               ? engine_patience_ms(check->engine)
                                                               : ROUND_TIMEOUT_MS,
                                             .done = answered};
    host->ops->ask_member(host, asked->member, &asked->question);
}

static void ask_again(struct corrupt_check *check)
{
    uint64_t patience_ms = check->kind == ROUND_START ? START_BEHIND_MS : ROUND_TIMEOUT_MS;
    bool over = now_ms(check) - check->began_ms > patience_ms;

    for (size_t i = 0; i < check->asked_count; i++) {
        if (check->asked[i].state != ASKED_BEHIND)
            continue;
        if (over)
            pass_over(&check->asked[i], "it has not got this revision yet");
        else
            ask(&check->asked[i]);
    }
    end_if_all_said(check);
}

static void stop_round(struct corrupt_check *check)
{
    struct host *host = engine_host(check->engine);

    hashing_cancel(&check->query);
    for (size_t i = 0; i < check->asked_count; i++)
        if (check->state == ROUND_ASKING && check->asked[i].state == ASKED_WAITING)
            host->ops->ask_cancel(host, &check->asked[i].question);
    forget_round(check);
}

/* Not made: the revision was compacted meanwhile, or too many wait. */
static void hashed(struct hash_query *query, enum err_code code,
                   const struct mvcc_hash_result *result)
{
    struct corrupt_check *check = CONTAINER_OF(query, struct corrupt_check, query);

    if (code != ERR_OK) {
        bool again = again_later(check);

        if (!again && check->kind == ROUND_START)
            check->start = CORRUPT_START_UNKNOWN;
        if (!again && check->kind == ROUND_EXPLAIN)
            remain_in_doubt(check);
        stop_round(check);
        return;
    }
    check->own = *result;
    check->vague = result->vague && !PLANTED(HASH_VAGUE);
    (void)snprintf(check->body, sizeof(check->body), "{\"revision\":%" PRId64 "}",
                   PLANTED(HASH_REVISION) ? 0 : result->hash_revision); /* fits, as the next */
    (void)snprintf(check->fields, sizeof(check->fields), "X-Etcd-Cluster-ID: %" PRIx64 "\r\n%s",
                   engine_cluster_id(check->engine),
                   check->vague ? "X-HashKV-Living: ask\r\n" : "");
    check->state = ROUND_ASKING;
    for (size_t i = 0; i < check->asked_count; i++)
        ask(&check->asked[i]); /* answers come on later turns */
}

/* At the current revision, explicitly: so a hash that a compaction to it left behind is taken, as
 * the others take it. If it is compacted before its turn, the round begins again. */
static void begin_round(struct corrupt_check *check, enum round_kind kind)
{
    struct mvcc *mvcc = engine_mvcc(check->engine);
    int64_t revision = kind == ROUND_COMPACTED ? mvcc_hash_remembered(mvcc) : mvcc_revision(mvcc);
    const struct member_store *members = engine_members(check->engine);
    size_t count = member_count(members);

    must(check->state == ROUND_IDLE);
    check->kind = kind;
    check->rounds = check->restart_ms != 0 ? check->rounds + 1 : 1;
    check->restart_ms = 0;
    check->began_ms = now_ms(check);
    check->asked = xalloc(MAX(count, 1) * sizeof(*check->asked));
    check->asked_count = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t id = member_at(members, i)->id;

        if (id != engine_member_id(check->engine))
            check->asked[check->asked_count++] =
                (struct asked){.check = check, .member = id, .state = ASKED_BEHIND};
    }
    check->state = ROUND_HASHING;
    check->query = (struct hash_query){.revision = revision, .of_member = true, .done = hashed};
    hashing_start(service_hashing(check->config.service), &check->query);
}

/* ---- life ---- */

struct corrupt_check *corrupt_check_new(const struct corrupt_check_config *config)
{
    struct corrupt_check *check = xalloc(sizeof(*check));
    struct host *host = engine_host(config->engine);

    *check = (struct corrupt_check){.config = *config,
                                    .engine = config->engine,
                                    .start = CORRUPT_START_GOOD,
                                    .compacted_done = -1};
    check->next_whole_ms = now_ms(check) + config->period_ms;
    check->next_compacted_ms = now_ms(check) + config->compact_ms;
    if (!config->initial || host->ops->ask_member == NULL ||
        member_count(engine_members(config->engine)) < 2 ||
        mvcc_revision(engine_mvcc(config->engine)) <= 1)
        return check; /* nobody to ask, or nothing to compare */
    check->start = CORRUPT_START_PENDING;
    begin_round(check, ROUND_START);
    return check;
}

void corrupt_check_free(struct corrupt_check *check)
{
    if (check == NULL)
        return;
    stop_round(check);
    free(check);
}

/* The alarm is up, whomever it names: find out whether it is this member. */
static void note_alarm(struct corrupt_check *check)
{
    bool up = alarm_active(engine_alarms(check->engine), ETCDSERVERPB__ALARM_TYPE__CORRUPT);

    if (up &&
        (!check->alarm_seen || (check->again_at_ms != 0 && now_ms(check) >= check->again_at_ms)))
        begin_round(check, ROUND_EXPLAIN);
    if (!up && check->alarm_seen)
        service_set_differs(check->config.service, false);
    check->alarm_seen = up;
}

static bool is_due(const struct corrupt_check *check, uint64_t interval_ms, uint64_t *next_ms)
{
    if (interval_ms == 0 || now_ms(check) < *next_ms)
        return false;
    *next_ms = now_ms(check) + interval_ms;
    return true;
}

void corrupt_check_tick(struct corrupt_check *check)
{
    int64_t newest = mvcc_hash_remembered(engine_mvcc(check->engine));
    bool whole, compacted;

    if (engine_host(check->engine)->ops->ask_member == NULL)
        return;
    if (check->state == ROUND_ASKING)
        ask_again(check);
    if (check->state != ROUND_IDLE)
        return;
    if (check->restart_ms != 0) {
        if (now_ms(check) >= check->restart_ms)
            begin_round(check, check->kind);
        return;
    }
    note_alarm(check);
    whole = is_due(check, check->config.period_ms, &check->next_whole_ms);
    compacted = is_due(check, check->config.compact_ms, &check->next_compacted_ms);
    if (check->state != ROUND_IDLE || raft_role(engine_raft(check->engine)) != RAFT_LEADER ||
        member_count(engine_members(check->engine)) < 2)
        return;
    if (whole)
        begin_round(check, ROUND_WHOLE);
    else if (compacted && newest > check->compacted_done && !PLANTED(HASH_FORGOTTEN))
        begin_round(check, ROUND_COMPACTED);
}

enum corrupt_start corrupt_check_start(const struct corrupt_check *check, struct err *err)
{
    if (check->start == CORRUPT_START_DIFFERS)
        err_set(err, ERR_DAMAGED, "%s", check->start_text);
    return check->start;
}
