/*
 * login.c - who calls: clients with the tokens that their logins gave, and whether they may
 * (api.md 9).
 *
 *   sim->logins: per member when each token was used there last
 *   rights.c:    what the log says of users, roles and tokens
 *   admin.c:     who logs in, and changes users and roles
 *
 * A call that is answered must have been allowed in the state it was answered from; one whose token
 * has not been used for its life, or was dropped there, must not be answered; a good token must.
 */
#include "common/schema/pbbytes.h"
#include "etcd-server/service/password.h"
#include "tests/sim/sim.h"

#include <stdio.h>

#define USED_MAX RIGHTS_TOKENS_MAX
#define SURE_MS 300 /* ticks and turns */

/* When a member took a token for good last; 0 = it does not know it. */
struct used {
    char text[RIGHTS_TOKEN_BYTES];
    uint64_t sure_ms[SIM_NODES_MAX]; /* at least: it is good until then + its life */
    uint64_t last_ms[SIM_NODES_MAX]; /* at most */
};

struct sim_logins {
    struct used used[USED_MAX];
    size_t count;
};

void login_begin(struct sim *sim)
{
    sim->logins = xalloc(sizeof(*sim->logins));
}

void login_free(struct sim *sim)
{
    free(sim->logins);
}

/* ---- tokens ---- */

static struct used *used_of(struct sim *sim, const char *text, bool make)
{
    struct sim_logins *logins = sim->logins;
    struct used *one;

    for (size_t i = 0; i < MIN(logins->count, USED_MAX); i++)
        if (strcmp(logins->used[i].text, text) == 0)
            return &logins->used[i];
    if (!make)
        return NULL;
    one = &logins->used[logins->count++ % USED_MAX];
    *one = (struct used){.text = ""};
    (void)snprintf(one->text, sizeof(one->text), "%s", text);
    return one;
}

/* A member applied it just now; what its backend has from before it came up does not count. */
void login_applied(struct node *node, const Etcdserverpb__InternalRaftRequest *request)
{
    struct sim *sim = node->sim;
    struct rights *rights = &node->model.rights;
    const char *text;
    struct used *used;

    if (request == NULL || request->authenticate == NULL || node->model.code != ERR_OK)
        return;
    text = rights->tokens[(rights->token_count - 1) % RIGHTS_TOKENS_MAX].text;
    used = used_of(sim, text, true);
    used->last_ms[node->number - 1] = sim->now_ms;
    if (node->service != NULL && node->model.index > node->backend_index)
        used->sure_ms[node->number - 1] = sim->now_ms;
}

/* A restart forgets all. */
void login_forget(struct node *node)
{
    for (size_t i = 0; i < USED_MAX; i++)
        node->sim->logins->used[i].sure_ms[node->number - 1] = 0;
}

/* Its life in true time: by the slowest and the fastest clock. */
static uint64_t life_ms(const struct sim *sim, bool longest)
{
    uint64_t ttl_ms = sim->options.token_ttl_ms, skew = sim->options.clock_skew_1000;

    return longest ? ttl_ms * 1000 / (1000 - skew) + SURE_MS : ttl_ms * 1000 / (1000 + skew);
}

/* It is shown to the member once more, which may count as a use. */
void login_shown(struct node *node, const char *token)
{
    struct used *used = token != NULL ? used_of(node->sim, token, false) : NULL;

    if (used != NULL && !login_is_over(node, token))
        used->last_ms[node->number - 1] = node->sim->now_ms;
}

void login_took(struct node *node, const char *token, uint64_t at_ms)
{
    struct used *used = token != NULL ? used_of(node->sim, token, false) : NULL;
    uint64_t *sure_ms = used != NULL ? &used->sure_ms[node->number - 1] : NULL;

    if (sure_ms != NULL && *sure_ms != 0)
        *sure_ms = MAX(*sure_ms, at_ms);
}

bool login_is_over(struct node *node, const char *token)
{
    const struct used *used = token != NULL ? used_of(node->sim, token, false) : NULL;

    return used != NULL &&
           node->sim->now_ms > used->last_ms[node->number - 1] + life_ms(node->sim, true) &&
           !observing_uses(node, token) && !locking_uses(node, token);
}

/* The member has known it since it came up, it was used lately and nobody dropped it. */
bool login_is_good(struct node *node, const char *token)
{
    const struct used *used = used_of(node->sim, token, false);
    const struct rights_token *known = rights_token(&node->model.rights, token);

    return used != NULL && known != NULL && !known->dropped &&
           used->sure_ms[node->number - 1] != 0 &&
           node->sim->now_ms < used->sure_ms[node->number - 1] + life_ms(node->sim, false);
}

const char *login_newest(struct node *node, unsigned user, bool good)
{
    const struct rights *rights = &node->model.rights;

    for (size_t i = rights->token_count; i > 0 && i + RIGHTS_TOKENS_MAX > rights->token_count;
         i--) {
        const struct rights_token *one = &rights->tokens[(i - 1) % RIGHTS_TOKENS_MAX];

        if (one->user == user && (!good || login_is_good(node, one->text)))
            return one->text;
    }
    return NULL;
}

