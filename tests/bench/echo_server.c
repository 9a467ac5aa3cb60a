/* The reference that the cache is measured beside: gRPC's core, protobuf-c, and nothing else.
 *
 * Answers SemanticCache.Answer with the question itself. One completion queue, one thread, one
 * batch per call; no limits, no metadata, no shutdown: what any C server on this core has to pay.
 * With `hold` it answers nothing and only listens for the end of each call: what the core itself
 * needs for one that waits.
 * usage: echo_server [port [hold]]   prints the port; serves until killed */
#include <dlfcn.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/semcache/v1/semantic_cache.pb-c.h"

enum { ARMED = 32 };

typedef struct {
    grpc_call          *call;
    gpr_timespec        deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer   *payload;
    int                 cancelled;
    int                 answering;
} slot;

static bool                   holds;
static grpc_server           *server;
static grpc_completion_queue *queue;
static void                  *method;

static void arm(slot *s)
{
    s->answering = 0;
    s->metadata.count = 0;
    s->payload = NULL;
    grpc_server_request_registered_call(server, method, &s->call, &s->deadline, &s->metadata,
                                        &s->payload, queue, queue, s);
}

static grpc_slice reply_to(grpc_byte_buffer *payload)
{
    Semcache__V1__AnswerResponse response = SEMCACHE__V1__ANSWER_RESPONSE__INIT;
    Semcache__V1__AnswerRequest *request = NULL;

    if (payload != NULL) {
        grpc_byte_buffer_reader reader;
        grpc_byte_buffer_reader_init(&reader, payload);
        grpc_slice bytes = grpc_byte_buffer_reader_readall(&reader);
        grpc_byte_buffer_reader_destroy(&reader);
        request = semcache__v1__answer_request__unpack(NULL, GRPC_SLICE_LENGTH(bytes),
                                                       GRPC_SLICE_START_PTR(bytes));
        grpc_slice_unref(bytes);
        grpc_byte_buffer_destroy(payload);
    }
    if (request != NULL)
        response.answer = request->user_prompt;
    response.source = SEMCACHE__V1__SOURCE__SOURCE_EXACT;
    grpc_slice slice = grpc_slice_malloc(semcache__v1__answer_response__get_packed_size(&response));
    semcache__v1__answer_response__pack(&response, GRPC_SLICE_START_PTR(slice));
    semcache__v1__answer_request__free_unpacked(request, NULL);
    return slice;
}

static void answer(slot *s)
{
    grpc_slice        slice = reply_to(s->payload);
    grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_op           ops[4];

    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = message;
    ops[2].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[2].data.send_status_from_server.status = GRPC_STATUS_OK;
    ops[3].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    ops[3].data.recv_close_on_server.cancelled = &s->cancelled;
    s->answering = 1;
    grpc_call_start_batch(s->call, ops, 4, s, NULL);
    grpc_byte_buffer_destroy(message);
    grpc_slice_unref(slice);
}

static void hold(slot *s)
{
    grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    close.data.recv_close_on_server.cancelled = &s->cancelled;
    if (s->payload != NULL)
        grpc_byte_buffer_destroy(s->payload);
    s->answering = 1;
    grpc_call_start_batch(s->call, &close, 1, s, NULL);
}

static slot *slot_make(void)
{
    slot *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    grpc_metadata_array_init(&s->metadata);
    return s;
}

/* Slots whose answer is on its way are replaced, so that ARMED calls can always arrive. */
static void serve(void)
{
    slot *spare[4 * ARMED];
    int   spares = 0;

    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        slot *s = event.tag;
        if (event.type != GRPC_OP_COMPLETE)
            return;
        if (!s->answering) {
            arm(spares != 0 ? spare[--spares] : slot_make());
            (holds ? hold : answer)(s);
            continue;
        }
        grpc_call_unref(s->call);
        if (spares < 4 * ARMED) {
            spare[spares++] = s;
        } else {
            grpc_metadata_array_destroy(&s->metadata);
            free(s);
        }
    }
}

static int listen_on(const char *port)
{
    char                     address[64];
    grpc_server_credentials *plain = grpc_insecure_server_credentials_create();
    snprintf(address, sizeof address, "127.0.0.1:%s", port);
    int bound = grpc_server_add_http2_port(server, address, plain);
    grpc_server_credentials_release(plain);
    return bound;
}

/* As the server does. */
static void lock_graph_off(void)
{
    void (*set_mode)(int) = NULL;
    void *found =
        dlsym(RTLD_DEFAULT, "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE");
    if (found == NULL)
        return;
    memcpy(&set_mode, &found, sizeof set_mode);
    set_mode(0);
}

int main(int argc, char **argv)
{
    holds = argc > 2 && strcmp(argv[2], "hold") == 0;
    lock_graph_off();
    grpc_init();
    server = grpc_server_create(NULL, NULL);
    queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server, queue, NULL);
    method = grpc_server_register_method(server, "/semcache.v1.SemanticCache/Answer", NULL,
                                         GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    int port = listen_on(argc > 1 ? argv[1] : "0");
    if (port == 0)
        return 1;
    grpc_server_start(server);
    for (int i = 0; i < ARMED; i++)
        arm(slot_make());
    printf("%d\n", port);
    fflush(stdout);
    serve();
    return 0;
}
