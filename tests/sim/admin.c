/*
 * admin.c - the clients that administer: root and others log in, add and change users and roles,
 * ask for them, and turn auth on and off (api.md 9). Whether the answers are right is login.c's.
 *
 *   sim->admin: the passwords that they set
 *   until the end: auth is turned off, by root, so that the last looks see everything
 */
#include "tests/sim/sim.h"
#include "common/schema/pbbytes.h"

#include <stdio.h>

#define PASSWORDS 3
#define QUIET_MS 150

static const char *const passwords[PASSWORDS] = {"secret", "hidden", "open"};

/* ---- what clients do ---- */

static void *request_of(struct sim_call *call)
{
    return door_inner(call)->request;
}

static char *name_of(const char *const names[RIGHTS_NAMES], size_t at)
{
    return (char *)(uintptr_t)names[at]; /* generated code has no const */
}

/* root's stays the same, so that he gets in. */
static char *new_password(struct sim *sim, size_t user)
{
    sim->admin.password[user] = user == 0 ? 0 : sim_draw(sim, PASSWORDS);
    return (char *)(uintptr_t)passwords[sim->admin.password[user]];
}

/* That which was set last, as far as its client knows, or another one. */
static char *known_password(struct sim *sim, size_t user)
{
    return (
        char *)(uintptr_t)passwords[user != 0 && sim_chance(sim, 200) ? sim_draw(sim, PASSWORDS)
                                                                      : sim->admin.password[user]];
}

static void log_in(struct node *node, size_t user)
{
    struct sim_call *made = door_call(node, RPC_Auth_Authenticate);
    Etcdserverpb__AuthenticateRequest *request = request_of(made);

    request->name = name_of(rights_users, user);
    request->password = known_password(node->sim, user);
    door_start(made);
}

static void add_user(struct node *node, size_t user)
{
    struct sim_call *made = door_call(node, RPC_Auth_UserAdd);
    Etcdserverpb__AuthUserAddRequest *request = request_of(made);

    request->name = name_of(rights_users, user);
    request->password = new_password(node->sim, user);
    door_start(made);
}

static void grant_role(struct node *node, size_t user, size_t role)
{
    struct sim_call *made = door_call(node, RPC_Auth_UserGrantRole);
    Etcdserverpb__AuthUserGrantRoleRequest *request = request_of(made);

    request->user = name_of(rights_users, user);
    request->role = name_of(rights_roles, role);
    door_start(made);
}

static ProtobufCBinaryData some_key(struct sim *sim, struct sim_call *made, bool end)
{
    struct call *call = door_inner(made);
    char *text = arena_zalloc(&call->arena, RIGHTS_KEY_BYTES);
    int bytes;

    must(text != NULL);
    if (end && sim_chance(sim, 400))
        return (ProtobufCBinaryData){0, NULL};
    if (end && sim_chance(sim, 200))
        return (ProtobufCBinaryData){1, (uint8_t *)text};
    bytes = snprintf(text, RIGHTS_KEY_BYTES, sim_chance(sim, 500) ? "k" : "k%02u",
                     (unsigned)sim_draw(sim, sim->options.keys) % 100);
    if (end)
        text[0] = sim_chance(sim, 500) ? 'k' : 'l';
    return (ProtobufCBinaryData){(size_t)bytes, (uint8_t *)text};
}

static bool is_range(ProtobufCBinaryData key, ProtobufCBinaryData end)
{
    return end.len == 0 || (end.len == 1 && end.data[0] == 0) ||
           slice_compare(pb_slice(end), pb_slice(key)) > 0;
}

static void change_permission(struct node *node, size_t role)
{
    const struct rights_role *known = &node->model.rights.roles[role];
    struct sim *sim = node->sim;
    struct sim_call *made;

    if (known->count != 0 && sim_chance(sim, 400)) {
        const struct rights_permission *one = &known->permissions[sim_draw(sim, known->count)];
        Etcdserverpb__AuthRoleRevokePermissionRequest *revoke;
        char *copy;

        made = door_call(node, RPC_Auth_RoleRevokePermission);
        revoke = request_of(made);
        copy = arena_zalloc(&door_inner(made)->arena, 2 * RIGHTS_KEY_BYTES);
        must(copy != NULL);
        memcpy(copy, one->key, RIGHTS_KEY_BYTES);
        memcpy(copy + RIGHTS_KEY_BYTES, one->end, RIGHTS_KEY_BYTES);
        revoke->role = name_of(rights_roles, role);
        revoke->key = (ProtobufCBinaryData){one->key_bytes, (uint8_t *)copy};
        revoke->range_end =
            (ProtobufCBinaryData){one->end_bytes, (uint8_t *)copy + RIGHTS_KEY_BYTES};
    } else {
        Etcdserverpb__AuthRoleGrantPermissionRequest *grant;

        made = door_call(node, RPC_Auth_RoleGrantPermission);
        grant = request_of(made);
        grant->name = name_of(rights_roles, role);
        grant->perm = arena_zalloc(&door_inner(made)->arena, sizeof(*grant->perm));
        must(grant->perm != NULL);
        authpb__permission__init(grant->perm);
        grant->perm->permtype = (Authpb__Permission__Type)sim_draw(sim, 3);
        grant->perm->key = some_key(sim, made, false);
        grant->perm->range_end = some_key(sim, made, true);
        if (known->count >= RIGHTS_PERMISSIONS_MAX / 8 ||
            !is_range(grant->perm->key, grant->perm->range_end))
            grant->perm->range_end.len = 0;
    }
    door_start(made);
}