static const char *some_dropped(struct sim *sim, const struct rights *rights)
{
    const char *found = NULL;
    uint64_t count = 0;

    for (size_t i = 0; i < MIN(rights->token_count, RIGHTS_TOKENS_MAX); i++)
        if (rights->tokens[i].dropped && sim_draw(sim, ++count) == 0)
            found = rights->tokens[i].text;
    return found;
}

/* Whoever calls; the text lives until the next event. NULL: nobody. */
const char *login_token(struct node *node)
{
    struct sim *sim = node->sim;
    const struct rights *rights = &node->model.rights;
    const char *token = NULL;

    if (rights->token_count == 0 || (!rights->enabled && !sim_chance(sim, 100)))
        return NULL;
    if (!sim->quiet && sim_chance(sim, 80))
        return some_dropped(sim, rights);
    if (sim->quiet || sim_chance(sim, 500))
        token = login_newest(node, 0, true);
    if (token == NULL && !sim->quiet)
        token = login_newest(node, (unsigned)sim_draw(sim, RIGHTS_NAMES), sim_chance(sim, 800));
    return token;
}

/* ---- answers ---- */

bool login_matters(enum err_code code)
{
    return code == ERR_USER_EMPTY || code == ERR_PERMISSION_DENIED ||
           code == ERR_AUTH_OLD_REVISION || code == ERR_INVALID_AUTH_TOKEN ||
           code == ERR_USER_NOT_FOUND;
}

/* An entry that was carried out: he whom it names must be who called, and his token good. */
void login_check_entry(struct node *node, const char *token, const char *method,
                       const Etcdserverpb__InternalRaftRequest *request)
{
    const struct rights *rights = &node->model.rights;
    const struct rights_token *known = token != NULL ? rights_token(rights, token) : NULL;
    struct sim *sim = node->sim;

    if (!rights->enabled || request->header == NULL || request->header->username[0] == '\0')
        return;
    sim_check(sim,
              known != NULL && strcmp(rights_users[known->user], request->header->username) == 0,
              "%s is carried out as %s, whose token it has not", method, request->header->username);
    sim_check(sim, !known->dropped, "%s is carried out with a token of %s that was dropped", method,
              request->header->username);
}

/* Refused before any entry, or by a read. */
void login_check_refusal(struct node *node, const char *token, const char *method,
                         enum err_code code)
{
    sim_check(node->sim,
              code != ERR_INVALID_AUTH_TOKEN || (token != NULL && !login_is_good(node, token)),
              "%s is refused at member %u: %s, though the token is good", method, node->number,
              err_text(code));
}

/* Refused now for who calls: the model says so too, or the token has been forgotten here. */
void login_check_code(struct node *node, const char *token, const char *what, enum err_code code,
                      enum err_code expected)
{
    login_check_refusal(node, token, what, code);
    sim_check(node->sim,
              node->model.rights.enabled && (code == ERR_INVALID_AUTH_TOKEN || code == expected),
              "%s is refused at member %u: %s, expected: %s", what, node->number, err_text(code),
              err_text(expected));
}

/* Taken now: so the caller may, and his token was good. `over`: before it was shown. */
void login_check_taken(struct node *node, const char *token, const char *what, bool over,
                       enum err_code expected)
{
    sim_check(node->sim, expected == ERR_OK, "%s is taken at member %u that must be refused: %s",
              what, node->number, err_text(expected));
    if (!node->model.rights.enabled)
        return;
    sim_check(node->sim, !over,
              "%s is taken with a token that was not used at member %u for its life", what,
              node->number);
    login_took(node, token, node->sim->now_ms);
}

/* The password that the client gave is that of the user, now. */
void login_check(struct node *node, const Etcdserverpb__AuthenticateRequest *request,
                 const Etcdserverpb__AuthenticateResponse *response)
{
    const struct rights *rights = &node->model.rights;
    const struct rights_token *known = rights_token(rights, response->token);
    int user = rights_name(rights_users, request->name);
    struct sim *sim = node->sim;

    sim_check(sim, known != NULL && user >= 0 && known->user == (unsigned)user && !known->dropped,
              "%s logs in and gets a token that is not his", request->name);
    sim_check(sim,
              rights->users[user].exists &&
                  password_matches(request->password, slice_text(rights->users[user].hash)),
              "%s logs in with a password that is not his any more", request->name);
}

/* Nothing has changed since he was asked for his password. */
void login_check_failed(struct node *node, const Etcdserverpb__AuthenticateRequest *request)
{
    int user = rights_name(rights_users, request->name);
    const struct rights_user *known = &node->model.rights.users[user];

    sim_check(node->sim,
              !known->exists || !password_matches(request->password, slice_text(known->hash)),
              "%s may not log in, though the password is right", request->name);
}

