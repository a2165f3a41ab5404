/*
 * observing.c - clients that observe elections (api.md 14), and what they are told.
 *
 *   each message is a state of a key that led at its revision or later
 *   (create revision, mod revision) grows from message to message: no state twice, none that is
 *   older than one before it, on whichever member the client goes on
 *   when faults have ended, every observer is soon told the newest state of the leader's key
 *   a stream ends when its member dies, its caller may not read, or the leader's key cannot be read
 *
 * Locks are kept in the same way, so their names are observed too.
 */
#include "common/schema/election.pb-c.h"
#include "common/schema/pbbytes.h"
#include "tests/sim/answer.h"
#include "tests/sim/sim.h"

#include <stdio.h>

#define OBSERVERS_MAX 6
#define PAUSE_MS_MAX 3000
#define STIR_MS_MAX 500 /* shorter than a pause: it comes while the observer is not freed yet */
#define ARENA_BYTES (1 * MIB)
#define LATE_MS 1500         /* so long a state of the leader's key may be on its way */
#define TROUBLE_OVER_MS 5000 /* there is a leader of the members again */
#define TROUBLE_MS 30000     /* reads may fail so long after something was wrong */
#define PREFIX_BYTES 8

struct sim_observer {
    struct call call; /* first */
    struct sim_observer *next;
    struct sim *sim;
    struct node *node;
    const char *name;
    char prefix[PREFIX_BYTES], past[PREFIX_BYTES]; /* NAME/ and what follows it */
    uint64_t acknowledged;                         /* when it began */
    uint64_t rights_revision;                      /* then */
    bool rights_on;                                /* then */
    int64_t create, mod;                           /* of what it was told last; 0 = nothing yet */
    int64_t missed_mod; /* who leads in this state has not been told since ... */
    uint64_t missed_ms;
    bool token_over; /* when it was shown */
    bool paused, ended;
};

/* ---- what it is told ---- */

static void text_of(struct buf *out, const Mvccpb__KeyValue *kv)
{
    answer_key_value(out, kv);
    buf_append(out, "", 1);
}

/* Did it lead in this state, at `since` or later? */
static bool has_led(const struct sim_observer *own, const Mvccpb__KeyValue *kv, int64_t since)
{
    const struct model *model = &own->node->model;
    struct buf told = BUF_INIT(BUF_UNLIMITED), known = BUF_INIT(BUF_UNLIMITED);
    Mvccpb__KeyValue first;
    bool found = false;

    text_of(&told, kv);
    for (int64_t at = MAX(kv->mod_revision, since); at <= model->revision && !found; at++) {
        if (!model_oldest_at(model, slice_text(own->prefix), at, &first))
            continue;
        buf_reset(&known);
        text_of(&known, &first);
        found = slice_equal(buf_slice(&told), buf_slice(&known));
    }
    buf_free(&told);
    buf_free(&known);
    return found;
}

/* The leader was read at least once for whoever asked: so he may, unless rights have changed. */
static void check_rights(const struct sim_observer *own)
{
    const struct model *model = &own->node->model;
    enum err_code code;

    if (own->rights_revision != model->rights.revision || own->rights_on != model->rights.enabled)
        return;
    code =
        rights_check_keys(model, own->call.token, false, pb_text(own->prefix), pb_text(own->past));
    sim_check(own->sim, code == ERR_OK && (!own->rights_on || !own->token_over),
              "an observer is told who leads %s at member %u, and must be refused: %s", own->prefix,
              own->node->number, err_text(code != ERR_OK ? code : ERR_INVALID_AUTH_TOKEN));
}

static void check_told(struct sim_observer *own, const V3electionpb__LeaderResponse *response)
{
    const struct model *model = &own->node->model;
    const Mvccpb__KeyValue *kv = response->kv;
    uint64_t applied = engine_applied_index(own->node->engine);
    struct sim *sim = own->sim;
    bool first = own->create == 0;

    sim_check(sim, applied >= own->acknowledged,
              "an observer at member %u is told of entry %" PRIu64 ", but %" PRIu64
              " was acknowledged before it began",
              own->node->number, applied, own->acknowledged);
    sim_check(sim,
              kv != NULL && response->header->revision >= kv->mod_revision &&
                  response->header->revision <= model->revision,
              "an observer is told of a state under a header of revision %" PRId64,
              response->header->revision);
    sim_check(sim,
              kv->create_revision > own->create ||
                  (kv->create_revision == own->create && kv->mod_revision > own->mod),
              "an observer of %s is told of %.*s (created at %" PRId64 ", changed at %" PRId64
              ") after %" PRId64 ", %" PRId64,
              own->prefix, (int)kv->key.len, (const char *)kv->key.data, kv->create_revision,
              kv->mod_revision, own->create, own->mod);
    sim_check(sim, has_led(own, kv, first ? model_revision_at(model, own->acknowledged) : 0),
              "an observer of %s is told of %.*s (created at %" PRId64 ", changed at %" PRId64
              "), which did not lead then",
              own->prefix, (int)kv->key.len, (const char *)kv->key.data, kv->create_revision,
              kv->mod_revision);
    if (first)
        check_rights(own);
    sim->acknowledged = MAX(sim->acknowledged, applied); /* whoever reads later sees that much */
}

