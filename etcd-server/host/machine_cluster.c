/*
 * machine_cluster.c - see machine_cluster.h.
 *
 * A snapshot to a member: pool thread plans the bbolt image of the read -> core:
 * peers_send_snapshot()
 * -> pool thread writes the image as the socket takes it -> core: sent, the read ends.
 */
#include "etcd-server/host/machine_cluster.h"
#include "common/storage/backend_image.h"

struct machine_cluster {
    struct machine_cluster_config config;
    struct peers *peers;
    bool stopped;
};

/* ---- from the links ---- */

static bool take_message(void *arg, const struct raft_message *message)
{
    struct machine_cluster *cluster = arg;

    engine_message(cluster->config.engine, message);
    return true;
}

static void unreachable(void *arg, uint64_t member)
{
    engine_unreachable(((struct machine_cluster *)arg)->config.engine, member);
}

static void snapshot_sent(void *arg, uint64_t member, uint64_t index, bool ok)
{
    engine_snapshot_sent(((struct machine_cluster *)arg)->config.engine, member, index, ok);
}

static void removed(void *arg)
{
    struct machine_cluster *cluster = arg;
    struct err err = ERR_INIT;

    err_set(&err, ERR_REMOVED,
            "the other members say that this member has been permanently removed from the cluster; "
            "to come back, add a new member with an empty data directory");
    engine_fail(cluster->config.engine);
    cluster->config.host->ops->stop(cluster->config.host, &err);
}

static bool is_removed(void *arg, uint64_t member)
{
    return member_is_removed(engine_members(((struct machine_cluster *)arg)->config.engine),
                             member);
}

static void active(void *arg, uint64_t member, bool is_active)
{
    (void)arg;
    if (is_active)
        log_info("peer became active", log_hex("peer-id", member));
    else
        log_warn("peer became inactive", log_hex("peer-id", member));
}

int machine_cluster_new(const struct machine_cluster_config *config, struct machine_cluster **out,
                        struct err *err)
{
    struct machine_cluster *cluster = xalloc(sizeof(*cluster));
    struct peers_config peers = {.loop = config->loop,
                                 .id = engine_member_id(config->engine),
                                 .cluster_id = engine_cluster_id(config->engine),
                                 .metrics = config->metrics,
                                 .peer_urls = config->peer_urls,
                                 .peer_url_count = config->peer_url_count,
                                 .version = config->version,
                                 .min_cluster_version = "3.0.0",
                                 .tls = config->tls,
                                 .snap_dir = config->snap_dir,
                                 .election_timeout_ms = config->election_timeout_ms,
                                 .read_timeout_ms = config->read_timeout_ms,
                                 .write_timeout_ms = config->write_timeout_ms,
                                 .callbacks = {.arg = cluster,
                                               .message = take_message,
                                               .snapshot = take_message,
                                               .unreachable = unreachable,
                                               .snapshot_sent = snapshot_sent,
                                               .removed = removed,
                                               .is_removed = is_removed,
                                               .active = active}};

    cluster->config = *config;
    if (peers_new(&peers, &cluster->peers, err) < 0) {
        free(cluster);
        return -1;
    }
    machine_cluster_members_changed(cluster);
    *out = cluster;
    return 0;
}

void machine_cluster_stop(struct machine_cluster *cluster)
{
    if (cluster == NULL || cluster->stopped)
        return;
    cluster->stopped = true;
    peers_stop(cluster->peers);
}

void machine_cluster_free(struct machine_cluster *cluster)
{
    if (cluster == NULL)
        return;
    peers_free(cluster->peers);
    free(cluster);
}

struct peers *machine_cluster_peers(struct machine_cluster *cluster)
{
    return cluster->peers;
}

/* ---- to the links ---- */

void machine_cluster_send(struct machine_cluster *cluster, const struct raft_message *messages,
                          size_t count)
{
    if (!cluster->stopped)
        peers_send(cluster->peers, messages, count);
}

void machine_cluster_members_changed(struct machine_cluster *cluster)
{
    const struct member_store *members = engine_members(cluster->config.engine);
    struct peers_member list[RAFT_MEMBERS_MAX];
    size_t count = MIN(member_count(members), RAFT_MEMBERS_MAX);

    if (cluster->stopped)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct member *member = member_at(members, i);

        list[i] = (struct peers_member){.id = member->id,
                                        .peer_urls = (const char *const *)member->peer_urls,
                                        .peer_url_count = member->peer_url_count};
    }
    peers_set_members(cluster->peers, list, count);
}

uint64_t machine_cluster_connected_ms(const struct machine_cluster *cluster, uint64_t member)
{
    uint64_t since_ms = cluster->stopped ? 0 : peers_active_since(cluster->peers, member);

    return since_ms != 0 ? MAX(loop_now_ms() - since_ms, 1) : 0;
}

/* ---- questions ---- */

struct asking {
    struct machine_cluster *cluster;
    struct host_question *question;
    struct peers_call *call;
    uint64_t member;
    size_t url; /* of the member's, tried now */
};

static void asked(void *arg, const struct peers_answer *answer, const struct err *err);

