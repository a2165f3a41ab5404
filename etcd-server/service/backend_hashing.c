/*
 * backend_hashing.c - Maintenance.Hash: of the whole backend, one at a time, however many ask.
 *
 *   core: everything applied so far into the backend -> pool: read it all -> core: the answer
 */
#include "common/base/base.h"
#include "common/storage/backend_hash.h"
#include "etcd-server/service/service_internal.h"

struct backend_hashing {
    struct host_job job;
    struct service *service;   /* NULL: it has gone */
    uint64_t wait;             /* for the commit; 0: that is over */
    struct wishes wishes;      /* whom it answers */
    struct backend_read *read; /* owned */
    uint64_t began_ns;
    uint32_t hash;
};

static void begin(struct service *service);

static void run(struct host_job *job)
{
    struct backend_hashing *hashing = CONTAINER_OF(job, struct backend_hashing, job);
    struct backend_hash hash;

    backend_hash_init(&hash, hashing->read);
    while (!backend_hash_step(&hash, SIZE_MAX))
        ;
    hashing->hash = hash.crc;
    backend_hash_fini(&hash);
}

/* The next one, if it is wanted. */
static void end(struct backend_hashing *hashing)
{
    struct service *service = hashing->service;

    free(hashing);
    if (service == NULL)
        return;
    service->backend_hashing = NULL;
    if (service->hash_wishes.first != NULL)
        begin(service);
}

static void done(struct host_job *job)
{
    struct backend_hashing *hashing = CONTAINER_OF(job, struct backend_hashing, job);
    Etcdserverpb__HashResponse response = ETCDSERVERPB__HASH_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;

    backend_read_end(hashing->read);
    if (hashing->service != NULL) {
        struct host *host = engine_host(hashing->service->engine);

        metrics_observe(hashing->service->config.metrics, METRICS_HASH,
                        (double)(host_now_ns(host) - hashing->began_ns) / 1e9);
        engine_fill_header(hashing->service->engine, &header);
    }
    response.header = &header;
    response.hash = hashing->hash;
    while (hashing->wishes.first != NULL) {
        struct call *call = wish_end(hashing->wishes.first);

        call->ops->reply(call, &response.base);
    }
    end(hashing);
}

static void refuse_all(struct backend_hashing *hashing, enum err_code code, const char *text)
{
    while (hashing->wishes.first != NULL) {
        struct call *call = wish_end(hashing->wishes.first);

        call->ops->finish(call, code, text);
    }
    end(hashing);
}

static void committed(void *arg, const struct engine_result *result)
{
    struct backend_hashing *hashing = arg;
    struct host *host = engine_host(hashing->service->engine);
    struct err err = ERR_INIT;

    hashing->wait = 0;
    if (result->code != ERR_OK) {
        refuse_all(hashing, result->code, NULL);
        return;
    }
    if (hashing->wishes.first == NULL) { /* they have all gone */
        end(hashing);
        return;
    }
    if (backend_read_begin(engine_backend(hashing->service->engine), &hashing->read, &err) < 0) {
        refuse_all(hashing, ERR_REQUEST_TOO_MANY_REQUESTS, err.text);
        return;
    }
    hashing->job = (struct host_job){.run = run, .done = done};
    hashing->began_ns = host_now_ns(host);
    host->ops->run_job(host, &hashing->job);
}

static void begin(struct service *service)
{
    struct backend_hashing *hashing = xalloc(sizeof(*hashing));

    hashing->service = service;
    wishes_move(&service->hash_wishes, &hashing->wishes);
    service->backend_hashing = hashing;
    hashing->wait = engine_when_committed(service->engine, committed, hashing);
}

void backend_hashing_free(struct service *service)
{
    struct backend_hashing *hashing = service->backend_hashing;

    if (hashing == NULL)
        return;
    hashing->service = NULL; /* on the pool: the job ends by itself */
    if (hashing->wait == 0)
        return;
    engine_forget(service->engine, hashing->wait);
    free(hashing);
}

void maintenance_hash(struct service *service, struct call *call)
{
    if (wishes_add(&service->hash_wishes, call) && service->backend_hashing == NULL)
        begin(service);
}
