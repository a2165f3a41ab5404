/* poll.c - see poll.h. The poll itself counts as one that is open until all have been asked. */
#include "etcd-server/service/poll.h"

struct poll_question {
    struct host_question question;
    struct poll *poll;
    uint64_t member;
    bool open; /* asked, not answered */
};

struct poll {
    struct poll_config config;
    size_t open;
    size_t count;
    struct poll_question questions[];
};

/* False: that was the last, and the poll is gone. */
static bool one_less(struct poll *poll)
{
    struct poll_config config = poll->config;

    if (--poll->open != 0)
        return true;
    free(poll);
    config.done(config.arg);
    return false;
}

static void answered(struct host_question *question, unsigned status, struct slice body)
{
    struct poll_question *one = CONTAINER_OF(question, struct poll_question, question);
    struct poll *poll = one->poll;

    one->open = false;
    poll->config.answered(poll->config.arg, one->member, status, body);
    (void)one_less(poll);
}

struct poll *poll_start(const struct poll_config *config)
{
    const struct member_store *members = engine_members(config->engine);
    struct host *host = engine_host(config->engine);
    size_t most = member_count(members);
    struct poll *poll = xalloc(sizeof(*poll) + most * sizeof(poll->questions[0]));

    poll->config = *config;
    poll->open = 1;
    poll->count = 0;
    for (size_t i = 0; i < most && host->ops->ask_member != NULL; i++) {
        const struct member *member = member_at(members, i);
        struct poll_question *one = &poll->questions[poll->count];

        if (member->id == engine_member_id(config->engine) ||
            (config->started_only && member->name[0] == '\0'))
            continue;
        *one = (struct poll_question){.question = {.path = config->path,
                                                   .method = "GET",
                                                   .timeout_ms = config->timeout_ms,
                                                   .done = answered},
                                      .poll = poll,
                                      .member = member->id,
                                      .open = true};
        poll->count++;
        poll->open++;
        host->ops->ask_member(host, member->id, &one->question);
    }
    return one_less(poll) ? poll : NULL;
}

void poll_cancel(struct poll *poll)
{
    struct host *host;

    if (poll == NULL)
        return;
    host = engine_host(poll->config.engine);
    for (size_t i = 0; i < poll->count; i++)
        if (poll->questions[i].open)
            host->ops->ask_cancel(host, &poll->questions[i].question);
    free(poll);
}