/* By the next of the member's URLs; false: it has no more. */
static bool ask_by_url(struct asking *asking)
{
    const struct member *target =
        member_find(engine_members(asking->cluster->config.engine), asking->member);
    const struct host_question *question = asking->question;
    struct peers_request request = {.method = question->method != NULL ? question->method : "POST",
                                    .path = question->path,
                                    .content_type = question->content_type != NULL
                                                        ? question->content_type
                                                        : "application/protobuf",
                                    .fields = question->fields,
                                    .body = question->body,
                                    .timeout_ms = question->timeout_ms,
                                    .arg = asking,
                                    .done = asked};

    if (target != NULL && asking->url < target->peer_url_count)
        request.url = target->peer_urls[asking->url];
    else if (asking->url == 0)
        request.url = "http://127.0.0.1:0"; /* gone: refused on a later turn */
    else
        return false;
    asking->url++;
    asking->call = peers_request(asking->cluster->peers, &request);
    return true;
}

static void asked(void *arg, const struct peers_answer *answer, const struct err *err)
{
    struct asking *asking = arg;
    struct host_question *question = asking->question;
    /* other reasons: asked again while there is time; a link that stays broken is logged by itself
     */
    bool refused = answer == NULL && err->code == ERR_REQUEST_TOO_MANY_REQUESTS;

    if (answer == NULL && !refused && !asking->cluster->stopped && ask_by_url(asking))
        return;
    free(asking);
    question->host = NULL;
    question->done(question,
                   answer != NULL ? answer->status
                   : refused      ? HOST_QUESTION_REFUSED
                                  : 0,
                   answer != NULL ? answer->body : SLICE_EMPTY);
}

void machine_cluster_ask(struct machine_cluster *cluster, uint64_t member,
                         struct host_question *question)
{
    struct asking *asking = xalloc(sizeof(*asking));

    *asking = (struct asking){.cluster = cluster, .question = question, .member = member};
    question->host = asking;
    must(ask_by_url(asking)); /* the first is always tried */
}

void machine_cluster_ask_cancel(struct machine_cluster *cluster, struct host_question *question)
{
    struct asking *asking = question->host;

    (void)cluster;
    if (asking == NULL)
        return;
    peers_cancel(asking->call);
    question->host = NULL;
    free(asking);
}

/* ---- snapshots to members ---- */

struct sending {
    struct host_job job;      /* the plan */
    struct peers_image image; /* then the image */
    struct machine_cluster *cluster;
    struct backend_read *read; /* owned */
    struct raft_message message;
    struct raft_snapshot snapshot;
    uint8_t *data; /* owned: of the snapshot */
    struct bolt_plan plan;
    bool planned;
    uint64_t began_ns;
};

static void sending_free(struct sending *sending)
{
    const struct machine_cluster_config *config = &sending->cluster->config;

    if (config->metrics != NULL)
        metrics_observe(config->metrics, METRICS_BACKEND_SNAPSHOT,
                        (double)(host_now_ns(config->host) - sending->began_ns) / 1e9);
    backend_read_end(sending->read);
    free(sending->data);
    free(sending);
}

static void plan(struct host_job *job)
{
    struct sending *sending = CONTAINER_OF(job, struct sending, job);
    struct backend_image image;
    struct bolt_write_options options = {.chunk_bytes = SNAPSHOT_CHUNK_BYTES};
    struct err err = ERR_INIT;

    backend_image_init(&image, sending->read);
    sending->planned = bolt_plan(&image.source, &options, &sending->plan, &err) == 0;
    if (!sending->planned)
        log_error("cannot make a snapshot of the database", log_str("error", err.text));
    backend_image_fini(&image);
}

static int write_image(struct peers_image *image, host_sink_fn *sink, void *sink_arg,
                       struct err *err)
{
    struct sending *sending = CONTAINER_OF(image, struct sending, image);
    struct backend_image source;
    int rc;

    backend_image_init(&source, sending->read);
    rc = bolt_write(&source.source, &sending->plan, sink, sink_arg, err);
    backend_image_fini(&source);
    return rc;
}

static void release_image(struct peers_image *image)
{
    sending_free(CONTAINER_OF(image, struct sending, image));
}

static void planned(struct host_job *job)
{
    struct sending *sending = CONTAINER_OF(job, struct sending, job);
    struct machine_cluster *cluster = sending->cluster;

    if (!sending->planned || cluster->stopped) {
        if (!cluster->stopped)
            engine_snapshot_sent(cluster->config.engine, sending->message.to,
                                 sending->snapshot.meta.index, false);
        sending_free(sending);
        return;
    }
    sending->image = (struct peers_image){
        .bytes = bolt_plan_bytes(&sending->plan), .run = write_image, .release = release_image};
    peers_send_snapshot(cluster->peers, &sending->message, &sending->image);
}

void machine_cluster_send_snapshot(struct machine_cluster *cluster,
                                   const struct raft_message *message, struct backend_read *read)
{
    struct sending *sending = xalloc(sizeof(*sending));
    size_t bytes = message->snapshot->data.size;

    sending->cluster = cluster;
    sending->began_ns = host_now_ns(cluster->config.host);
    sending->read = read;
    sending->message = *message;
    sending->snapshot = *message->snapshot;
    sending->data = xalloc(MAX(bytes, 1));
    memcpy(sending->data, message->snapshot->data.data, bytes);
    sending->snapshot.data = slice_of(sending->data, bytes);
    sending->message.snapshot = &sending->snapshot;
    sending->job = (struct host_job){.run = plan, .done = planned};
    cluster->config.host->ops->run_job(cluster->config.host, &sending->job);
}