/* With one name for what it is about, the field behind the base: so are these requests made. */
struct named {
    ProtobufCMessage base;
    char *name, *second;
};

static void named_call(struct node *node, enum rpc_id id, char *name, char *second)
{
    struct sim_call *made = door_call(node, id);
    struct named *request = request_of(made);

    request->name = name;
    if (second != NULL)
        request->second = second;
    door_start(made);
}

static void change_something(struct node *node)
{
    struct sim *sim = node->sim;
    size_t user = 1 + sim_draw(sim, RIGHTS_NAMES - 1), role = 1 + sim_draw(sim, RIGHTS_NAMES - 1);

    if (node->model.rights.users[user].exists &&
        sim_chance(sim, node->model.rights.users[user].roles == 0 ? 500 : 100)) {
        /* who has no role may do nothing */
        grant_role(node, user, role);
        return;
    }
    if (!node->model.rights.roles[role].exists && sim_chance(sim, 500)) {
        named_call(node, RPC_Auth_RoleAdd, name_of(rights_roles, role), NULL);
        return;
    }
    if (!node->model.rights.users[user].exists && sim_chance(sim, 500)) {
        add_user(node, user);
        return;
    }
    switch (sim_draw(sim, 20)) {
    case 0:
    case 1:
        add_user(node, user);
        break;
    case 2:
        named_call(
            node, RPC_Auth_UserDelete,
            name_of(rights_users, node->model.rights.enabled && sim_chance(sim, 200) ? 0 : user),
            NULL);
        break;
    case 3:
    case 4:
        user = sim_chance(sim, 300) ? 0 : user;
        if (sim_chance(sim, 500)) /* at the same time */
            log_in(node, user);
        named_call(node, RPC_Auth_UserChangePassword, name_of(rights_users, user),
                   new_password(sim, user));
        break;
    case 5:
        grant_role(node, user, sim_chance(sim, 100) ? 0 : role);
        break;
    case 6:
        named_call(node, RPC_Auth_UserRevokeRole, name_of(rights_users, user),
                   name_of(rights_roles, sim_chance(sim, 200) ? 0 : role));
        break;
    case 7:
        named_call(node, RPC_Auth_RoleAdd, name_of(rights_roles, role), NULL);
        break;
    case 8:
        named_call(node, RPC_Auth_RoleDelete, name_of(rights_roles, role), NULL);
        break;
    default:
        change_permission(node, role);
        break;
    }
}

/* Who has several roles has more to tell. */
static size_t told_user(struct node *node)
{
    size_t at = sim_draw(node->sim, RIGHTS_NAMES);

    for (size_t i = 0; i < RIGHTS_NAMES; i++) {
        unsigned roles = node->model.rights.users[(at + i) % RIGHTS_NAMES].roles;

        if ((roles & (roles - 1)) != 0)
            return (at + i) % RIGHTS_NAMES;
    }
    return at;
}

static void ask_something(struct node *node)
{
    struct sim *sim = node->sim;
    size_t at = sim_draw(sim, RIGHTS_NAMES);

    switch (sim_draw(sim, 4)) {
    case 0:
        named_call(node, RPC_Auth_UserGet, name_of(rights_users, told_user(node)), NULL);
        break;
    case 1:
        named_call(node, RPC_Auth_RoleGet, name_of(rights_roles, at), NULL);
        break;
    case 2:
        door_start(door_call(node, at % 2 == 0 ? RPC_Auth_UserList : RPC_Auth_RoleList));
        break;
    default:
        door_start(door_call(node, RPC_Auth_AuthStatus));
        break;
    }
}

void admin_act(struct node *node)
{
    struct sim *sim = node->sim;
    const struct rights *rights = &node->model.rights;
    uint64_t kind = sim_draw(sim, 100);

    if (!rights->users[0].exists)
        add_user(node, 0);
    else if ((rights->users[0].roles & 1) == 0)
        grant_role(node, 0, 0);
    else if (!rights->enabled && kind < 50)
        door_start(door_call(node, RPC_Auth_AuthEnable));
    else if (rights->enabled && kind < 4)
        door_start(door_call(node, RPC_Auth_AuthDisable));
    else if (rights->enabled && (kind < 40 || login_newest(node, 0, true) == NULL))
        log_in(node, login_newest(node, 0, true) == NULL ? 0 : sim_draw(sim, RIGHTS_NAMES));
    else if (kind < 55)
        ask_something(node);
    else
        change_something(node);
}

/* ---- the end ---- */

/* When all else is over: does root know a token here? If not, he logs in. */
bool admin_ready(struct node *node)
{
    if (!node->model.rights.enabled || login_newest(node, 0, true) != NULL)
        return true;
    if (node->sim->now_ms >= node->sim->admin.asked_ms + QUIET_MS) {
        node->sim->admin.asked_ms = node->sim->now_ms;
        log_in(node, 0);
    }
    return false;
}

static void turn_off(struct sim *sim, void *arg)
{
    struct node *node = sim->nodes[sim_draw(sim, sim->node_count)];

    (void)arg;
    sim->admin.ending = false;
    if (!node_acts(node) || !node->model.rights.enabled ||
        roster_is_learner(&node->model.roster, node->id))
        return;
    if (admin_ready(node))
        door_start(door_call(node, RPC_Auth_AuthDisable));
    node_turn(node);
}

/* So that the last looks at all members see everything. */
bool admin_busy(struct sim *sim)
{
    if (!world_furthest(sim)->model.rights.enabled)
        return false;
    if (!sim->admin.ending) {
        sim->admin.ending = true;
        (void)sim_after(sim, NULL, QUIET_MS, turn_off, NULL);
    }
    return true;
}
