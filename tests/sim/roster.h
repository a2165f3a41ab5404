/*
 * roster.h - who is a member, a second time and as simply as possible (api.md 11): a list that is
 * walked. Part of the model: driven by the log.
 */
#ifndef TESTS_SIM_ROSTER_H
#define TESTS_SIM_ROSTER_H

#include "common/base/err.h"
#include "common/schema/raftmsg.h"

#define ROSTER_MAX 64
#define ROSTER_URL_BYTES 40

struct roster_member {
    uint64_t id;
    bool learner;
    char url[ROSTER_URL_BYTES]; /* each has one */
};

struct roster { /* zeros: nobody */
    struct roster_member members[ROSTER_MAX];
    size_t count;
    uint64_t removed[ROSTER_MAX]; /* their IDs never come back */
    size_t removed_count;
};

/* What an entry of the log does, or why it is refused. *added, *removed: the member that it was
 * about, each untouched when it was not of that kind, 0 when it was refused or changed a URL. */
enum err_code roster_apply(struct roster *roster, const struct raft_entry *entry, uint64_t *added,
                           uint64_t *removed);
size_t roster_voters(const struct roster *roster);
bool roster_is_learner(const struct roster *roster, uint64_t id); /* false: not a member either */

#endif