static void resume(struct sim *sim, void *arg)
{
    struct sim_observer *own = arg;

    (void)sim;
    own->paused = false;
    if (!own->ended)
        own->call.resume(&own->call);
}

/* Something to be told of, as long as somebody listens. */
static void stir(struct sim *sim, void *arg)
{
    struct sim_observer *own = arg;

    if (own->ended || sim->quiet)
        return;
    locking_stir(own->node, own->name);
    (void)sim_after(sim, own->node, sim_draw(sim, STIR_MS_MAX), stir, own);
}

/* What was not read yet goes with the history. */
static void compact(struct sim *sim, void *arg)
{
    struct node *node = arg;

    if (!sim->quiet && node->model.compacted < node->model.revision)
        traffic_compact(node, node->model.revision);
}

/* The client reads nothing for a while, in which something happens. */
static void pause_reading(struct sim_observer *own)
{
    struct sim *sim = own->sim;
    uint64_t pause_ms = sim_draw(sim, sim_chance(sim, 700) ? PAUSE_MS_MAX : 50);

    own->paused = true;
    (void)sim_after(sim, own->node, pause_ms, resume, own);
    if (sim_chance(sim, 500))
        (void)sim_after(sim, own->node, pause_ms - pause_ms / 8, compact, own->node);
}

static bool send(struct call *call, const ProtobufCMessage *response)
{
    struct sim_observer *own = CONTAINER_OF(call, struct sim_observer, call);
    const V3electionpb__LeaderResponse *message = (const void *)response;
    struct sim *sim = own->sim;

    node_advance(own->node);
    sim_check(sim, !own->ended, "an observer is told of something after its end");
    check_told(own, message);
    own->create = message->kv->create_revision;
    own->mod = message->kv->mod_revision;
    sim_trace(sim, "observed", (uint64_t)own->create, (uint64_t)own->mod);
    if (own->paused || sim->quiet || !sim_chance(sim, 300))
        return !own->paused;
    pause_reading(own);
    return false;
}

/* ---- its end ---- */

static void observer_free(struct sim *sim, void *arg)
{
    struct sim_observer *own = arg, **at = &sim->observers;

    while (*at != own)
        at = &(*at)->next;
    *at = own->next;
    arena_free(&own->call.arena);
    free(own);
}

/* Freed when no resume is on its way any more. */
static void end(struct sim_observer *own)
{
    sim_check(own->sim, !own->ended, "an observer ends twice");
    login_shown(own->node, own->call.token); /* with its last read, which need not tell anything */
    own->ended = true;
    sim_after(own->sim, own->node, PAUSE_MS_MAX, observer_free, own)->drop = observer_free;
}

static bool is_one_of(const char *text, const enum err_code *codes, size_t count,
                      enum err_code *code)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, err_text(codes[i])) == 0) {
            *code = codes[i];
            return true;
        }
    return false;
}

static void finish(struct call *call, enum err_code code, const char *text)
{
    static const enum err_code of_rights[] = {ERR_USER_EMPTY, ERR_PERMISSION_DENIED,
                                              ERR_INVALID_AUTH_TOKEN};
    static const enum err_code of_reads[] = {ERR_TIMEOUT,        ERR_TIMEOUT_DUE_TO_LEADER_FAIL,
                                             ERR_LEADER_CHANGED, ERR_TIMEOUT_DUE_TO_CONNECTION_LOST,
                                             ERR_NO_LEADER,      ERR_REQUEST_TOO_MANY_REQUESTS,
                                             ERR_STOPPED};
    struct sim_observer *own = CONTAINER_OF(call, struct sim_observer, call);
    const char *cause = text != NULL ? text : err_text(code);
    struct sim *sim = own->sim;
    struct node *node = own->node;

    node_advance(node);
    sim_trace(sim, "observer ends", (uint64_t)code, sim->now_ms);
    if (is_one_of(cause, of_rights, ARRAY_LEN(of_rights), &code))
        login_check_code(node, call->token, "an observer", code,
                         rights_check_keys(&node->model, call->token, false, pb_text(own->prefix),
                                           pb_text(own->past)));
    else if (is_one_of(cause, of_reads, ARRAY_LEN(of_reads), &code))
        sim_check(sim,
                  (sim->options.members > 1 && !sim->quiet) ||
                      sim->now_ms < sim->trouble_ms + TROUBLE_MS,
                  "an observer ends: %s, though nothing was wrong", cause);
    else
        sim_check(sim,
                  node->dying || (code == ERR_NOT_SUPPORTED_FOR_LEARNER &&
                                  roster_is_learner(&node->model.roster, node->id)),
                  "an observer ends: %s", cause);
    end(own);
}

