/* Streaming calls: health's Watch and reflection. Not for the hot path.
 *
 * `closed` carries the reference that keeps the call while it is open; each other batch takes its
 * own. One send is under way at a time: that is the flow control, a stalled caller stops it. */
#include <assert.h>

#include "server/rpc/core.h"
#include "src/base/list.h"

static void stream_closed(rpc_tag *tag, bool ok)
{
    sc_rpc_call *call = SC_CONTAINER(tag, sc_rpc_call, closed);
    (void)ok;
    pthread_mutex_lock(&call->lock);
    call->ended = true;
    pthread_mutex_unlock(&call->lock);
    if (call->method->stream->over != NULL)
        call->method->stream->over(call);
    rpc_call_unref(call);
}

/* The message is taken out first: a hook that asks for the next one reuses call->message. */
static void message_give(sc_rpc_call *call)
{
    const rpc_stream_hooks *hooks = call->method->stream;
    grpc_byte_buffer       *message = call->message;
    grpc_slice              flat;

    call->message = NULL;
    if (message == NULL) {
        if (hooks->half_closed != NULL)
            hooks->half_closed(call);
        return;
    }
    if (rpc_buffer_flat(message, &flat)) {
        hooks->received(call, rpc_slice_view(&flat));
        grpc_slice_unref(flat);
    } else {
        rpc_stream_finish(call, SC_UNSUPPORTED, "compressed messages are not accepted");
    }
    grpc_byte_buffer_destroy(message);
}

static void stream_received(rpc_tag *tag, bool ok)
{
    sc_rpc_call *call = SC_CONTAINER(tag, sc_rpc_call, received);
    (void)ok; /* a call that was cancelled gives no message, and `closed` */
    if (!call->ended)
        message_give(call);
    rpc_call_unref(call);
}

/* Under lock. */
static void status_send(sc_rpc_call *call)
{
    grpc_op ops[2] = {{.op = GRPC_OP_SEND_STATUS_FROM_SERVER}, {.op = GRPC_OP_SEND_INITIAL_METADATA}};
    grpc_slice text = grpc_slice_from_copied_string(call->finish_text);

    rpc_op_status(&ops[0], call->finish_status, &text);
    rpc_call_ref(call);
    rpc_batch(call, ops, call->header_sent ? 1 : 2, &call->done);
    call->header_sent = true;
    grpc_slice_unref(text);
}

static void stream_wrote(rpc_tag *tag, bool ok)
{
    sc_rpc_call *call = SC_CONTAINER(tag, sc_rpc_call, wrote);

    pthread_mutex_lock(&call->lock);
    call->writing = false;
    if (call->finished)
        status_send(call);
    bool more = ok && !call->finished && !call->ended;
    pthread_mutex_unlock(&call->lock);
    if (more && call->method->stream->sent != NULL)
        call->method->stream->sent(call);
    rpc_call_unref(call);
}

static void stream_done(rpc_tag *tag, bool ok)
{
    (void)ok;
    rpc_call_unref(SC_CONTAINER(tag, sc_rpc_call, done));
}

void rpc_stream_open(sc_rpc_call *call)
{
    call->inline_phase = false;
    call->closed = (rpc_tag){stream_closed};
    call->received = (rpc_tag){stream_received};
    call->wrote = (rpc_tag){stream_wrote};
    call->done = (rpc_tag){stream_done};
    atomic_store_explicit(&call->closing, true, memory_order_relaxed);

    grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    close.data.recv_close_on_server.cancelled = &call->core_cancelled;
    rpc_call_ref(call);
    rpc_batch(call, &close, 1, &call->closed);
}

void rpc_stream_receive(sc_rpc_call *call)
{
    grpc_op receive = {.op = GRPC_OP_RECV_MESSAGE};
    receive.data.recv_message.recv_message = &call->message;
    rpc_call_ref(call);
    rpc_batch(call, &receive, 1, &call->received);
}

bool rpc_stream_send(sc_rpc_call *call, const struct ProtobufCMessage *message)
{
    grpc_slice        slice = rpc_slice_message(message);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_op ops[2] = {{.op = GRPC_OP_SEND_MESSAGE}, {.op = GRPC_OP_SEND_INITIAL_METADATA}};
    ops[0].data.send_message.send_message = buffer;

    pthread_mutex_lock(&call->lock);
    bool go = !call->writing && !call->finished && !call->ended;
    if (go) {
        call->writing = true;
        rpc_call_ref(call);
        rpc_batch(call, ops, call->header_sent ? 1 : 2, &call->wrote);
        call->header_sent = true;
    }
    pthread_mutex_unlock(&call->lock);
    grpc_byte_buffer_destroy(buffer);
    grpc_slice_unref(slice);
    return go;
}

void rpc_stream_finish(sc_rpc_call *call, sc_status status, const char *text)
{
    pthread_mutex_lock(&call->lock);
    if (!call->finished && !call->ended) {
        call->finished = true;
        call->finish_status = status;
        call->finish_text = text;
        if (!call->writing)
            status_send(call);
    }
    pthread_mutex_unlock(&call->lock);
}
