/*
 * roster.c - see roster.h.
 */
#include "tests/sim/roster.h"
#include "common/schema/member.h"

#include <stdio.h>

static struct roster_member *find(struct roster *roster, uint64_t id)
{
    for (size_t i = 0; i < roster->count; i++)
        if (roster->members[i].id == id)
            return &roster->members[i];
    return NULL;
}

size_t roster_voters(const struct roster *roster)
{
    size_t voters = 0;

    for (size_t i = 0; i < roster->count; i++)
        voters += !roster->members[i].learner;
    return voters;
}

bool roster_is_learner(const struct roster *roster, uint64_t id)
{
    for (size_t i = 0; i < roster->count; i++)
        if (roster->members[i].id == id && roster->members[i].learner)
            return true;
    return false;
}

static bool is_last_voter(const struct roster *roster, const struct roster_member *member)
{
    return !member->learner && roster_voters(roster) == 1;
}

/* Is it the URL of another member? */
static bool url_is_taken(const struct roster *roster, const char *url,
                         const struct roster_member *by)
{
    for (size_t i = 0; i < roster->count; i++)
        if (&roster->members[i] != by && strcmp(roster->members[i].url, url) == 0)
            return true;
    return false;
}

/* An ID is made of URLs and the second: two adds in one second make the same. */
static bool was_removed(const struct roster *roster, uint64_t id)
{
    for (size_t i = 0; i < roster->removed_count; i++)
        if (roster->removed[i] == id)
            return true;
    return false;
}

static enum err_code drop(struct roster *roster, struct roster_member *member)
{
    if (member == NULL)
        return ERR_MEMBER_NOT_FOUND;
    if (is_last_voter(roster, member))
        return ERR_MEMBER_NOT_ENOUGH_STARTED;
    must(roster->removed_count < ROSTER_MAX);
    roster->removed[roster->removed_count++] = member->id;
    *member = roster->members[--roster->count];
    return ERR_OK;
}

static enum err_code promote(struct roster_member *member)
{
    if (member == NULL)
        return ERR_MEMBER_NOT_FOUND;
    if (!member->learner)
        return ERR_MEMBER_NOT_LEARNER;
    member->learner = false;
    return ERR_OK;
}

static enum err_code update(const struct roster *roster, struct roster_member *member,
                            const char *url)
{
    if (member == NULL)
        return ERR_MEMBER_NOT_FOUND;
    if (url_is_taken(roster, url, member))
        return ERR_PEER_URL_EXIST;
    (void)snprintf(member->url, sizeof(member->url), "%s", url);
    return ERR_OK;
}

/* `member` is who has the ID already. Who had it and was removed is refused as who is unknown. */
static enum err_code add(struct roster *roster, const struct roster_member *member,
                         const struct roster_member *new)
{
    if (was_removed(roster, new->id))
        return ERR_MEMBER_NOT_FOUND;
    if (member != NULL)
        return ERR_MEMBER_EXIST;
    if (url_is_taken(roster, new->url, NULL))
        return ERR_PEER_URL_EXIST;
    if (new->learner && roster_voters(roster) != roster->count)
        return ERR_TOO_MANY_LEARNERS;
    must(roster->count < ROSTER_MAX);
    roster->members[roster->count++] = *new;
    return ERR_OK;
}

/* Added, promoted, or with another URL: what the change's context says. */
static enum err_code set(struct roster *roster, const struct raft_conf_change *change,
                         struct roster_member *member)
{
    struct roster_member new = {.id = change->node_id,
                                .learner = change->type == RAFT_CONF_ADD_LEARNER};
    struct member said;
    bool promotes = false;
    struct err err = ERR_INIT;

    must(member_read_json(change->context, &said, &promotes, &err) == 0);
    if (said.peer_url_count != 0)
        (void)snprintf(new.url, sizeof(new.url), "%s", said.peer_urls[0]);
    member_fini(&said);
    return change->type == RAFT_CONF_UPDATE_NODE ? update(roster, member, new.url)
           : promotes                            ? promote(member)
                                                 : add(roster, member, &new);
}

enum err_code roster_apply(struct roster *roster, const struct raft_entry *entry, uint64_t *added,
                           uint64_t *removed)
{
    struct raft_conf_change change;
    struct roster_member *member;
    struct err err = ERR_INIT;
    enum err_code code;

    must(raft_conf_change_decode(entry->data, &change, &err) == 0);
    member = find(roster, change.node_id);
    if (change.type == RAFT_CONF_REMOVE_NODE) {
        code = drop(roster, member);
        *removed = code == ERR_OK ? change.node_id : 0;
    } else {
        code = set(roster, &change, member);
        *added = code == ERR_OK && change.type != RAFT_CONF_UPDATE_NODE ? change.node_id : 0;
    }
    return code;
}
