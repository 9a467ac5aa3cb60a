#include "tests/support/raw.h"

#include <assert.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>

struct raw_call {
    grpc_completion_queue *queue;
    grpc_channel          *channel;
    grpc_call             *core;
    grpc_metadata_array    header, trailer;
    grpc_status_code       code;
    grpc_slice             details;
    bool                   header_seen, over;
};

/* Runs one batch to its end. */
static bool run(raw_call *call, grpc_op *ops, size_t count, void *tag)
{
    grpc_call_error error = grpc_call_start_batch(call->core, ops, count, tag, NULL);
    assert(error == GRPC_CALL_OK);
    (void)error;
    return grpc_completion_queue_pluck(call->queue, tag, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
               .success != 0;
}

raw_call *raw_open(const char *target, const char *path, int64_t timeout_ms, bool gzip)
{
    raw_call *call = calloc(1, sizeof *call);
    grpc_arg  args[3];
    memset(args, 0, sizeof args);
    args[0].type = args[1].type = args[2].type = GRPC_ARG_INTEGER;
    args[0].key = (char *)(uintptr_t)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL;
    args[0].value.integer = 1;
    /* What is not received stays with the sender: the window does not grow. */
    args[1].key = (char *)(uintptr_t)GRPC_ARG_HTTP2_BDP_PROBE;
    args[2].key = (char *)(uintptr_t)GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM;
    args[2].value.integer = GRPC_COMPRESS_GZIP;

    grpc_init();
    grpc_channel_credentials *plain = grpc_insecure_credentials_create();
    call->queue = grpc_completion_queue_create_for_pluck(NULL);
    call->channel = grpc_channel_create(target, plain, &(grpc_channel_args){gzip ? 3 : 2, args});
    grpc_channel_credentials_release(plain);
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (timeout_ms != 0)
        deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
    grpc_slice   method = grpc_slice_from_copied_string(path);
    call->core = grpc_channel_create_call(call->channel, NULL, GRPC_PROPAGATE_DEFAULTS, call->queue,
                                          method, NULL, deadline, NULL);
    grpc_slice_unref(method);
    grpc_metadata_array_init(&call->header);
    grpc_metadata_array_init(&call->trailer);
    call->details = grpc_empty_slice();

    grpc_op op = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    run(call, &op, 1, &call->header);
    return call;
}

bool raw_send(raw_call *call, sc_str message)
{
    grpc_slice        slice = grpc_slice_from_copied_buffer(message.ptr, message.len);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_op           op = {.op = GRPC_OP_SEND_MESSAGE};
    op.data.send_message.send_message = buffer;
    bool ok = run(call, &op, 1, &op);
    grpc_byte_buffer_destroy(buffer);
    grpc_slice_unref(slice);
    return ok;
}

void raw_half_close(raw_call *call)
{
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    run(call, &op, 1, &op);
}

char *raw_receive(raw_call *call, size_t *len)
{
    grpc_byte_buffer *buffer = NULL;
    grpc_op ops[2] = {{.op = GRPC_OP_RECV_MESSAGE}, {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    ops[0].data.recv_message.recv_message = &buffer;
    ops[1].data.recv_initial_metadata.recv_initial_metadata = &call->header;
    run(call, ops, call->header_seen ? 1 : 2, &buffer);
    call->header_seen = true;
    if (buffer == NULL)
        return NULL;

    grpc_byte_buffer_reader reader;
    grpc_byte_buffer_reader_init(&reader, buffer);
    grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(buffer);
    *len = GRPC_SLICE_LENGTH(all);
    char *bytes = calloc(1, *len + 1);
    memcpy(bytes, GRPC_SLICE_START_PTR(all), *len);
    grpc_slice_unref(all);
    return bytes;
}

int raw_status(raw_call *call, char *text, size_t room)
{
    if (!call->over) {
        grpc_op ops[2] = {{.op = GRPC_OP_RECV_STATUS_ON_CLIENT},
                          {.op = GRPC_OP_RECV_INITIAL_METADATA}};
        ops[0].data.recv_status_on_client.trailing_metadata = &call->trailer;
        ops[0].data.recv_status_on_client.status = &call->code;
        ops[0].data.recv_status_on_client.status_details = &call->details;
        ops[1].data.recv_initial_metadata.recv_initial_metadata = &call->header;
        /* Without the header the status would never come. */
        run(call, ops, call->header_seen ? 1 : 2, &call->trailer);
        call->over = true;
    }
    snprintf(text, room, "%.*s", (int)GRPC_SLICE_LENGTH(call->details),
             (const char *)GRPC_SLICE_START_PTR(call->details));
    return (int)call->code;
}

void raw_close(raw_call *call)
{
    char text[8];

    if (!call->over) {
        grpc_call_cancel(call->core, NULL);
        raw_status(call, text, sizeof text);
    }
    grpc_call_unref(call->core);
    grpc_metadata_array_destroy(&call->header);
    grpc_metadata_array_destroy(&call->trailer);
    grpc_slice_unref(call->details);
    grpc_channel_destroy(call->channel);
    grpc_completion_queue_shutdown(call->queue);
    grpc_completion_queue_destroy(call->queue);
    free(call);
    grpc_shutdown();
}
