/* One handler for both versions: their messages have the same wire form. */
#include "server/rpc/reflection.h"

#include <stdlib.h>

#include "proto/grpc/reflection/v1/reflection.pb-c.h"
#include "server/rpc/core.h"
#include "server/rpc/status.h"
#include "server/rpc/symbols.h"

enum { SERVICES_MAX = 64 };

typedef Grpc__Reflection__V1__ServerReflectionRequest  request_message;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_message;

struct sc_reflection {
    sc_symbols *symbols;
    char       *services[SERVICES_MAX]; /* [services_count], NUL-terminated */
    size_t      services_count;
};

static void answer_error(sc_rpc_call *call, response_message *response, const char *text)
{
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    error.error_code = sc_rpc_code(SC_NOT_FOUND);
    error.error_message = (char *)(uintptr_t)text;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response->error_response = &error;
    rpc_stream_send(call, &response->base);
}

static void answer_file(sc_rpc_call *call, response_message *response, const sc_symbols *symbols,
                        int file)
{
    Grpc__Reflection__V1__FileDescriptorResponse files =
        GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    sc_str              views[SC_SYMBOLS_FILES_MAX];
    ProtobufCBinaryData bytes[SC_SYMBOLS_FILES_MAX];

    if (file < 0) {
        answer_error(call, response, "not found");
        return;
    }
    files.n_file_descriptor_proto = sc_symbols_closure(symbols, file, views, SC_SYMBOLS_FILES_MAX);
    for (size_t i = 0; i < files.n_file_descriptor_proto; i++)
        bytes[i] = (ProtobufCBinaryData){views[i].len, (uint8_t *)(uintptr_t)views[i].ptr};
    files.file_descriptor_proto = bytes;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response->file_descriptor_response = &files;
    rpc_stream_send(call, &response->base);
}

static void answer_services(sc_rpc_call *call, response_message *response,
                            const sc_reflection *reflection)
{
    Grpc__Reflection__V1__ListServiceResponse list =
        GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    Grpc__Reflection__V1__ServiceResponse  services[SERVICES_MAX];
    Grpc__Reflection__V1__ServiceResponse *pointers[SERVICES_MAX];

    for (size_t i = 0; i < reflection->services_count; i++) {
        grpc__reflection__v1__service_response__init(&services[i]);
        services[i].name = reflection->services[i];
        pointers[i] = &services[i];
    }
    list.n_service = reflection->services_count;
    list.service = pointers;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response->list_services_response = &list;
    rpc_stream_send(call, &response->base);
}

/* Our messages have no extensions: a known type has none, an unknown one is an error. */
static void answer_extensions(sc_rpc_call *call, response_message *response,
                              const sc_symbols *symbols, char *type)
{
    Grpc__Reflection__V1__ExtensionNumberResponse numbers =
        GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;

    if (!sc_symbols_is_message(symbols, sc_str_of(type))) {
        answer_error(call, response, "not found");
        return;
    }
    numbers.base_type_name = type;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    response->all_extension_numbers_response = &numbers;
    rpc_stream_send(call, &response->base);
}

static void answer(sc_rpc_call *call, const sc_reflection *reflection, request_message *request)
{
    response_message  response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    const sc_symbols *symbols = reflection->symbols;

    response.valid_host = request->host;
    response.original_request = request;
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        answer_file(call, &response, symbols,
                    sc_symbols_file_by_path(symbols, sc_str_of(request->file_by_filename)));
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        answer_file(call, &response, symbols,
                    sc_symbols_file_by_name(symbols, sc_str_of(request->file_containing_symbol)));
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        answer_extensions(call, &response, symbols, request->all_extension_numbers_of_type);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        answer_services(call, &response, reflection);
        break;
    default:
        answer_error(call, &response, "not found");
    }
}

static void received(sc_rpc_call *call, sc_str message)
{
    request_message *request = grpc__reflection__v1__server_reflection_request__unpack(
        NULL, message.len, (const uint8_t *)message.ptr);
    if (request == NULL) {
        rpc_stream_finish(call, SC_INVALID, "not a ServerReflectionRequest");
        return;
    }
    answer(call, call->method->shown.context, request);
    grpc__reflection__v1__server_reflection_request__free_unpacked(request, NULL);
}

static void half_closed(sc_rpc_call *call)
{
    rpc_stream_finish(call, SC_OK, "");
}

static void opened(sc_rpc_call *call, sc_str request, void *context)
{
    (void)request;
    (void)context;
    rpc_stream_receive(call);
}

static sc_status services_copy(sc_reflection *reflection)
{
    for (size_t i = 0; i < SERVICES_MAX; i++) {
        sc_str name = sc_symbols_service(reflection->symbols, i);
        if (name.len == 0)
            break;
        reflection->services[i] = strndup(name.ptr, name.len);
        if (reflection->services[i] == NULL)
            return SC_NO_MEMORY;
        reflection->services_count++;
    }
    return SC_OK;
}

sc_status sc_reflection_open(sc_rpc *rpc, const void *descriptors, size_t len, sc_reflection **out)
{
    static const rpc_stream_hooks hooks = {
        .received = received, .half_closed = half_closed, .sent = rpc_stream_receive};
    static const char *const paths[] = {
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"};

    *out = NULL;
    sc_reflection *reflection = calloc(1, sizeof *reflection);
    if (reflection == NULL)
        return SC_NO_MEMORY;
    sc_status status = sc_symbols_open(descriptors, len, &reflection->symbols);
    if (status == SC_OK)
        status = services_copy(reflection);
    for (size_t i = 0; status == SC_OK && i < 2; i++) {
        const sc_rpc_method method = {.path = paths[i], .handle = opened, .context = reflection};
        status = rpc_serve_shape(rpc, &method, RPC_BIDI, &hooks);
    }
    if (status != SC_OK) {
        sc_reflection_close(reflection);
        return status;
    }
    *out = reflection;
    return SC_OK;
}

void sc_reflection_close(sc_reflection *reflection)
{
    if (reflection == NULL)
        return;
    for (size_t i = 0; i < reflection->services_count; i++)
        free(reflection->services[i]);
    sc_symbols_close(reflection->symbols);
    free(reflection);
}