void login_check_status(struct node *node, const Etcdserverpb__AuthStatusResponse *response)
{
    const struct rights *rights = &node->model.rights;
    struct sim *sim = node->sim;

    sim_check(sim, response->enabled == rights->enabled,
              "AuthStatus of member %u: auth is %s, expected the contrary", node->number,
              response->enabled ? "on" : "off");
    sim_check(sim, response->authrevision == rights->revision,
              "AuthStatus of member %u: revision %" PRIu64 ", expected %" PRIu64, node->number,
              response->authrevision, rights->revision);
}

/* Ascending, each once; a bit for each in `bits`. */
static bool names_match(const char *const known[RIGHTS_NAMES], char **names, size_t count,
                        unsigned bits)
{
    unsigned found = 0;
    bool ascend = true;

    for (size_t i = 0; i < count; i++) {
        int at = rights_name(known, names[i]);

        ascend = ascend && at >= 0 && (i == 0 || strcmp(names[i - 1], names[i]) < 0);
        found |= at >= 0 ? 1U << at : 0;
    }
    return ascend && found == bits;
}

static bool permissions_match(const struct rights_role *expected, Authpb__Permission **permissions,
                              size_t count)
{
    bool same = count == expected->count;

    for (size_t i = 0; same && i < count; i++) {
        const Authpb__Permission *one = permissions[i];
        const struct rights_permission *other = &expected->permissions[i];

        same = (unsigned)one->permtype == other->type &&
               slice_equal(pb_slice(one->key), slice_of(other->key, other->key_bytes)) &&
               slice_equal(pb_slice(one->range_end), slice_of(other->end, other->end_bytes));
    }
    return same;
}

static void check_user(struct node *node, size_t at)
{
    const struct rights_user *expected = &node->model.rights.users[at];
    const Authpb__User *user = auth_find_user(engine_auth(node->engine), rights_users[at]);

    sim_check(node->sim,
              (user != NULL) == expected->exists &&
                  (user == NULL ||
                   (names_match(rights_roles, user->roles, user->n_roles, expected->roles) &&
                    slice_equal(pb_slice(user->password), slice_text(expected->hash)))),
              "member %u: user %s is not what the log made of him", node->number, rights_users[at]);
}

static void check_role(struct node *node, size_t at)
{
    const struct rights_role *expected = &node->model.rights.roles[at];
    const Authpb__Role *role = auth_find_role(engine_auth(node->engine), rights_roles[at]);

    sim_check(node->sim,
              (role != NULL) == expected->exists &&
                  (role == NULL ||
                   permissions_match(expected, role->keypermission, role->n_keypermission)),
              "member %u: role %s is not what the log made of it", node->number, rights_roles[at]);
}

static unsigned all_users(const struct rights *rights)
{
    unsigned bits = 0;

    for (size_t i = 0; i < RIGHTS_NAMES; i++)
        bits |= (unsigned)rights->users[i].exists << i;
    return bits;
}

static unsigned all_roles(const struct rights *rights)
{
    unsigned bits = 0;

    for (size_t i = 0; i < RIGHTS_NAMES; i++)
        bits |= (unsigned)rights->roles[i].exists << i;
    return bits;
}

void login_check_look(struct node *node, const struct call *call, const ProtobufCMessage *response)
{
    const struct rights *rights = &node->model.rights;
    const void *request = call->request, *answer = response;
    const char *name = NULL;
    bool same = false;

    if (call->row->id == RPC_Auth_UserGet) {
        const Etcdserverpb__AuthUserGetResponse *got = answer;

        name = ((const Etcdserverpb__AuthUserGetRequest *)request)->name;
        same = names_match(rights_roles, got->roles, got->n_roles,
                           rights->users[rights_name(rights_users, name)].roles);
    } else if (call->row->id == RPC_Auth_RoleGet) {
        const Etcdserverpb__AuthRoleGetResponse *got = answer;

        name = ((const Etcdserverpb__AuthRoleGetRequest *)request)->role;
        same = permissions_match(&rights->roles[rights_name(rights_roles, name)], got->perm,
                                 got->n_perm);
    } else if (call->row->id == RPC_Auth_UserList) {
        const Etcdserverpb__AuthUserListResponse *got = answer;

        same = names_match(rights_users, got->users, got->n_users, all_users(rights));
    } else {
        const Etcdserverpb__AuthRoleListResponse *got = answer;

        same = names_match(rights_roles, got->roles, got->n_roles, all_roles(rights));
    }
    sim_check(node->sim, same, "%s of %s at member %u is not what the log made", call->row->method,
              name != NULL ? name : "all", node->number);
}

void login_check_state(struct node *node)
{
    const struct auth_store *auth = engine_auth(node->engine);
    const struct rights *rights = &node->model.rights;
    struct sim *sim = node->sim;

    sim_check(sim, auth_enabled(auth) == rights->enabled && auth_revision(auth) == rights->revision,
              "member %u: auth is %s at revision %" PRIu64 ", expected %s at %" PRIu64,
              node->number, auth_enabled(auth) ? "on" : "off", auth_revision(auth),
              rights->enabled ? "on" : "off", rights->revision);
    for (size_t i = 0; i < RIGHTS_NAMES; i++) {
        check_user(node, i);
        check_role(node, i);
    }
}
