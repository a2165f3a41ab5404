/*
 * locking.c - clients that lock names and stand for election on them (api.md 14), and what they are
 * told.
 *
 * Who is told that it owns a name has at that moment, in the state that the member has applied, the
 * oldest key under it: so its create revision is a fencing number. Who waits goes on when the keys
 * before its own are gone: when faults have ended and every owner has let go, nobody waits. Who
 * leaves the line takes its key with it. A key never outlives its lease.
 */
#include "common/schema/election.pb-c.h"
#include "common/schema/lock.pb-c.h"
#include "common/schema/pbbytes.h"
#include "tests/sim/sim.h"

#include <stdio.h>

#define ARENA_BYTES (1 * MIB)
#define LINGER_MS 100
#define NAME_BYTES 4
#define KEY_BYTES 32
#define WAITING_MAX 12
#define NEW_LEASES_MAX 8 /* that the server makes, each with an id of its own */
#define DRAIN_MS 200
#define TTL_MAX_S 6
#define WAITS_MS 1000

/* Below the keys of other clients. Locks first, then elections. */
static const char *const names[] = {"a0", "a1", "b0"};

/* Somebody owned it, or still does. */
struct owned {
    const char *name;
    char key[KEY_BYTES];
    int64_t revision, lease;
};

struct sim_locker {
    struct call call; /* first */
    struct sim_locker *next;
    struct sim *sim;
    struct node *node;
    const char *name;
    struct owned owned; /* that it is about: Proclaim, Resign, Unlock */
    char value[16];
    int64_t lease;
    uint64_t acknowledged, began_ms;
    bool ended;
};

struct sim_locks {
    struct owned owned[4 * WAITING_MAX];
    size_t count;
    unsigned new_leases, values;
    bool draining;
    /* Who left the line last, when nothing was wrong; its key must go without anybody's help. */
    struct owned left;
    struct node *left_at; /* NULL: nobody */
    uint64_t left_ms, left_term;
};

/* ---- what the state says ---- */

static bool is_under(const struct model_key *key, const char *name)
{
    size_t bytes = strlen(name);

    return key->name.size > bytes && memcmp(key->name.data, name, bytes) == 0 &&
           key->name.data[bytes] == '/';
}

static const struct model_version *living(const struct model_key *key)
{
    const struct model_version *last = key->count != 0 ? &key->versions[key->count - 1] : NULL;

    return last != NULL && !last->tombstone ? last : NULL;
}

static const struct model_key *oldest(const struct model *model, const char *name)
{
    const struct model_key *found = NULL;

    for (size_t i = 0; i < model->key_count; i++) {
        const struct model_key *key = &model->keys[i];

        if (is_under(key, name) && living(key) != NULL &&
            (found == NULL || living(key)->create < living(found)->create))
            found = key;
    }
    return found;
}

/* 0: it does not live. */
static int64_t created_at(const struct model *model, struct slice key)
{
    Mvccpb__KeyValue kv;

    return model_key_at(model, key, model->revision, &kv) ? kv.create_revision : 0;
}

/* ---- answers ---- */

static void remember(struct sim_locks *locks, const struct owned *owned)
{
    size_t at = locks->count < ARRAY_LEN(locks->owned)
                    ? locks->count++
                    : (size_t)owned->revision % ARRAY_LEN(locks->owned);

    locks->owned[at] = *owned;
}

/* It is told that it owns the name by `key`: then nobody else may. */
static void check_owner(struct sim_locker *own, struct slice key)
{
    const struct model *model = &own->node->model;
    const struct model_key *first = oldest(model, own->name);
    struct sim *sim = own->sim;
    struct owned owned = {.name = own->name};

    sim_check(sim, first != NULL && created_at(model, key) != 0,
              "%s is told that it owns %s by %.*s, which is gone", own->call.row->method, own->name,
              (int)key.size, (const char *)key.data);
    sim_check(sim, slice_equal(first->name, key),
              "%s is told that it owns %s by %.*s of revision %" PRId64
              ", there is an older %.*s of revision %" PRId64,
              own->call.row->method, own->name, (int)key.size, (const char *)key.data,
              created_at(model, key), (int)first->name.size, (const char *)first->name.data,
              living(first)->create);
    (void)snprintf(owned.key, sizeof(owned.key), "%.*s", (int)key.size, (const char *)key.data);
    owned.lease = living(first)->lease;
    owned.revision = living(first)->create;
    sim_check(sim, model_has_lease(model, owned.lease), "%s outlives its lease", owned.key);
    remember(sim->locks, &owned);
    sim_trace(sim, "owns", (uint64_t)owned.lease, (uint64_t)owned.revision);
}

