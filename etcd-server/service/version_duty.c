/*
 * version_duty.c - see version_duty.h. A round of questions every CHECK_MS while this member leads,
 * the first as soon as it does:
 *
 *   IDLE --(time, leading)--> ASKING (poll.h) --(all said, or did not)--> judge --> IDLE
 *
 * A round looks after the cluster version, after a downgrade, or after both.
 */
#include "etcd-server/service/version_duty.h"
#include "common/base/level.h"
#include "common/schema/versions.h"
#include "etcd-server/service/poll.h"

#include <stdio.h>

#define CHECK_MS 4000          /* raft.md 9.6 */
#define VERSION_LOWEST "3.0.0" /* when nothing is known of the others and there is no version */

struct version_duty {
    struct version_duty_config config;
    struct poll *poll; /* NULL: idle */
    uint64_t term;     /* in which this member led at the last tick; 0: it did not */
    uint64_t next_ms, next_downgrade_ms;

    /* the round */
    bool after_version, after_downgrade;
    bool complete;   /* all have said what they run */
    bool at_target;  /* all have the target of the downgrade as cluster version */
    unsigned lowest; /* version_level() */
    char target[VERSION_TEXT_BYTES];
};

static void ignore_result(void *arg, const struct engine_result *result)
{
    (void)arg;
    (void)result; /* the next round tries again */
}

const char *version_duty_decide(const char *now, unsigned lowest, const char *target,
                                char text[VERSION_TEXT_BYTES])
{
    unsigned level = version_level(now);

    if (lowest == 0 && level != 0)
        return NULL;
    if (lowest == 0)
        return VERSION_LOWEST;
    if (level != 0 && lowest <= level && !(lowest + 1 == level && lowest == version_level(target)))
        return NULL;
    if (level != 0 && lowest / 1000 != level / 1000)
        return NULL; /* a new major is no upgrade that happens by itself */
    (void)snprintf(text, VERSION_TEXT_BYTES, "%u.%u.0", lowest / 1000, lowest % 1000); /* fits */
    return text;
}

static void propose_version(struct version_duty *duty, const char *version)
{
    enum err_code refusal;

    if (engine_propose_version(duty->config.engine, version, ignore_result, duty, &refusal) == 0)
        return; /* the next round tries again */
}

static void end_downgrade(struct version_duty *duty)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Membershippb__DowngradeInfoSetRequest set = MEMBERSHIPPB__DOWNGRADE_INFO_SET_REQUEST__INIT;
    struct host *host = engine_host(duty->config.engine);
    const struct log_field fields[] = {log_str("cluster-version", duty->target),
                                       {.kind = LOG_KIND_END}};
    enum err_code refusal; /* the next round tries again */

    request.downgrade_info_set = &set;
    if (engine_propose(duty->config.engine, &request, NULL, ignore_result, duty, &refusal) != 0 &&
        host->ops->note != NULL)
        host->ops->note(host, LOG_INFO, "the cluster has been downgraded", fields);
}

static void answered(void *arg, uint64_t member, unsigned status, struct slice body)
{
    struct version_duty *duty = arg;
    struct err ignored = ERR_INIT; /* as one that says nothing: asked again */
    struct versions versions;
    unsigned level = 0;

    (void)member;
    if (status == 200 && versions_read_json(body, &versions, &ignored) == 0)
        level = version_level(versions.server);
    if (level == 0) {
        duty->complete = duty->at_target = false;
        return;
    }
    duty->lowest = MIN(duty->lowest, level);
    if (version_level(versions.cluster) != version_level(duty->target))
        duty->at_target = false;
}

static void judge(void *arg)
{
    struct version_duty *duty = arg;
    const struct member_store *members = engine_members(duty->config.engine);
    char text[VERSION_TEXT_BYTES];
    const char *version;

    duty->poll = NULL;
    if (raft_role(engine_raft(duty->config.engine)) != RAFT_LEADER ||
        raft_term(engine_raft(duty->config.engine)) != duty->term)
        return;
    version =
        version_duty_decide(member_cluster_version(members), duty->complete ? duty->lowest : 0,
                            member_downgrade_target(members), text);
    if (duty->after_version && version != NULL)
        propose_version(duty, version);
    if (duty->after_downgrade && duty->at_target &&
        strcmp(duty->target, member_downgrade_target(members)) == 0)
        end_downgrade(duty);
}

static void ask(struct version_duty *duty)
{
    const struct member_store *members = engine_members(duty->config.engine);
    struct poll_config poll = {.engine = duty->config.engine,
                               .path = "/version",
                               .timeout_ms = MEMBER_ASK_TIMEOUT_MS,
                               .arg = duty,
                               .answered = answered,
                               .done = judge};

    (void)snprintf(duty->target, sizeof(duty->target), "%s",
                   member_downgrade_target(members)); /* fits */
    duty->complete = true;
    duty->lowest = version_level(ETCD_LEVEL);
    duty->at_target = duty->target[0] != '\0' &&
                      version_level(member_cluster_version(members)) == version_level(duty->target);
    duty->poll = poll_start(&poll);
}

struct version_duty *version_duty_new(const struct version_duty_config *config)
{
    struct version_duty *duty = xalloc(sizeof(*duty));

    *duty = (struct version_duty){.config = *config};
    return duty;
}

void version_duty_free(struct version_duty *duty)
{
    if (duty == NULL)
        return;
    poll_cancel(duty->poll);
    free(duty);
}

int version_duty_check(struct engine *engine, struct err *err)
{
    const char *version = member_cluster_version(engine_members(engine));

    if (version_level(version) <= version_level(ETCD_LEVEL))
        return 0;
    err_set(err, ERR_USAGE,
            "invalid downgrade; server version is lower than determined cluster version: the "
            "cluster is at %.20s, this server at %s; run a server of the cluster's version here",
            version, ETCD_LEVEL);
    return -1;
}

static bool is_left_behind(struct version_duty *duty)
{
    struct engine *engine = duty->config.engine;
    struct err err = ERR_INIT;

    if (version_duty_check(engine, &err) == 0)
        return false;
    engine_fail(engine);
    engine_host(engine)->ops->stop(engine_host(engine), &err);
    return true;
}

void version_duty_tick(struct version_duty *duty)
{
    struct engine *engine = duty->config.engine;
    uint64_t now_ms = host_now_ms(engine_host(engine)), every_ms = duty->config.downgrade_check_ms;

    if (is_left_behind(duty))
        return;
    if (raft_role(engine_raft(engine)) != RAFT_LEADER) {
        duty->term = 0;
        return;
    }
    if (duty->term != raft_term(engine_raft(engine))) {
        duty->term = raft_term(engine_raft(engine));
        duty->next_ms = now_ms;
        duty->next_downgrade_ms = now_ms + every_ms;
    }
    if (duty->poll != NULL)
        return;
    duty->after_version = now_ms >= duty->next_ms;
    duty->after_downgrade = every_ms != 0 && now_ms >= duty->next_downgrade_ms;
    if (duty->after_version)
        duty->next_ms = now_ms + CHECK_MS;
    if (duty->after_downgrade)
        duty->next_downgrade_ms = now_ms + every_ms;
    if (duty->after_version ||
        (duty->after_downgrade && member_downgrade_target(engine_members(engine))[0] != '\0'))
        ask(duty);
}
