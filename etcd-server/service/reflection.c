/* reflection.c - grpc.reflection.v1: what services there are, and the schema as files. */
#include "common/schema/reflect.h"
#include "common/schema/reflection.pb-c.h"
#include "etcd-server/service/service_internal.h"

#define SERVICES_MAX 32
#define SERVICE_NAME_BYTES 64

static void send_services(struct call *call,
                          Grpc__Reflection__V1__ServerReflectionResponse *response)
{
    Grpc__Reflection__V1__ListServiceResponse list =
        GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    Grpc__Reflection__V1__ServiceResponse services[SERVICES_MAX], *pointers[SERVICES_MAX];
    char names[SERVICES_MAX][SERVICE_NAME_BYTES];

    while (list.n_service < SERVICES_MAX &&
           reflect_service(list.n_service, names[list.n_service], SERVICE_NAME_BYTES)) {
        size_t i = list.n_service++;

        grpc__reflection__v1__service_response__init(&services[i]);
        services[i].name = names[i];
        pointers[i] = &services[i];
    }
    list.service = pointers;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response->list_services_response = &list;
    (void)call->ops->send(call, &response->base);
}

static void send_error(struct call *call, Grpc__Reflection__V1__ServerReflectionResponse *response,
                       enum grpc_code code, const char *text)
{
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;

    error.error_code = (int32_t)code;
    error.error_message = (char *)(uintptr_t)text; /* only read */
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response->error_response = &error;
    (void)call->ops->send(call, &response->base);
}

static void send_file(struct call *call, Grpc__Reflection__V1__ServerReflectionResponse *response,
                      const char *package)
{
    Grpc__Reflection__V1__FileDescriptorResponse files =
        GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    struct buf file = BUF_INIT(BUF_UNLIMITED); /* bounded by the schema */
    ProtobufCBinaryData bytes;

    if (package == NULL) {
        send_error(call, response, GRPC_NOT_FOUND, "not found: no such symbol or file");
        return;
    }
    reflect_file(package, &file);
    bytes = (ProtobufCBinaryData){buf_used(&file), file.data + file.start};
    files.file_descriptor_proto = &bytes;
    files.n_file_descriptor_proto = 1;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response->file_descriptor_response = &files;
    (void)call->ops->send(call, &response->base);
    buf_free(&file);
}

static void on_message(struct call *call, ProtobufCMessage *message)
{
    Grpc__Reflection__V1__ServerReflectionRequest *request =
        (Grpc__Reflection__V1__ServerReflectionRequest *)(void *)message;
    Grpc__Reflection__V1__ServerReflectionResponse response =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;

    if (message == NULL) {
        call->ops->finish(call, ERR_OK, NULL);
        return;
    }
    response.valid_host = request->host;
    response.original_request = request;
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        send_services(call, &response);
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        send_file(call, &response, reflect_package_of_file(slice_text(request->file_by_filename)));
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        send_file(call, &response, reflect_package_of(slice_text(request->file_containing_symbol)));
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        send_error(call, &response, GRPC_NOT_FOUND, "not found: the schema has no extensions");
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST__NOT_SET:
    case _GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST__CASE_IS_INT_SIZE:
        break;
    }
    send_error(call, &response, GRPC_INVALID_ARGUMENT, "the request asks for nothing");
}

void reflection_info(struct service *service, struct call *call)
{
    (void)service;
    call->message = on_message;
    on_message(call, call->request);
}