static void check_leader(struct sim_locker *own, const V3electionpb__LeaderResponse *response)
{
    const struct model_key *first = oldest(&own->node->model, own->name);

    sim_check(own->sim,
              first != NULL && slice_equal(first->name, pb_slice(response->kv->key)) &&
                  living(first)->create == response->kv->create_revision &&
                  living(first)->main == response->kv->mod_revision,
              "%.*s of revision %" PRId64 " is said to lead %s, it is %.*s",
              (int)response->kv->key.len, (const char *)response->kv->key.data,
              response->kv->mod_revision, own->name, first != NULL ? (int)first->name.size : 0,
              first != NULL ? (const char *)first->name.data : "");
}

static bool still_owns(const struct sim_locker *own)
{
    return created_at(&own->node->model, slice_text(own->owned.key)) == own->owned.revision;
}

static void check_proclaimed(struct sim_locker *own)
{
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    const struct model *model = &own->node->model;

    sim_check(own->sim,
              still_owns(own) &&
                  model_key_at(model, slice_text(own->owned.key), model->revision, &kv) &&
                  slice_equal(pb_slice(kv.value), slice_text(own->value)),
              "%s is proclaimed at %s, whose owner is another", own->value, own->owned.key);
}

static void locker_free(struct sim *sim, void *arg)
{
    struct sim_locker *own = arg, **at = &sim->lockers;

    while (*at != own)
        at = &(*at)->next;
    *at = own->next;
    arena_free(&own->call.arena);
    free(own);
}

static void end(struct sim_locker *own)
{
    sim_check(own->sim, !own->ended, "%s was answered twice", own->call.row->method);
    login_shown(own->node, own->call.token);
    own->ended = true;
    sim_after(own->sim, own->node, LINGER_MS, locker_free, own)->drop = locker_free;
}

static void reply(struct call *call, const ProtobufCMessage *response)
{
    struct sim_locker *own = CONTAINER_OF(call, struct sim_locker, call);
    const void *message = response;
    struct sim *sim = own->sim;
    uint64_t applied = engine_applied_index(own->node->engine);

    node_advance(own->node);
    login_shown(own->node, call->token);
    sim_trace(sim, call->row->method, own->node->model.index, sim->now_ms);
    sim_check(sim, applied >= own->acknowledged,
              "%s at member %u sees entry %" PRIu64 ", but %" PRIu64
              " was acknowledged before it began",
              call->row->method, own->node->number, applied, own->acknowledged);
    sim->acknowledged = MAX(sim->acknowledged, applied);
    switch ((int)call->row->id) {
    case RPC_Lock_Lock:
        check_owner(own, pb_slice(((const V3lockpb__LockResponse *)message)->key));
        break;
    case RPC_Election_Campaign:
        check_owner(own, pb_slice(((const V3electionpb__CampaignResponse *)message)->leader->key));
        break;
    case RPC_Election_Leader:
        check_leader(own, message);
        break;
    case RPC_Election_Proclaim:
        check_proclaimed(own);
        break;
    case RPC_Election_Resign:
        sim_check(sim, !still_owns(own), "%s resigned, and its key is there", own->owned.key);
        break;
    default: /* Unlock */
        sim_check(sim, created_at(&own->node->model, slice_text(own->owned.key)) == 0,
                  "%s is unlocked, and its key is there", own->owned.key);
        break;
    }
    end(own);
}

static void finish(struct call *call, enum err_code code, const char *text)
{
    struct sim_locker *own = CONTAINER_OF(call, struct sim_locker, call);
    struct sim *sim = own->sim;

    sim_trace(sim, call->row->method, (uint64_t)code, sim->now_ms);
    node_advance(own->node);
    login_shown(own->node, call->token);
    if (call->row->id == RPC_Election_Proclaim && text != NULL &&
        strcmp(text, err_text(ERR_ELECTION_NOT_LEADER)) == 0)
        sim_check(sim, !still_owns(own), "%s may not proclaim, and it leads", own->owned.key);
    if (call->row->id == RPC_Election_Leader && text != NULL &&
        strcmp(text, err_text(ERR_ELECTION_NO_LEADER)) == 0)
        sim_check(sim, oldest(&own->node->model, own->name) == NULL, "nobody is said to lead %s",
                  own->name);
    end(own);
}

