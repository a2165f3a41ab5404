/* health.c - grpc.health.v1: the whole server, named "", serves as long as it answers (api.md 14).
 */
#include "common/schema/health.pb-c.h"
#include "etcd-server/service/service_internal.h"

static bool is_server(const struct call *call)
{
    const Grpc__Health__V1__HealthCheckRequest *request =
        (const Grpc__Health__V1__HealthCheckRequest *)(const void *)call->request;

    return request->service[0] == '\0';
}

void health_check(struct service *service, struct call *call)
{
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    (void)service;
    response.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
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

    (void)service;
    status.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    entry.value = &status;
    response.statuses = entries;
    response.n_statuses = 1;
    call->ops->reply(call, &response.base);
}

/* The status now; it does not change before the server stops, which ends the stream. */
void health_watch(struct service *service, struct call *call)
{
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    (void)service;
    response.status =
        is_server(call) ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                        : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    (void)call->ops->send(call, &response.base);
}
