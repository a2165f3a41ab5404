/* auth_internal.h - what the files of auth share. Thread: core. */
#ifndef ETCD_SERVER_STATE_AUTH_INTERNAL_H
#define ETCD_SERVER_STATE_AUTH_INTERNAL_H

#include "etcd-server/state/auth.h"
#include "etcd-server/state/keyranges.h"
#include "etcd-server/state/keytree.h"

struct auth_user {
    char *name;               /* first; owned; the message has it without a NUL */
    Authpb__User *message;    /* owned, from malloc */
    uint64_t ranges_revision; /* auth revision `read` and `write` were made at; 0 = never */
    struct keyranges read, write;
    struct keytree trees[2];    /* by enum auth_access; of the permissions of his roles ... */
    uint64_t trees_revision[2]; /* ... at this auth revision; 0: none was made */
};

struct auth_role {
    char *name;            /* first; owned */
    Authpb__Role *message; /* owned, from malloc */
};

struct auth_store {
    struct auth_user *users; /* owned; ascending by name, as the bucket has them */
    size_t user_count, user_capacity;
    struct auth_role *roles; /* the same */
    size_t role_count, role_capacity;
    uint64_t revision;
    bool revision_stored; /* the database held one when it was opened */
    bool enabled;
};

/* Position of `name`, or where it belongs; true when it is there. */
bool auth_place_user(const struct auth_store *auth, const char *name, size_t *position);
bool auth_place_role(const struct auth_store *auth, const char *name, size_t *position);
/* Put a message at its place; taken. */
struct auth_user *auth_insert_user(struct auth_store *auth, size_t position, const char *name,
                                   Authpb__User *message);
struct auth_role *auth_insert_role(struct auth_store *auth, size_t position, const char *name,
                                   Authpb__Role *message);
void auth_user_fini(struct auth_user *user);
void auth_role_fini(struct auth_role *role);

#endif