/* ---- what clients do ---- */

static void observe(struct node *node)
{
    static const struct call_ops ops = {.send = send, .finish = finish};
    struct sim *sim = node->sim;
    struct sim_observer *own = xalloc(sizeof(*own));
    const char *token = login_token(node);
    V3electionpb__LeaderRequest *request;

    own->sim = sim;
    own->node = node;
    own->name = locking_name(sim);
    own->acknowledged = sim->acknowledged;
    own->rights_revision = node->model.rights.revision;
    own->rights_on = node->model.rights.enabled;
    (void)snprintf(own->prefix, sizeof(own->prefix), "%s/", own->name);
    (void)snprintf(own->past, sizeof(own->past), "%s%c", own->name, '/' + 1);
    own->call.row = rpc_row(RPC_Election_Observe);
    own->call.ops = &ops;
    arena_init(&own->call.arena, ARENA_BYTES);
    request = arena_zalloc(&own->call.arena, sizeof(*request));
    must(request != NULL);
    v3electionpb__leader_request__init(request);
    request->name = pb_text(own->name);
    own->call.request = &request->base;
    own->next = sim->observers;
    sim->observers = own;
    if (token != NULL) {
        own->call.token = arena_strndup(&own->call.arena, token, strlen(token));
        own->token_over = login_is_over(node, token);
        login_shown(node, token);
    }
    sim_trace(sim, "observes", node->number, (uint64_t)own->name[0]);
    service_start(node->service, &own->call);
    stir(sim, own);
}

static void hang_up(struct sim_observer *own)
{
    service_cancel(own->node->service, &own->call);
    end(own);
}

bool observing_uses(const struct node *node, const char *token)
{
    for (const struct sim_observer *own = node->sim->observers; own != NULL; own = own->next)
        if (own->node == node && !own->ended && own->call.token != NULL &&
            strcmp(own->call.token, token) == 0)
            return true;
    return false;
}

void observing_act(struct node *node)
{
    struct sim *sim = node->sim;
    struct sim_observer *some = NULL;
    size_t count = 0, here = 0;

    for (struct sim_observer *own = sim->observers; own != NULL; own = own->next) {
        count += !own->ended;
        if (own->node == node && !own->ended && sim_draw(sim, ++here) == 0)
            some = own;
    }
    if (some != NULL && sim_chance(sim, 100))
        hang_up(some);
    else if (count < OBSERVERS_MAX)
        observe(node);
}

/* Has it not been told yet who leads? Not for long, when all is well. */
static bool is_behind(struct sim_observer *own)
{
    const struct model *model = &own->node->model;
    struct sim *sim = own->sim;
    Mvccpb__KeyValue kv;

    if (own->ended || !model_oldest_at(model, slice_text(own->prefix), model->revision, &kv) ||
        (own->create == kv.create_revision && own->mod == kv.mod_revision))
        return false;
    if (own->missed_mod != kv.mod_revision || own->paused ||
        sim->now_ms < sim->trouble_ms + TROUBLE_OVER_MS) {
        own->missed_mod = kv.mod_revision;
        own->missed_ms = sim->now_ms;
    }
    sim_check(sim, sim->now_ms <= own->missed_ms + LATE_MS,
              "an observer of %s at member %u is not told of %.*s (created at %" PRId64
              ", changed at %" PRId64 ")",
              own->prefix, own->node->number, (int)kv.key.len, (const char *)kv.key.data,
              kv.create_revision, kv.mod_revision);
    return true;
}

bool observing_behind(struct sim *sim, const char *name)
{
    bool behind = false;

    for (struct sim_observer *own = sim->observers; own != NULL; own = own->next)
        behind = ((name == NULL || own->name == name) && is_behind(own)) || behind;
    return behind;
}

void observing_cancel_all(struct node *node)
{
    for (struct sim_observer *own = node->sim->observers; own != NULL; own = own->next)
        if (own->node == node && !own->ended)
            hang_up(own);
}
