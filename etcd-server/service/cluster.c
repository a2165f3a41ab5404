/*
 * cluster.c - MemberList, MemberAdd, MemberRemove, MemberUpdate, MemberPromote (api.md 11).
 *
 *   request -> its URLs -> may it be, by what is known here -> proposal -> applied -> all members
 *
 * The look before the proposal spares the cluster what would cost it its quorum; apply looks again,
 * alike on every member (state/member.c). Two changes ask others first: a further learner, whether
 * they would let it in (below); a promotion, the leader how far the learner is (promote.c).
 */
#include "common/base/base.h"
#include "common/base/url.h"
#include "common/schema/ids.h"
#include "etcd-server/service/authorise.h"
#include "etcd-server/service/poll.h"
#include "etcd-server/service/service_internal.h"

#include <stdio.h>

/* ---- answers ---- */

static Etcdserverpb__Member *member_message(const struct member *member, struct arena *arena)
{
    Etcdserverpb__Member *message = arena_alloc(arena, sizeof(*message));

    if (message == NULL)
        return NULL;
    etcdserverpb__member__init(message);
    message->id = member->id;
    message->name = member->name; /* borrowed: the answer is encoded at once */
    message->peerurls = member->peer_urls;
    message->n_peerurls = member->peer_url_count;
    message->clienturls = member->client_urls;
    message->n_clienturls = member->client_url_count;
    message->islearner = member->learner;
    return message;
}

static bool member_list(struct service *service, struct arena *arena, Etcdserverpb__Member ***list,
                        size_t *count)
{
    struct member_store *members = engine_members(service->engine);

    *count = member_count(members);
    *list = arena_alloc(arena, *count * sizeof(**list));
    for (size_t i = 0; *list != NULL && i < *count; i++)
        if (((*list)[i] = member_message(member_at(members, i), arena)) == NULL)
            return false;
    return *list != NULL;
}

/* Cluster answers carry no revision (api.md 5). */
static Etcdserverpb__ResponseHeader cluster_header(struct service *service)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;

    engine_fill_header(service->engine, &header);
    header.revision = 0;
    return header;
}

static void list_now(struct service *service, struct call *call)
{
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = cluster_header(service);

    response.header = &header;
    if (!member_list(service, &call->arena, &response.members, &response.n_members))
        call_refuse(call, ERR_REQUEST_TOO_LARGE);
    else
        call->ops->reply(call, &response.base);
}

void cluster_member_list(struct service *service, struct call *call)
{
    const Etcdserverpb__MemberListRequest *request =
        (const Etcdserverpb__MemberListRequest *)(const void *)call->request;

    if (request->linearizable)
        call_read(service, call, list_now);
    else
        list_now(service, call);
}

/* ---- changes ---- */

struct change_wait {
    struct service *service;
    struct call *call;
    uint64_t id; /* of the proposal */
    uint64_t member;
};

/* The member lists of the four answers stand behind the header; only MemberAdd names the member
 * before them. */
static void reply_changed(struct service *service, struct call *call, uint64_t member)
{
    Etcdserverpb__ResponseHeader header = cluster_header(service);
    Etcdserverpb__Member **list;
    size_t count;

    if (!member_list(service, &call->arena, &list, &count)) {
        call_refuse(call, ERR_REQUEST_TOO_LARGE);
        return;
    }
    if (call->row->id == RPC_Cluster_MemberAdd) {
        Etcdserverpb__MemberAddResponse response = ETCDSERVERPB__MEMBER_ADD_RESPONSE__INIT;
        const struct member *added = member_find(engine_members(service->engine), member);

        response.header = &header;
        response.member = added != NULL ? member_message(added, &call->arena) : NULL;
        response.members = list;
        response.n_members = count;
        call->ops->reply(call, &response.base);
    } else if (call->row->id == RPC_Cluster_MemberRemove) {
        Etcdserverpb__MemberRemoveResponse response = ETCDSERVERPB__MEMBER_REMOVE_RESPONSE__INIT;

        response.header = &header;
        response.members = list;
        response.n_members = count;
        call->ops->reply(call, &response.base);
    } else if (call->row->id == RPC_Cluster_MemberUpdate) {
        Etcdserverpb__MemberUpdateResponse response = ETCDSERVERPB__MEMBER_UPDATE_RESPONSE__INIT;

        response.header = &header;
        response.members = list;
        response.n_members = count;
        call->ops->reply(call, &response.base);
    } else {
        Etcdserverpb__MemberPromoteResponse response = ETCDSERVERPB__MEMBER_PROMOTE_RESPONSE__INIT;

        response.header = &header;
        response.members = list;
        response.n_members = count;
        call->ops->reply(call, &response.base);
    }
}

