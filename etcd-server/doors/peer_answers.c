/*
 * peer_answers.c - see peer_answers.h. A question of the door becomes a query of the service, which
 * lies in memory of its own (`state` of the question) until it is done or cancelled.
 *
 *   hash     -> hashing.h, as one of a member: before clients'
 *   lease    -> lease_duty.h, from_peer: it is answered by a leader only
 *   promote  -> a call of MemberPromote with the rights of the client who asked the other member
 */
#include "etcd-server/doors/peer_answers.h"
#include "common/base/base.h"
#include "etcd-server/service/hashing.h"
#include "etcd-server/service/lease_duty.h"
#include "etcd-server/service/subcall.h"

struct promote_run;

struct peer_answers {
    struct engine *engine;
    struct service *service;
    struct peer_member *members; /* owned; what was given last */
    struct promote_run *ended;   /* owned: see peer_promoted() */
};

/* ---- the members ---- */

static uint64_t peer_cluster_id(void *arg)
{
    return engine_cluster_id(((struct peer_answers *)arg)->engine);
}

static size_t peer_members(void *arg, const struct peer_member **out)
{
    struct peer_answers *answers = arg;
    const struct member_store *members = engine_members(answers->engine);
    size_t count = member_count(members);

    free(answers->members);
    answers->members = xalloc(count * sizeof(*answers->members));
    for (size_t i = 0; i < count; i++) {
        const struct member *member = member_at(members, i);

        answers->members[i] = (struct peer_member){
            .id = member->id,
            .name = member->name,
            .peer_urls = {(const char *const *)member->peer_urls, member->peer_url_count},
            .client_urls = {(const char *const *)member->client_urls, member->client_url_count},
            .is_learner = member->learner};
    }
    *out = answers->members;
    return count;
}

static uint64_t peer_learners(void *arg)
{
    return service_learners_max(((struct peer_answers *)arg)->service);
}

static bool peer_downgrade(void *arg)
{
    return member_downgrade_target(engine_members(((struct peer_answers *)arg)->engine))[0] != '\0';
}

/* ---- hashes ---- */

struct peer_hash_run {
    struct hash_query query;
    struct peer_hash *asked;
};

static void peer_hash_done(struct hash_query *query, enum err_code code,
                           const struct mvcc_hash_result *result)
{
    struct peer_hash_run *run = CONTAINER_OF(query, struct peer_hash_run, query);
    struct peer_hash *asked = run->asked;
    struct peer_hash_facts facts = {0};

    asked->state = NULL;
    free(run);
    if (code == ERR_OK)
        facts =
            (struct peer_hash_facts){.revision = result->current_revision,
                                     .hash = result->hash,
                                     .compact_revision = result->compact_revision,
                                     .living = result->living,
                                     .has_history = result->history.known,
                                     .history = result->history.hash,
                                     .history_compact_revision = result->history.compact_revision};
    asked->done(asked, code, code == ERR_OK ? &facts : NULL);
}

static void peer_hash(void *arg, struct peer_hash *asked)
{
    struct peer_answers *answers = arg;
    struct peer_hash_run *run = xalloc(sizeof(*run));

    *run = (struct peer_hash_run){
        .query = {.revision = asked->revision, .of_member = true, .done = peer_hash_done},
        .asked = asked};
    asked->state = run;
    hashing_start(service_hashing(answers->service), &run->query);
}

static void peer_cancel_hash(void *arg, struct peer_hash *asked)
{
    struct peer_hash_run *run = asked->state;

    (void)arg;
    if (run == NULL)
        return;
    hashing_cancel(&run->query);
    free(run);
}

/* ---- leases ---- */

struct peer_lease_run {
    struct lease_query query;
    struct peer_answers *answers;
    struct peer_lease *asked;
};

