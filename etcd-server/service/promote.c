/*
 * promote.c - MemberPromote asked of a member that does not lead: only the leader knows how far the
 * learner is, so it is asked over the peer port (raft.md 4.7).
 *
 *   ASKING -> the leader did it -> READING (until this member has it too) -> answered
 *     ^  \--> unknown member, no learner, not in sync: refused
 *     |---- no leader, no answer, any other answer: at the next tick, until the time is up
 */
#include "common/base/base.h"
#include "common/base/plants.h"
#include "etcd-server/service/service_internal.h"

#include <stdio.h>

#define PATH_BYTES 48

struct promotion {
    struct promotion *next;
    struct service *service;
    struct call *call; /* in whose arena this lies */
    struct host_question question;
    bool asking;
    uint64_t read_id;
    uint64_t deadline_ms;
    char path[PATH_BYTES];
    const char *fields; /* the caller's token for the leader; NULL: none */
};

static void unlink_promotion(struct promotion *promotion)
{
    struct promotion **at = &promotion->service->promotions;

    while (*at != promotion)
        at = &(*at)->next;
    *at = promotion->next;
}

/* Out of the list, nothing under way any more: the call is answered next. */
static void leave(struct promotion *promotion)
{
    struct host *host = engine_host(promotion->service->engine);

    if (promotion->asking)
        host->ops->ask_cancel(host, &promotion->question);
    promotion->asking = false;
    if (promotion->read_id != 0)
        engine_forget(promotion->service->engine, promotion->read_id);
    promotion->read_id = 0;
    unlink_promotion(promotion);
    promotion->call->cancel = NULL;
}

static void cancelled(struct call *call)
{
    leave(call->state);
}

static void refuse(struct promotion *promotion, enum err_code code)
{
    leave(promotion);
    call_refuse(promotion->call, code);
}

static void caught_up(void *arg, const struct engine_result *result)
{
    struct promotion *promotion = arg;

    promotion->read_id = 0;
    leave(promotion);
    if (result->code != ERR_OK)
        call_refuse(promotion->call, result->code);
    else
        cluster_reply_changed(promotion->service, promotion->call);
}

static void leader_did_it(struct promotion *promotion)
{
    enum err_code refusal;

    if (PLANTED(PROMOTE_EARLY)) {
        caught_up(promotion, &(struct engine_result){.code = ERR_OK});
        return;
    }
    promotion->read_id = engine_read(promotion->service->engine, caught_up, promotion, &refusal);
    if (promotion->read_id == 0)
        refuse(promotion, refusal);
}

static bool says(struct slice body, const char *words)
{
    return memmem(body.data, body.size, words, strlen(words)) != NULL;
}

static void answered(struct host_question *question, unsigned status, struct slice body)
{
    struct promotion *promotion = CONTAINER_OF(question, struct promotion, question);

    promotion->asking = false;
    if (status == 200)
        leader_did_it(promotion);
    else if (status == 404)
        refuse(promotion, ERR_MEMBER_NOT_FOUND);
    else if (status == 412 && says(body, "in sync with leader"))
        refuse(promotion, ERR_LEARNER_NOT_READY);
    else if (status == 412)
        refuse(promotion, ERR_MEMBER_NOT_LEARNER);
    /* else it is asked again at the next tick */
}

static void ask(struct promotion *promotion)
{
    struct engine *engine = promotion->service->engine;
    struct host *host = engine_host(engine);
    uint64_t leader = raft_leader(engine_raft(engine));

    if (promotion->asking || promotion->read_id != 0 || leader == 0 ||
        leader == engine_member_id(engine) || host->ops->ask_member == NULL)
        return;
    promotion->question = (struct host_question){.path = promotion->path,
                                                 .fields = promotion->fields,
                                                 .timeout_ms = MEMBER_ASK_TIMEOUT_MS,
                                                 .done = answered};
    promotion->asking = true;
    host->ops->ask_member(host, leader, &promotion->question);
}

/* A token as a line of a head; what would not be one is left out, and the leader refuses. */
static const char *token_field(struct call *call)
{
    static const char name[] = "Authorization: ";
    size_t bytes = call->token != NULL ? strlen(call->token) : 0;
    char *line;

    for (size_t i = 0; i < bytes; i++)
        if ((uint8_t)call->token[i] < 0x21 || (uint8_t)call->token[i] > 0x7e)
            return NULL;
    if (bytes == 0)
        return NULL;
    line = arena_zalloc(&call->arena, sizeof(name) + bytes + 2);
    if (line == NULL)
        return NULL;
    memcpy(line, name, sizeof(name) - 1);
    memcpy(line + sizeof(name) - 1, call->token, bytes);
    memcpy(line + sizeof(name) - 1 + bytes, "\r\n", 2);
    return line;
}

void promote_by_leader(struct service *service, struct call *call, uint64_t member)
{
    struct promotion *promotion = call_alloc(call, sizeof(*promotion));

    if (promotion == NULL)
        return;
    promotion->service = service;
    promotion->call = call;
    promotion->deadline_ms =
        host_now_ms(engine_host(service->engine)) + engine_patience_ms(service->engine);
    promotion->fields = token_field(call);
    /* fits */
    (void)snprintf(promotion->path, sizeof(promotion->path), "/members/promote/%" PRIu64, member);
    promotion->next = service->promotions;
    service->promotions = promotion;
    call->state = promotion;
    call->cancel = cancelled;
    ask(promotion);
}

/* One promotion whose state is over, if there is one; ending it may change the list. */
static bool end_one(struct service *service, uint64_t now_ms)
{
    bool leads = raft_role(engine_raft(service->engine)) == RAFT_LEADER;

    for (struct promotion *promotion = service->promotions; promotion != NULL;
         promotion = promotion->next) {
        if (promotion->read_id != 0)
            continue; /* the engine ends it */
        if (leads) {
            leave(promotion);
            cluster_member_promote(service, promotion->call);
            return true;
        }
        if (promotion->deadline_ms <= now_ms) {
            refuse(promotion,
                   raft_leader(engine_raft(service->engine)) == 0 ? ERR_NO_LEADER : ERR_TIMEOUT);
            return true;
        }
    }
    return false;
}

void promote_tick(struct service *service)
{
    uint64_t now_ms = host_now_ms(engine_host(service->engine));

    while (end_one(service, now_ms))
        ;
    for (struct promotion *promotion = service->promotions; promotion != NULL;
         promotion = promotion->next)
        ask(promotion);
}