/* ---- calls ---- */

static struct sim_locker *locker_new(struct node *node, enum rpc_id id, const char *name)
{
    static const struct call_ops ops = {.reply = reply, .finish = finish};
    struct sim *sim = node->sim;
    struct sim_locker *own = xalloc(sizeof(*own));

    own->sim = sim;
    own->node = node;
    own->name = name;
    own->acknowledged = sim->acknowledged;
    own->began_ms = sim->now_ms;
    own->call.row = rpc_row(id);
    own->call.ops = &ops;
    arena_init(&own->call.arena, ARENA_BYTES);
    own->call.request = arena_zalloc(&own->call.arena, own->call.row->request->sizeof_message);
    must(own->call.request != NULL);
    protobuf_c_message_init(own->call.row->request, own->call.request);
    own->next = sim->lockers;
    sim->lockers = own;
    return own;
}

static void start(struct sim_locker *own)
{
    const char *token = login_token(own->node);

    if (token != NULL) {
        own->call.token = arena_strndup(&own->call.arena, token, strlen(token));
        login_shown(own->node, token);
    }
    sim_trace(own->sim, own->call.row->method, own->node->number, (uint64_t)own->lease);
    service_start(own->node->service, &own->call);
}

static int64_t some_lease(struct node *node)
{
    struct sim *sim = node->sim;
    struct sim_call *grant;
    int64_t id = 1 + (int64_t)sim_draw(sim, SIM_LEASES - 1);

    if (sim->locks->new_leases < NEW_LEASES_MAX && sim_chance(sim, 50)) {
        sim->locks->new_leases++;
        return 0;
    }
    for (size_t i = 0; i < node->model.lease_count && !model_has_lease(&node->model, id); i++)
        if (node->model.leases[i] < SIM_LEASES && sim_chance(sim, 500))
            id = node->model.leases[i];
    if (!model_has_lease(&node->model, id) && sim_chance(sim, 800)) {
        grant = door_call(node, RPC_Lease_LeaseGrant);
        ((Etcdserverpb__LeaseGrantRequest *)(void *)door_inner(grant)->request)->id = id;
        ((Etcdserverpb__LeaseGrantRequest *)(void *)door_inner(grant)->request)->ttl =
            1 + (int64_t)sim_draw(sim, TTL_MAX_S);
        door_start(grant);
    }
    return id;
}

const char *locking_name(struct sim *sim)
{
    return names[sim_draw(sim, ARRAY_LEN(names))];
}

static void stand_in_line(struct node *node, const char *name)
{
    struct sim *sim = node->sim;
    size_t waiting = 0;
    bool lock = name[0] == 'a';
    struct sim_locker *own;
    int64_t lease;

    for (const struct sim_locker *one = sim->lockers; one != NULL; one = one->next)
        waiting += !one->ended;
    if (waiting >= WAITING_MAX)
        return;
    lease = some_lease(node);
    own = locker_new(node, lock ? RPC_Lock_Lock : RPC_Election_Campaign, name);
    own->lease = lease;
    (void)snprintf(own->value, sizeof(own->value), "v%u", ++sim->locks->values);
    if (lock) {
        ((V3lockpb__LockRequest *)(void *)own->call.request)->name = pb_text(own->name);
        ((V3lockpb__LockRequest *)(void *)own->call.request)->lease = lease;
    } else {
        ((V3electionpb__CampaignRequest *)(void *)own->call.request)->name = pb_text(own->name);
        ((V3electionpb__CampaignRequest *)(void *)own->call.request)->lease = lease;
        ((V3electionpb__CampaignRequest *)(void *)own->call.request)->value = pb_text(own->value);
    }
    start(own);
}

static V3electionpb__LeaderKey *leader_key(struct sim_locker *own)
{
    V3electionpb__LeaderKey *key = arena_zalloc(&own->call.arena, sizeof(*key));

    must(key != NULL);
    v3electionpb__leader_key__init(key);
    key->name = pb_text(own->name);
    key->key = pb_text(own->owned.key);
    key->rev = own->owned.revision;
    key->lease = own->owned.lease;
    return key;
}