void cluster_reply_changed(struct service *service, struct call *call)
{
    reply_changed(service, call, 0);
}

static void changed(void *arg, const struct engine_result *result)
{
    struct change_wait *wait = arg;
    struct call *call = wait->call;

    call->cancel = NULL;
    if (call->row->id == RPC_Cluster_MemberPromote && result->code == ERR_OK)
        wait->service->config.metrics->learner_promote_successes++; /* only the leader comes here */
    if (call->row->id == RPC_Cluster_MemberPromote && result->code != ERR_OK)
        metrics_promotion_failed(wait->service->config.metrics, result->code);
    if (result->code != ERR_OK)
        call_refuse(call, result->code);
    else
        reply_changed(wait->service, call, wait->member);
}

static void forget_change(struct call *call)
{
    struct change_wait *wait = call->state;

    engine_forget(wait->service->engine, wait->id);
}

static void propose(struct service *service, struct call *call, enum raft_conf_change_type type,
                    const struct member *member, bool promote)
{
    struct raft_conf_change change = {.type = type, .node_id = member->id};
    struct change_wait *wait = call_alloc(call, sizeof(*wait));
    struct buf context = BUF_INIT(BUF_UNLIMITED);
    enum err_code refusal;

    if (wait == NULL)
        return;
    if (type != RAFT_CONF_REMOVE_NODE)
        must(member_write_json(member, promote, &context));
    change.context = buf_slice(&context);
    *wait = (struct change_wait){.service = service, .call = call, .member = member->id};
    call->state = wait;
    call->cancel = forget_change;
    wait->id = engine_propose_change(service->engine, &change, changed, wait, &refusal);
    buf_free(&context);
    if (wait->id == 0)
        call_refuse(call, refusal);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Why the URLs are refused: in etcd's words, and when there are too many with that behind them. */
static void refuse_urls(struct call *call, enum err_code code, size_t count)
{
    char text[128];

    (void)snprintf(text, sizeof(text), "%s: %zu URLs; a member has at most %d", err_text(code),
                   count, MEMBER_URLS_MAX); /* fits */
    call->ops->finish(call, code,
                      code == ERR_MEMBER_BAD_URLS && count > MEMBER_URLS_MAX ? text : NULL);
}

/* At least one; sorted (formats.md 10.1), or in the order given. */
static enum err_code take_urls(struct member *member, char *const *urls, size_t count, bool sorted)
{
    struct err ignored = ERR_INIT; /* the client gets etcd's text */
    const char *texts[MEMBER_URLS_MAX];
    struct url parsed[MEMBER_URLS_MAX];
    size_t parsed_count = 0;
    enum err_code code = count == 0 || count > MEMBER_URLS_MAX ? ERR_MEMBER_BAD_URLS : ERR_OK;

    while (code == ERR_OK && parsed_count < count) {
        if (url_parse(urls[parsed_count], &parsed[parsed_count], &ignored) < 0) {
            code = ERR_MEMBER_BAD_URLS;
        } else {
            texts[parsed_count] = parsed[parsed_count].text;
            parsed_count++;
        }
    }
    if (code == ERR_OK) {
        if (sorted)
            qsort(texts, count, sizeof(*texts), by_text);
        member_set_peer_urls(member, texts, count);
    }
    while (parsed_count != 0)
        url_fini(&parsed[--parsed_count]);
    return code;
}

static bool url_taken(const struct member_store *members, const struct member *by)
{
    for (size_t i = 0; i < member_count(members); i++) {
        const struct member *other = member_at(members, i);

        for (size_t a = 0; other->id != by->id && a < other->peer_url_count; a++)
            for (size_t b = 0; b < by->peer_url_count; b++)
                if (strcmp(other->peer_urls[a], by->peer_urls[b]) == 0)
                    return true;
    }
    return false;
}

/* ---- strict reconfiguration (raft.md 9.6): a change must not cost the quorum ---- */

#define CONNECTED_MIN_MS 5000 /* a link that young may be gone again */

/* For at least so long. */
static bool is_connected(struct service *service, uint64_t member, uint64_t least_ms)
{
    struct host *host = engine_host(service->engine);

    if (member == engine_member_id(service->engine))
        return true;
    return host->ops->connected_ms != NULL && host->ops->connected_ms(host, member) >= least_ms;
}

struct head_count {
    size_t voters, started, connected;
};

/* The voters without `except`; started means: has published its name. */
static struct head_count count_voters(struct service *service, uint64_t except)
{
    const struct member_store *members = engine_members(service->engine);
    struct head_count count = {0};

    for (size_t i = 0; i < member_count(members); i++) {
        const struct member *member = member_at(members, i);

        if (member->learner || member->id == except)
            continue;
        count.voters++;
        count.started += member->name[0] != '\0';
        count.connected += is_connected(service, member->id, CONNECTED_MIN_MS);
    }
    return count;
}

/* A learner costs no quorum, but it too needs one of the larger cluster that is there, as in etcd.
 */
static enum err_code may_add(struct service *service, bool learner)
{
    struct head_count count = count_voters(service, 0);
    size_t quorum = (count.voters + 1) / 2 + 1; /* of the larger cluster */

    if (!service->config.strict_reconfig_check)
        return ERR_OK;
    if (!learner && count.started < quorum && !(count.voters == 1 && count.started == 1))
        return ERR_MEMBER_NOT_ENOUGH_STARTED;
    return count.voters > 1 && count.connected < quorum ? ERR_UNHEALTHY : ERR_OK;
}

/* The learner, which is in step with the leader, counts as started. Who is connected is not asked:
 * it may be there to take the place of a voter that is not. */
static enum err_code may_promote(struct service *service)
{
    struct head_count count = count_voters(service, 0);

    if (service->config.strict_reconfig_check && count.started + 1 < (count.voters + 1) / 2 + 1)
        return ERR_MEMBER_NOT_ENOUGH_STARTED;
    return ERR_OK;
}

static enum err_code may_remove_voter(struct service *service, const struct member *member)
{
    struct head_count rest = count_voters(service, member->id);

    if (rest.voters == 0)
        return ERR_MEMBER_NOT_ENOUGH_STARTED; /* the last voter */
    if (!service->config.strict_reconfig_check)
        return ERR_OK;
    if (rest.started < rest.voters / 2 + 1)
        return ERR_MEMBER_NOT_ENOUGH_STARTED;
    if (is_connected(service, member->id, 1) && rest.connected < rest.voters / 2 + 1)
        return ERR_UNHEALTHY;
    return ERR_OK;
}

/*
 * More learners than one: every member has to be set so, for each decides again when it applies the
 * entry, and a member that refuses what the others take has another cluster in mind. An etcd 3.5
 * refuses, so all are asked for what they allow. Who was never started applies nothing yet.
 */
struct learner_check {
    struct service *service;
    struct call *call; /* in whose arena this lies */
    struct poll *poll;
    struct member member; /* owned */
    bool refused;
};

static void learners_answered(void *arg, uint64_t member, unsigned status, struct slice body)
{
    struct learner_check *check = arg;
    struct host *host = engine_host(check->service->engine);
    const struct log_field fields[] = {
        log_hex("remote-peer-id", member), log_u64("status", status), {.kind = LOG_KIND_END}};
    char text[24] = "";

    if (status == 200 && body.size < sizeof(text))
        memcpy(text, body.data, body.size);
    if (strtoull(text, NULL, 10) > member_learner_count(engine_members(check->service->engine)))
        return;
    check->refused = true;
    if (host->ops->note != NULL)
        host->ops->note(host, LOG_WARN,
                        "refused a learner: a member does not allow that many (--max-learners has "
                        "to be the same everywhere, and an etcd 3.5 takes one at a time)",
                        fields);
}

static void learners_asked(void *arg)
{
    struct learner_check *check = arg;

    check->call->cancel = NULL;
    if (check->refused)
        call_refuse(check->call, ERR_TOO_MANY_LEARNERS);
    else
        propose(check->service, check->call, RAFT_CONF_ADD_LEARNER, &check->member, false);
    member_fini(&check->member);
}

static void leave_learner_check(struct call *call)
{
    struct learner_check *check = call->state;

    poll_cancel(check->poll);
    member_fini(&check->member);
}

static void add_learner(struct service *service, struct call *call, struct member *member)
{
    size_t learners = member_learner_count(engine_members(service->engine));
    struct poll_config poll = {.engine = service->engine,
                               .path = "/learners",
                               .timeout_ms = MEMBER_ASK_TIMEOUT_MS,
                               .started_only = true,
                               .answered = learners_answered,
                               .done = learners_asked};
    struct learner_check *check;
    struct poll *started;

    member->learners_max = service->config.learners_max > 1 ? service->config.learners_max : 0;
    if (learners == 0 || learners >= service_learners_max(service)) { /* apply says which */
        propose(service, call, RAFT_CONF_ADD_LEARNER, member, false);
        return;
    }
    check = call_alloc(call, sizeof(*check));
    if (check == NULL)
        return;
    *check = (struct learner_check){.service = service, .call = call};
    member_copy(&check->member, member);
    poll.arg = check;
    call->state = check;
    call->cancel = leave_learner_check;
    started = poll_start(&poll);
    if (started != NULL) /* else all have answered, and the check may be gone with its call */
        check->poll = started;
}

void cluster_member_add(struct service *service, struct call *call)
{
    const Etcdserverpb__MemberAddRequest *request =
        (const Etcdserverpb__MemberAddRequest *)(const void *)call->request;
    struct host *host = engine_host(service->engine);
    struct member member;
    enum err_code code;

    member_init(&member, 0);
    code = take_urls(&member, request->peerurls, request->n_peerurls, true);
    if (code == ERR_OK) /* behind the URLs, as in etcd (api.md 11) */
        code = authorise_root(service, call);
    if (code == ERR_OK)
        code = may_add(service, request->islearner);
    if (code == ERR_OK) {
        member.id = ids_member((const char *const *)member.peer_urls, member.peer_url_count, "",
                               (int64_t)(host->ops->unix_ms(host) / 1000));
        if (member_find(engine_members(service->engine), member.id) != NULL)
            code = ERR_MEMBER_EXIST; /* the same within a second */
        else if (url_taken(engine_members(service->engine), &member))
            code = ERR_PEER_URL_EXIST;
    }
    if (code == ERR_OK) {
        member.learner = request->islearner;
        if (member.learner)
            add_learner(service, call, &member);
        else
            propose(service, call, RAFT_CONF_ADD_NODE, &member, false);
    } else {
        refuse_urls(call, code, request->n_peerurls);
    }
    member_fini(&member);
}

void cluster_member_remove(struct service *service, struct call *call)
{
    const Etcdserverpb__MemberRemoveRequest *request =
        (const Etcdserverpb__MemberRemoveRequest *)(const void *)call->request;
    const struct member *member = member_find(engine_members(service->engine), request->id);
    enum err_code code = member == NULL ? ERR_MEMBER_NOT_FOUND : ERR_OK;

    if (code == ERR_OK && !member->learner)
        code = may_remove_voter(service, member);
    if (code == ERR_OK)
        propose(service, call, RAFT_CONF_REMOVE_NODE, member, false);
    else
        call_refuse(call, code);
}

void cluster_member_update(struct service *service, struct call *call)
{
    const Etcdserverpb__MemberUpdateRequest *request =
        (const Etcdserverpb__MemberUpdateRequest *)(const void *)call->request;
    const struct member *old = member_find(engine_members(service->engine), request->id);
    struct member member;
    enum err_code code = ERR_MEMBER_NOT_FOUND;

    member_init(&member, request->id);
    if (old != NULL)
        code = take_urls(&member, request->peerurls, request->n_peerurls, false); /* as etcd */
    if (code == ERR_OK && url_taken(engine_members(service->engine), &member))
        code = ERR_PEER_URL_EXIST;
    if (code == ERR_OK)
        propose(service, call, RAFT_CONF_UPDATE_NODE, &member, false);
    else
        refuse_urls(call, code, request->n_peerurls);
    member_fini(&member);
}

/* Who does not lead passes it on, and counts nothing. */
static void refuse_promotion(struct service *service, struct call *call, enum err_code code)
{
    if (code != ERR_NOT_LEADER)
        metrics_promotion_failed(service->config.metrics, code);
    call_refuse(call, code);
}

void cluster_member_promote(struct service *service, struct call *call)
{
    const Etcdserverpb__MemberPromoteRequest *request =
        (const Etcdserverpb__MemberPromoteRequest *)(const void *)call->request;
    const struct member *member = member_find(engine_members(service->engine), request->id);
    const struct raft *raft = engine_raft(service->engine);
    struct raft_peer learner = {0};
    enum err_code code = ERR_OK;

    if (raft_role(raft) != RAFT_LEADER && !call->from_peer) {
        promote_by_leader(service, call, request->id); /* only it knows how far the learner is */
        return;
    }
    if (raft_role(raft) != RAFT_LEADER)
        code = ERR_NOT_LEADER; /* whoever asked finds the new one */
    else if (member == NULL)
        code = ERR_MEMBER_NOT_FOUND;
    else if (!member->learner)
        code = ERR_MEMBER_NOT_LEARNER;
    else if (!raft_peer(raft, request->id, &learner) ||
             learner.match * 10 < raft_last_index(raft) * 9)
        code = ERR_LEARNER_NOT_READY; /* below 90 % of the leader's log (raft.md 9.6) */
    else
        code = may_promote(service);
    if (code == ERR_OK)
        propose(service, call, RAFT_CONF_ADD_NODE, member, true);
    else
        refuse_promotion(service, call, code);
}
