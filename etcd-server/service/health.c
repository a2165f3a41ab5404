/*
 * health.c - grpc.health.v1: the whole server, named "", serves as long as it answers (api.md 14).
 * With --stop-grpc-service-on-defrag it says NOT_SERVING while a defragmentation runs, so that
 * clients that balance by this service go to other members meanwhile. Calls are answered all the
 * same.
 *
 *   SERVING --(defragmentation begins)--> NOT_SERVING --(it ended)--> SERVING
 */
#include "common/schema/health.pb-c.h"
#include "etcd-server/service/service_internal.h"

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;

/* An open Watch of the server; in the call's own arena. */
struct health_watch {
    struct health_watch *next;
    struct service *service;
    struct call *call;
    bool paused;         /* the client has not read the last one yet */
    serving_status told; /* what it was sent last */
};

static bool is_server(const struct call *call)
{
    const Grpc__Health__V1__HealthCheckRequest *request =
        (const Grpc__Health__V1__HealthCheckRequest *)(const void *)call->request;

    return request->service[0] == '\0';
}

static serving_status status_now(const struct service *service)
{
    return service->not_serving
               ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
               : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
}

void health_check(struct service *service, struct call *call)
{
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    response.status = status_now(service);
    if (is_server(call))
        call->ops->reply(call, &response.base);
    else
        call_refuse(call, ERR_UNKNOWN_SERVICE);
}

void health_list(struct service *service, struct call *call)
{
    Grpc__Health__V1__HealthListResponse response = GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__INIT;
    Grpc__Health__V1__HealthListResponse__StatusesEntry entry =
        GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__STATUSES_ENTRY__INIT;
    Grpc__Health__V1__HealthListResponse__StatusesEntry *entries[] = {&entry};
    Grpc__Health__V1__HealthCheckResponse status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    status.status = status_now(service);
    entry.value = &status;
    response.statuses = entries;
    response.n_statuses = 1;
    call->ops->reply(call, &response.base);
}

/* ---- Watch ---- */

static void tell(struct health_watch *watch)
{
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    watch->told = response.status = status_now(watch->service);
    watch->paused = !watch->call->ops->send(watch->call, &response.base);
}

static void resumed(struct call *call)
{
    struct health_watch *watch = call->state;

    watch->paused = false;
    if (watch->told != status_now(watch->service))
        tell(watch);
}

static void cancelled(struct call *call)
{
    struct health_watch *watch = call->state, **at = &watch->service->health_watches;

    while (*at != watch)
        at = &(*at)->next;
    *at = watch->next;
}

/* The status now, and each that follows until the client goes or the server stops. */
void health_watch(struct service *service, struct call *call)
{
    Grpc__Health__V1__HealthCheckResponse unknown = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    struct health_watch *watch;

    if (!is_server(call)) {
        unknown.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
        (void)call->ops->send(call, &unknown.base); /* and it will never be known */
        return;
    }
    watch = call_alloc(call, sizeof(*watch));
    if (watch == NULL)
        return;
    *watch =
        (struct health_watch){.next = service->health_watches, .service = service, .call = call};
    service->health_watches = watch;
    call->state = watch;
    call->cancel = cancelled;
    call->resume = resumed;
    tell(watch);
}

static void note(struct service *service)
{
    static const struct log_field up[] = {
        log_str("service", ""), log_str("status", "SERVING"), {.kind = LOG_KIND_END}};
    static const struct log_field down[] = {log_str("service", ""),
                                            log_str("status", "NOT_SERVING"),
                                            log_str("reason", "defrag is active"),
                                            {.kind = LOG_KIND_END}};
    struct host *host = engine_host(service->engine);

    if (host->ops->note != NULL)
        host->ops->note(host, service->not_serving ? LOG_WARN : LOG_INFO,
                        "grpc service status changed", service->not_serving ? down : up);
}

void health_turn(struct service *service)
{
    bool defragging = service->config.stop_on_defrag && engine_stats(service->engine).defragging;

    if (service->not_serving == defragging)
        return;
    service->not_serving = defragging;
    note(service);
    for (struct health_watch *watch = service->health_watches, *next; watch != NULL; watch = next) {
        next = watch->next; /* a client whose connection breaks in send() leaves the list */
        if (!watch->paused)
            tell(watch);
    }
}