static void let_go(struct node *node, const struct owned *owned)
{
    bool lock = owned->name[0] == 'a';
    struct sim_locker *own =
        locker_new(node, lock ? RPC_Lock_Unlock : RPC_Election_Resign, owned->name);

    own->owned = *owned;
    if (lock)
        ((V3lockpb__UnlockRequest *)(void *)own->call.request)->key = pb_text(own->owned.key);
    else
        ((V3electionpb__ResignRequest *)(void *)own->call.request)->leader = leader_key(own);
    start(own);
}

static void proclaim(struct node *node, const struct owned *owned)
{
    struct sim_locker *own;

    if (owned->name[0] == 'a')
        return;
    own = locker_new(node, RPC_Election_Proclaim, owned->name);
    own->owned = *owned;
    (void)snprintf(own->value, sizeof(own->value), "v%u", ++node->sim->locks->values);
    ((V3electionpb__ProclaimRequest *)(void *)own->call.request)->leader = leader_key(own);
    ((V3electionpb__ProclaimRequest *)(void *)own->call.request)->value = pb_text(own->value);
    start(own);
}

static void ask_leader(struct node *node)
{
    struct sim_locker *own =
        locker_new(node, RPC_Election_Leader, names[sim_draw(node->sim, ARRAY_LEN(names))]);

    ((V3electionpb__LeaderRequest *)(void *)own->call.request)->name = pb_text(own->name);
    start(own);
}

static void hang_up(struct node *node)
{
    for (struct sim_locker *own = node->sim->lockers; own != NULL; own = own->next)
        if (own->node == node && !own->ended && sim_chance(node->sim, 300)) {
            sim_trace(node->sim, "hang up", own->call.row->id, 0);
            service_cancel(node->service, &own->call);
            end(own);
            return;
        }
}

void locking_act(struct node *node)
{
    struct sim *sim = node->sim;
    struct sim_locks *locks = sim->locks;
    uint64_t kind = sim_draw(sim, 100);

    if (roster_is_learner(&node->model.roster, node->id))
        return;
    if (kind < 50 || locks->count == 0)
        stand_in_line(node, locking_name(sim));
    else if (kind < 70)
        let_go(node, &locks->owned[sim_draw(sim, locks->count)]);
    else if (kind < 80)
        proclaim(node, &locks->owned[sim_draw(sim, locks->count)]);
    else if (kind < 92)
        ask_leader(node);
    else
        hang_up(node);
}

static bool first_of(const struct node *node, const char *name, struct owned *owned)
{
    const struct model_key *first = oldest(&node->model, name);

    if (first == NULL)
        return false;
    *owned = (struct owned){
        .name = name, .revision = living(first)->create, .lease = living(first)->lease};
    (void)snprintf(owned->key, sizeof(owned->key), "%.*s", (int)first->name.size,
                   (const char *)first->name.data);
    return true;
}

/* Something for those who observe: a new state of the first key, or another first key. */
void locking_stir(struct node *node, const char *name)
{
    struct owned owned;

    if (roster_is_learner(&node->model.roster, node->id))
        return;
    if (!first_of(node, name, &owned))
        stand_in_line(node, name);
    else if (name[0] == 'a' || sim_chance(node->sim, 500))
        let_go(node, &owned);
    else
        proclaim(node, &owned);
}

/* ---- the end ---- */

static bool is_asked_for(const struct sim *sim, const struct owned *owned)
{
    for (const struct sim_locker *own = sim->lockers; own != NULL; own = own->next)
        if (!own->ended && own->name == owned->name && own->lease == owned->lease)
            return true;
    return false;
}

/* Does it wait for another one, and has so for a while? */
static bool waits(const struct sim_locker *own, struct owned *owned)
{
    const struct model *model = &own->node->model;
    const struct model_key *first = oldest(model, own->name);

    if (own->ended || own->lease == 0 || own->sim->now_ms < own->began_ms + WAITS_MS ||
        (own->call.row->id != RPC_Lock_Lock && own->call.row->id != RPC_Election_Campaign))
        return false;
    *owned = (struct owned){.name = own->name, .lease = own->lease};
    (void)snprintf(owned->key, sizeof(owned->key), "%s/%" PRIx64, own->name, (uint64_t)own->lease);
    owned->revision = created_at(model, slice_text(owned->key));
    return owned->revision != 0 && first != NULL && living(first)->create < owned->revision;
}