static void peer_lease_done(struct lease_query *query, enum err_code code,
                            const struct lease *lease)
{
    struct peer_lease_run *run = CONTAINER_OF(query, struct peer_lease_run, query);
    struct peer_lease *asked = run->asked;
    struct peer_lease_facts facts = {0};
    struct slice *keys = NULL;

    asked->state = NULL;
    if (code == ERR_OK) {
        facts.ttl_s =
            asked->renew ? lease->ttl_s
                         : lease_remaining_s(lease, host_now_ms(engine_host(run->answers->engine)));
        facts.granted_ttl_s = lease->ttl_s;
        if (asked->keys && lease->keys.count != 0) {
            keys = xalloc(lease->keys.count * sizeof(*keys));
            key_set_list(&lease->keys, keys);
            facts.keys = keys;
            facts.key_count = lease->keys.count;
        }
    }
    free(run);
    asked->done(asked, code, code == ERR_OK ? &facts : NULL);
    free(keys);
}

static void peer_lease(void *arg, struct peer_lease *asked)
{
    struct peer_answers *answers = arg;
    struct peer_lease_run *run = xalloc(sizeof(*run));

    run->answers = answers;
    run->asked = asked;
    run->query = (struct lease_query){
        .id = asked->id, .renew = asked->renew, .from_peer = true, .done = peer_lease_done};
    asked->state = run;
    lease_ask(service_leases(answers->service), &run->query);
}

static void peer_cancel_lease(void *arg, struct peer_lease *asked)
{
    struct peer_lease_run *run = asked->state;

    (void)arg;
    if (run == NULL)
        return;
    asked->state = NULL;
    lease_forget(&run->query);
    free(run);
}

/* ---- promotions ---- */

struct promote_run {
    struct promote_run *next; /* of those that have ended */
    struct subcall subcall;
    struct peer_answers *answers;
    struct peer_promote *asked;
    Etcdserverpb__MemberPromoteRequest request;
};

static void promote_run_free(struct promote_run *run)
{
    subcall_fini(&run->subcall);
    free(run);
}

static void free_ended(struct peer_answers *answers)
{
    while (answers->ended != NULL) {
        struct promote_run *run = answers->ended;

        answers->ended = run->next;
        promote_run_free(run);
    }
}

static void peer_promoted(void *arg, enum err_code code, const char *text,
                          const ProtobufCMessage *response)
{
    struct promote_run *run = arg;
    struct peer_promote *asked = run->asked;

    (void)response; /* the door lists the members */
    asked->state = NULL;
    asked->done(asked, code, text);
    run->next = run->answers->ended; /* the handler still stands on its call: freed later */
    run->answers->ended = run;
}

/* As a call of the client who asked the follower, with his rights. */
static void peer_promote(void *arg, struct peer_promote *asked)
{
    struct peer_answers *answers = arg;
    struct promote_run *run = xalloc(sizeof(*run));
    struct call parent = {.token = asked->token, .from_peer = true};

    free_ended(answers);
    run->answers = answers;
    run->asked = asked;
    etcdserverpb__member_promote_request__init(&run->request);
    run->request.id = asked->id;
    asked->state = run;
    subcall_start(answers->service, &run->subcall, &parent, RPC_Cluster_MemberPromote,
                  &run->request.base, peer_promoted, run);
}

static void peer_cancel_promote(void *arg, struct peer_promote *asked)
{
    struct promote_run *run = asked->state;

    (void)arg;
    if (run == NULL)
        return;
    asked->state = NULL;
    subcall_cancel(run->answers->service, &run->subcall);
    promote_run_free(run);
}

/* ---- life ---- */

struct peer_answers *peer_answers_new(struct engine *engine, struct service *service)
{
    struct peer_answers *answers = xalloc(sizeof(*answers));

    *answers = (struct peer_answers){.engine = engine, .service = service};
    return answers;
}

void peer_answers_free(struct peer_answers *answers)
{
    if (answers == NULL)
        return;
    free_ended(answers);
    free(answers->members);
    free(answers);
}

struct peer_env peer_answers_env(struct peer_answers *answers)
{
    return (struct peer_env){.arg = answers,
                             .cluster_id = peer_cluster_id,
                             .members = peer_members,
                             .downgrade_enabled = peer_downgrade,
                             .learners_max = peer_learners,
                             .hash = peer_hash,
                             .cancel_hash = peer_cancel_hash,
                             .lease = peer_lease,
                             .cancel_lease = peer_cancel_lease,
                             .promote = peer_promote,
                             .cancel_promote = peer_cancel_promote};
}
