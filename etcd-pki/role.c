/* role.c - the table of roles (profiles.def), and how one is found. */
#include "etcd-pki/pki.h"

static const struct role roles[ROLES] = {
#define ROLE(id, name, other, file, cn, usages, sans, issuer)                                      \
    [ROLE_##id] = {name, other, file, cn, usages, sans, ROLE_##issuer},
#include "etcd-pki/profiles.def"
#undef ROLE
};

const struct role *role_at(enum role_id id)
{
    return &roles[id];
}

bool role_is_ca(const struct role *role)
{
    return &roles[role->issuer] == role;
}

const struct role *role_named(const char *name)
{
    for (size_t i = 0; i < ROLES; i++)
        if (strcmp(roles[i].name, name) == 0 || strcmp(roles[i].other, name) == 0 ||
            strcmp(roles[i].file, name) == 0)
            return &roles[i];
    return NULL;
}

const struct role *role_of_file(const char *base)
{
    for (size_t i = 0; i < ROLES; i++)
        if (strcmp(roles[i].file, base) == 0)
            return &roles[i];
    return NULL;
}