/* One leaves the line; another call for the same key would keep it. */
static void leave_line(struct sim *sim)
{
    struct sim_locks *locks = sim->locks;
    struct owned owned;

    for (struct sim_locker *own = sim->lockers; own != NULL; own = own->next) {
        if (!waits(own, &owned) || !sim_chance(sim, 500))
            continue;
        own->ended = true;
        if (is_asked_for(sim, &owned)) {
            own->ended = false;
            continue;
        }
        own->ended = false;
        sim_trace(sim, "leaves", own->node->number, (uint64_t)owned.revision);
        service_cancel(own->node->service, &own->call);
        locks->left = owned;
        locks->left_at = own->node;
        locks->left_ms = sim->now_ms;
        locks->left_term = raft_term(engine_raft(own->node->engine));
        end(own);
        node_turn(own->node);
        return;
    }
}

/* Its proposal may have been lost: the lease ends it then. */
static bool may_be_lost(const struct sim *sim)
{
    const struct sim_locks *locks = sim->locks;

    return locks->left_at->engine == NULL || sim->trouble_ms + WAITS_MS > locks->left_ms ||
           raft_term(engine_raft(locks->left_at->engine)) != locks->left_term;
}

static bool goes_by_itself(const struct sim *sim, const struct owned *owned)
{
    const struct sim_locks *locks = sim->locks;

    return locks->left_at != NULL && strcmp(locks->left.key, owned->key) == 0 &&
           locks->left.revision == owned->revision && !may_be_lost(sim);
}

/* Every owner lets go as soon as it was observed, so that all who wait get their turn. A lock that
 * the server's own lease is for belongs to whom nobody knows: it is let go as the others. */
static void drain(struct sim *sim, void *arg)
{
    struct node *node = sim->nodes[sim_draw(sim, sim->node_count)];

    (void)arg;
    if (roster_is_learner(&node->model.roster, node->id))
        node = world_furthest(sim);
    sim->locks->draining = false;
    leave_line(sim);
    for (size_t i = 0; i < ARRAY_LEN(names) && node_acts(node) && admin_ready(node); i++) {
        struct owned owned;

        if (!observing_behind(sim, names[i]) && first_of(node, names[i], &owned) &&
            !is_asked_for(sim, &owned) && !goes_by_itself(sim, &owned))
            let_go(node, &owned);
    }
    if (node->engine != NULL)
        node_turn(node);
}

/* Alarm CORRUPT lets nobody go. */
const char *locking_busy(struct sim *sim)
{
    const struct model *model = &world_furthest(sim)->model;
    const char *what = NULL;

    for (size_t i = 0; i < model->alarm_count; i++)
        if (model->alarms[i].alarm == ETCDSERVERPB__ALARM_TYPE__CORRUPT)
            return NULL;
    for (const struct sim_locker *own = sim->lockers; own != NULL; own = own->next)
        if (!own->ended)
            what = own->call.row->method;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (oldest(model, names[i]) != NULL)
            what = "a lock";
    if (what != NULL && !sim->locks->draining) {
        sim->locks->draining = true;
        (void)sim_after(sim, NULL, DRAIN_MS, drain, NULL);
    }
    return what;
}

void locking_begin(struct sim *sim)
{
    sim->locks = xalloc(sizeof(*sim->locks));
}

bool locking_uses(const struct node *node, const char *token)
{
    for (const struct sim_locker *own = node->sim->lockers; own != NULL; own = own->next)
        if (own->node == node && !own->ended && own->call.token != NULL &&
            strcmp(own->call.token, token) == 0)
            return true;
    return false;
}

void locking_cancel_all(struct node *node)
{
    if (node->sim->locks->left_at == node)
        node->sim->locks->left_at = NULL;
    for (struct sim_locker *own = node->sim->lockers; own != NULL; own = own->next)
        if (own->node == node && !own->ended) {
            service_cancel(node->service, &own->call);
            end(own);
        }
}

void locking_free(struct sim *sim)
{
    must(sim->lockers == NULL);
    free(sim->locks);
}
