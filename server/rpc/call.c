/* One unary call, from arrival to release.
 *
 * Answered in the handler, or before its queue has been idle once: one batch [header, message,
 * status, close], one event. Answered later: [close] goes out first, because its event is how we
 * learn of a caller that left; [header, message, status] follows from whichever thread has the
 * answer. The two may be under way together: one only receives, the other only sends.
 *
 * Tried: answers of other threads handed to the queue's thread, so that no two threads write to a
 * connection, which makes the core go on with the write in a thread of its own. With one caller
 * it took 3 to 15 % off an answer that waited for something; with 16 and more, when most writes
 * meet, nothing that could be measured.
 *
 * `closed` and `done` may come back in either order, hence the reference count. A call that is
 * over needs no status: giving back the reference is all. */
#include <assert.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <inttypes.h>
#include <limits.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/rpc/core.h"
#include "server/rpc/status.h"
#include "src/base/list.h"
#include "src/base/log.h"

enum {
    FAIL_TEXT_BYTES_MAX = 1024,
    COPY_BYTES_MAX = 4096, /* below, one copied slice is cheaper than several borrowed ones */
    PIECES_MAX = 8
};

/* ---- life of the object ---- */

static void call_arrived(rpc_tag *tag, bool ok);
static void call_closed(rpc_tag *tag, bool ok);
static void call_done(rpc_tag *tag, bool ok);

static sc_rpc_call *call_make(rpc_queue *queue)
{
    sc_rpc_call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->queue = queue;
    grpc_metadata_array_init(&call->metadata);
    pthread_mutex_init(&call->lock, NULL);
    return call;
}

static void call_free(sc_rpc_call *call)
{
    grpc_metadata_array_destroy(&call->metadata);
    pthread_mutex_destroy(&call->lock);
    free(call);
}

void rpc_calls_free(sc_rpc_call *list)
{
    while (list != NULL) {
        sc_rpc_call *next = list->next;
        call_free(list);
        list = next;
    }
}

/* Notes that `arrived` has come, unless it is NULL, under the same lock. */
static sc_rpc_call *spare_take(rpc_queue *queue, sc_rpc_call *arrived)
{
    pthread_mutex_lock(&queue->lock);
    if (arrived != NULL)
        rpc_overdue_enter(arrived);
    sc_rpc_call *call = queue->spare;
    if (call != NULL) {
        queue->spare = call->next;
        queue->spare_count--;
    }
    pthread_mutex_unlock(&queue->lock);
    return call != NULL ? call : call_make(queue);
}

static void spare_put(sc_rpc_call *call)
{
    rpc_queue *queue = call->queue;
    pthread_mutex_lock(&queue->lock);
    rpc_overdue_leave(call);
    bool keep = queue->spare_count < SC_RPC_SPARE_CALLS_MAX;
    if (keep) {
        call->next = queue->spare;
        queue->spare = call;
        queue->spare_count++;
    }
    pthread_mutex_unlock(&queue->lock);
    if (!keep)
        call_free(call);
}

/* As when it was made, but for the room of the metadata array. */
static void call_reset(sc_rpc_call *call, const rpc_method *method)
{
    call->method = method;
    call->arrived = (rpc_tag){call_arrived};
    call->closed = (rpc_tag){call_closed};
    call->done = (rpc_tag){call_done};
    call->core = NULL;
    call->metadata.count = 0;
    call->payload = NULL;
    call->message = NULL;
    call->inline_phase = call->counted = call->rearm = call->close_in_answer = false;
    call->held_bytes = 0;
    call->core_cancelled = 0;
    call->late = (sc_rpc_late){NULL, NULL};
    call->header_sent = call->writing = call->finished = call->ended = false;
    call->context = NULL;
    atomic_store_explicit(&call->refs, 1, memory_order_relaxed);
    atomic_store_explicit(&call->answered, false, memory_order_relaxed);
    atomic_store_explicit(&call->closing, false, memory_order_relaxed);
    atomic_store_explicit(&call->over, false, memory_order_relaxed);
}

static void arm_with(sc_rpc_call *call, const rpc_method *method)
{
    rpc_queue             *queue = call->queue;
    grpc_completion_queue *cq = queue->queue;
    grpc_call_error        error;

    call_reset(call, method);
    RPC_TAG_GIVEN(&call->arrived);
    if (method->handle != NULL) {
        error = grpc_server_request_registered_call(
            queue->rpc->server, method->handle, &call->core, &call->deadline, &call->metadata,
            method->shape == RPC_BIDI ? NULL : &call->payload, cq, cq, &call->arrived);
    } else {
        grpc_call_details_init(&call->details);
        error = grpc_server_request_call(queue->rpc->server, &call->core, &call->details,
                                         &call->metadata, cq, cq, &call->arrived);
    }
    if (error != GRPC_CALL_OK) {
        sc_log(SC_LOG_ERROR, "rpc.arm_refused",
               sc_kv_text("error", grpc_call_error_to_string(error)));
        spare_put(call);
    }
}

bool rpc_call_arm(rpc_queue *queue, const rpc_method *method)
{
    sc_rpc_call *call = spare_take(queue, NULL);
    if (call != NULL)
        arm_with(call, method);
    return call != NULL;
}

static void arm_successor(sc_rpc_call *arrived)
{
    sc_rpc_call *call = spare_take(arrived->queue, arrived);
    if (call != NULL)
        arm_with(call, arrived->method);
    else
        arrived->rearm = true;
}

static void arm_again(sc_rpc_call *call)
{
    pthread_mutex_lock(&call->queue->lock);
    rpc_overdue_leave(call);
    pthread_mutex_unlock(&call->queue->lock);
    arm_with(call, call->method);
}

void rpc_call_ref(sc_rpc_call *call)
{
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
}

static void buffer_drop(grpc_byte_buffer **buffer)
{
    if (*buffer != NULL)
        grpc_byte_buffer_destroy(*buffer);
    *buffer = NULL;
}

/* `live` goes down last: at zero the server may be taken apart. */
static void call_release(sc_rpc_call *call)
{
    sc_rpc *rpc = call->queue->rpc;

    if (call->late.finished != NULL)
        call->late.finished(call->context);
    buffer_drop(&call->payload);
    buffer_drop(&call->message);
    grpc_call_unref(call->core);
    if (call->method->handle == NULL)
        grpc_call_details_destroy(&call->details);
    if (call->counted) {
        atomic_fetch_sub_explicit(&rpc->inflight, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&rpc->held_bytes, call->held_bytes, memory_order_relaxed);
    }
    if (call->rearm)
        arm_again(call);
    else
        spare_put(call);
    atomic_fetch_sub_explicit(&rpc->live, 1, memory_order_release);
}

void rpc_call_unref(sc_rpc_call *call)
{
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) == 1)
        call_release(call);
}

bool rpc_batch(sc_rpc_call *call, const grpc_op *ops, size_t count, rpc_tag *tag)
{
    grpc_call *core = call->core;
    RPC_TAG_GIVEN(tag);
    grpc_call_error error = grpc_call_start_batch(core, ops, count, tag, NULL);
    if (error == GRPC_CALL_OK)
        return true;
    sc_log(SC_LOG_ERROR, "rpc.batch_refused", sc_kv_text("method", call->method->shown.path),
           sc_kv_text("error", grpc_call_error_to_string(error)));
    grpc_call_cancel_with_status(call->core, GRPC_STATUS_INTERNAL, "batch refused", NULL);
    rpc_call_unref(call);
    return false;
}

/* ---- arrival ---- */

bool rpc_buffer_flat(grpc_byte_buffer *buffer, grpc_slice *out)
{
    if (buffer->type != GRPC_BB_RAW || buffer->data.raw.compression != GRPC_COMPRESS_NONE)
        return false;
    const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
    if (slices->count == 1) {
        *out = grpc_slice_ref(slices->slices[0]);
        return true;
    }
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return false;
    *out = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    return true;
}

sc_str rpc_slice_view(const grpc_slice *slice)
{
    return (sc_str){(const char *)GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)};
}

static void hold(sc_rpc_call *call, uint64_t bytes)
{
    if (!call->counted)
        return;
    call->held_bytes += bytes;
    atomic_fetch_add_explicit(&call->queue->rpc->held_bytes, bytes, memory_order_relaxed);
}

/* Alone, a call may hold whatever the size of a message allows. */
static bool has_room(const sc_rpc *rpc, uint64_t bytes)
{
    uint64_t held = atomic_load_explicit(&rpc->held_bytes, memory_order_relaxed);
    uint64_t most = rpc->options.inflight_bytes_max;
    return most == 0 || held == 0 || held + bytes <= most;
}

/* Counts the call against the limits, unless its method is exempt. */
static bool admit(sc_rpc *rpc, sc_rpc_call *call)
{
    if (call->method->shown.unlimited)
        return true;
    uint64_t bytes = call->payload == NULL ? 0 : grpc_byte_buffer_length(call->payload);
    int64_t  before = atomic_fetch_add_explicit(&rpc->inflight, 1, memory_order_relaxed);
    call->counted = before < (int64_t)rpc->options.inflight_max && has_room(rpc, bytes);
    if (!call->counted)
        atomic_fetch_sub_explicit(&rpc->inflight, 1, memory_order_relaxed);
    hold(call, bytes);
    return call->counted;
}

static bool refuse(sc_rpc *rpc, sc_rpc_call *call)
{
    if (call->method->handle == NULL) {
        atomic_fetch_add_explicit(&rpc->unknown, 1, memory_order_relaxed);
        sc_rpc_fail(call, SC_UNSUPPORTED, "unknown method", 0);
        return true;
    }
    bool refusing = atomic_load_explicit(&rpc->refusing, memory_order_relaxed);
    if (!refusing && admit(rpc, call))
        return false;
    atomic_fetch_add_explicit(&rpc->refused, 1, memory_order_relaxed);
    if (refusing)
        sc_rpc_fail(call, SC_UNAVAILABLE, "the server is stopping", 0);
    else
        sc_rpc_fail(call, SC_BUSY, "too many calls are under way", rpc->options.retry_after_ms);
    return true;
}

/* The message lives until the handler returns: a waiting call holds no more than its handler kept. */
static void handle_with_message(sc_rpc_call *call)
{
    grpc_slice flat;

    if (call->payload == NULL) {
        sc_rpc_fail(call, SC_INVALID, "the call carried no message", 0);
        return;
    }
    if (!rpc_buffer_flat(call->payload, &flat)) {
        sc_rpc_fail(call, SC_UNSUPPORTED, "compressed messages are not accepted", 0);
        return;
    }
    call->method->shown.handle(call, rpc_slice_view(&flat), call->method->shown.context);
    grpc_slice_unref(flat);
    buffer_drop(&call->payload);
}

static void handle_unary(sc_rpc_call *call)
{
    handle_with_message(call);
    if (call->inline_phase && !atomic_load_explicit(&call->answered, memory_order_relaxed)) {
        sc_log(SC_LOG_ERROR, "rpc.handler_silent", sc_kv_text("method", call->method->shown.path));
        sc_rpc_fail(call, SC_INTERNAL, "no answer", 0);
    }
}

static void handle_stream(sc_rpc_call *call)
{
    if (call->method->shape == RPC_SERVER_STREAM && call->payload == NULL) {
        sc_rpc_fail(call, SC_INVALID, "the call carried no message", 0);
        return;
    }
    rpc_stream_open(call);
    if (call->method->shape == RPC_BIDI)
        call->method->shown.handle(call, (sc_str){NULL, 0}, call->method->shown.context);
    else
        handle_with_message(call);
}

static void call_arrived(rpc_tag *tag, bool ok)
{
    sc_rpc_call *call = SC_CONTAINER(tag, sc_rpc_call, arrived);
    sc_rpc      *rpc = call->queue->rpc;

    if (!ok) { /* the server is shutting down */
        if (call->method->handle == NULL)
            grpc_call_details_destroy(&call->details);
        spare_put(call);
        return;
    }
    atomic_fetch_add_explicit(&rpc->live, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&rpc->arrived, 1, memory_order_relaxed);
    arm_successor(call);
    call->inline_phase = true;
    if (!refuse(rpc, call)) {
        if (call->method->shape == RPC_UNARY)
            handle_unary(call);
        else
            handle_stream(call);
    }
    rpc_call_unref(call);
}

/* ---- events ---- */

static void call_was_cancelled(sc_rpc_call *call)
{
    atomic_fetch_add_explicit(&call->queue->rpc->cancelled, 1, memory_order_relaxed);
    atomic_store_explicit(&call->over, true, memory_order_release);
}

static void call_closed(rpc_tag *tag, bool ok)
{
    sc_rpc_call *call = SC_CONTAINER(tag, sc_rpc_call, closed);
    (void)ok; /* always true for this operation */
    if (call->core_cancelled) {
        call_was_cancelled(call);
        if (call->late.cancelled != NULL &&
            !atomic_load_explicit(&call->answered, memory_order_acquire))
            call->late.cancelled(call, call->context);
    }
    rpc_call_unref(call);
}

static void call_done(rpc_tag *tag, bool ok)
{
    sc_rpc_call *call = SC_CONTAINER(tag, sc_rpc_call, done);
    (void)ok; /* false: not sent, the caller is gone; `closed` counts that */
    if (call->close_in_answer && call->core_cancelled)
        call_was_cancelled(call);
    rpc_call_unref(call);
}

void sc_rpc_detach(sc_rpc_call *call, const sc_rpc_late *hooks, void *context)
{
    assert(call->inline_phase && call->method->shape == RPC_UNARY);
    assert(!atomic_load_explicit(&call->answered, memory_order_relaxed));
    call->inline_phase = false;
    call->late = *hooks;
    call->context = context;
    rpc_call_ref(call); /* the owner's, which the answer takes over */
    rpc_call_ref(call); /* the list's, which the batch takes over */
    call->next = call->queue->detached;
    call->queue->detached = call;
}

/* Whoever comes first has the close in his batch: the answer, or the queue when it is idle. */
static bool closes(sc_rpc_call *call)
{
    return !atomic_exchange_explicit(&call->closing, true, memory_order_acq_rel);
}

static void put_close(sc_rpc_call *call, grpc_op *op)
{
    op->op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    op->data.recv_close_on_server.cancelled = &call->core_cancelled;
}

/* It waits: 576 bytes of the core's array are not needed for that, and soon got again. */
static void drop_metadata(sc_rpc_call *call)
{
    grpc_metadata_array_destroy(&call->metadata);
    grpc_metadata_array_init(&call->metadata);
}

static void listen_for_close(sc_rpc_call *call)
{
    grpc_op close = {0};
    put_close(call, &close);
    if (!closes(call)) {
        rpc_call_unref(call);
        return;
    }
    drop_metadata(call);
    rpc_batch(call, &close, 1, &call->closed);
}

void rpc_calls_listen(rpc_queue *queue)
{
    while (queue->detached != NULL) {
        sc_rpc_call *call = queue->detached;
        queue->detached = call->next;
        listen_for_close(call);
    }
}

/* ---- answers ---- */

void rpc_op_status(grpc_op *op, sc_status status, grpc_slice *text)
{
    op->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    op->data.send_status_from_server.status = (grpc_status_code)sc_rpc_code(status);
    op->data.send_status_from_server.status_details = text;
}

/* Sends what there is: header, message unless NULL, status, and the close unless it was sent.
 * The core copies or references all of it before start_batch returns. */
static void answer(sc_rpc_call *call, grpc_byte_buffer *message, sc_status status,
                   grpc_slice *text, grpc_metadata *trailing, size_t trailing_count)
{
    grpc_op ops[4];
    size_t  count = 0;

    memset(ops, 0, sizeof ops);
    ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (message != NULL) {
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = message;
    }
    ops[count].data.send_status_from_server.trailing_metadata = trailing;
    ops[count].data.send_status_from_server.trailing_metadata_count = trailing_count;
    rpc_op_status(&ops[count++], status, text);
    if (call->inline_phase)
        rpc_call_ref(call);
    call->close_in_answer = closes(call);
    if (call->close_in_answer)
        put_close(call, &ops[count++]);
    rpc_batch(call, ops, count, &call->done);
}

/* True when something is to be sent; false when nobody waits any more, and the owner's reference
 * is given back. */
static bool answer_begin(sc_rpc_call *call)
{
    bool twice = atomic_exchange_explicit(&call->answered, true, memory_order_acq_rel);
    assert(!twice);
    (void)twice;
    return call->inline_phase || !sc_rpc_is_over(call);
}

static void send_message(sc_rpc_call *call, grpc_slice *slices, size_t count)
{
    grpc_byte_buffer *message = grpc_raw_byte_buffer_create(slices, count);
    size_t            bytes = grpc_byte_buffer_length(message);
    if (bytes > COPY_BYTES_MAX)
        hold(call, bytes);
    for (size_t i = 0; i < count; i++)
        grpc_slice_unref(slices[i]);
    answer(call, message, SC_OK, NULL, NULL, 0);
    grpc_byte_buffer_destroy(message);
}

static void pieces_drop(const sc_rpc_piece *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (pieces[i].release != NULL)
            pieces[i].release(pieces[i].owner);
}

static grpc_slice pieces_copy(const sc_rpc_piece *pieces, size_t count, size_t bytes)
{
    grpc_slice all = grpc_slice_malloc(bytes);
    uint8_t   *at = GRPC_SLICE_START_PTR(all);
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].bytes.len != 0)
            memcpy(at, pieces[i].bytes.ptr, pieces[i].bytes.len);
        at += pieces[i].bytes.len;
    }
    pieces_drop(pieces, count);
    return all;
}

static grpc_slice piece_slice(const sc_rpc_piece *piece)
{
    if (piece->release == NULL)
        return grpc_slice_from_copied_buffer(piece->bytes.ptr, piece->bytes.len);
    return grpc_slice_new_with_user_data((void *)(uintptr_t)piece->bytes.ptr, piece->bytes.len,
                                         piece->release, piece->owner);
}

void sc_rpc_reply(sc_rpc_call *call, const sc_rpc_piece *pieces, size_t count)
{
    grpc_slice slices[PIECES_MAX];
    size_t     bytes = 0;

    assert(count <= PIECES_MAX);
    if (!answer_begin(call)) {
        pieces_drop(pieces, count);
        rpc_call_unref(call);
        return;
    }
    for (size_t i = 0; i < count; i++)
        bytes += pieces[i].bytes.len;
    if (bytes <= COPY_BYTES_MAX) {
        slices[0] = pieces_copy(pieces, count, bytes);
        send_message(call, slices, 1);
        return;
    }
    for (size_t i = 0; i < count; i++)
        slices[i] = piece_slice(&pieces[i]);
    send_message(call, slices, count);
}

grpc_slice rpc_slice_message(const struct ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    return slice;
}

void sc_rpc_reply_message(sc_rpc_call *call, const struct ProtobufCMessage *message)
{
    if (!answer_begin(call)) {
        rpc_call_unref(call);
        return;
    }
    grpc_slice slice = rpc_slice_message(message);
    send_message(call, &slice, 1);
}

/* Tag and length of a length-delimited field. */
static size_t field_head(uint32_t field, size_t len, uint8_t *out)
{
    size_t   at = 0;
    uint64_t values[2] = {(uint64_t)field << 3 | 2, len};
    for (int i = 0; i < 2; i++) {
        for (; values[i] >= 0x80; values[i] >>= 7)
            out[at++] = (uint8_t)(values[i] | 0x80);
        out[at++] = (uint8_t)values[i];
    }
    return at;
}

void sc_rpc_reply_split(sc_rpc_call *call, uint32_t field, const sc_rpc_piece *value,
                        const struct ProtobufCMessage *message)
{
    uint8_t head[16];

    if (!answer_begin(call)) {
        pieces_drop(value, 1);
        rpc_call_unref(call);
        return;
    }
    size_t head_len = field_head(field, value->bytes.len, head);
    size_t rest_len = protobuf_c_message_get_packed_size(message);
    if (value->bytes.len <= COPY_BYTES_MAX) {
        /* One slice, packed in place. */
        grpc_slice all = grpc_slice_malloc(head_len + value->bytes.len + rest_len);
        uint8_t   *at = GRPC_SLICE_START_PTR(all);
        memcpy(at, head, head_len);
        if (value->bytes.len != 0)
            memcpy(at + head_len, value->bytes.ptr, value->bytes.len);
        protobuf_c_message_pack(message, at + head_len + value->bytes.len);
        pieces_drop(value, 1);
        send_message(call, &all, 1);
        return;
    }
    grpc_slice slices[3] = {grpc_slice_from_copied_buffer((const char *)head, head_len),
                            piece_slice(value), rpc_slice_message(message)};
    send_message(call, slices, 3);
}

static size_t retry_metadata(grpc_metadata out[2], int64_t retry_after_ms)
{
    char digits[24];

    if (retry_after_ms <= 0)
        return 0;
    snprintf(digits, sizeof digits, "%" PRId64, retry_after_ms);
    memset(out, 0, 2 * sizeof *out);
    out[0].key = grpc_slice_from_static_string("retry-after-ms");
    out[0].value = grpc_slice_from_copied_string(digits);
    out[1].key = grpc_slice_from_static_string("grpc-retry-pushback-ms");
    out[1].value = grpc_slice_from_copied_string(digits);
    return 2;
}

void sc_rpc_fail(sc_rpc_call *call, sc_status status, const char *text, int64_t retry_after_ms)
{
    grpc_metadata trailing[2];

    if (!answer_begin(call)) {
        rpc_call_unref(call);
        return;
    }
    size_t     count = retry_metadata(trailing, retry_after_ms);
    grpc_slice details = grpc_slice_from_copied_buffer(text, strnlen(text, FAIL_TEXT_BYTES_MAX));
    answer(call, NULL, status, &details, trailing, count);
    grpc_slice_unref(details);
    for (size_t i = 0; i < count; i++)
        grpc_slice_unref(trailing[i].value);
}

/* ---- what a handler may ask ---- */

unsigned sc_rpc_queue(const sc_rpc_call *call)
{
    return (unsigned)(call->queue - call->queue->rpc->queues);
}

sc_instant sc_rpc_deadline(const sc_rpc_call *call)
{
    gpr_timespec at = gpr_convert_clock_type(
        call->method->handle != NULL ? call->deadline : call->details.deadline,
        GPR_CLOCK_MONOTONIC);
    if (at.tv_sec >= INT64_MAX / 1000000000 - 1)
        return SC_INSTANT_NEVER;
    return (sc_instant){at.tv_sec * 1000000000 + at.tv_nsec};
}

bool sc_rpc_is_over(const sc_rpc_call *call)
{
    return atomic_load_explicit(&call->over, memory_order_acquire);
}

sc_str sc_rpc_metadata(const sc_rpc_call *call, sc_str key)
{
    sc_str found = {NULL, 0};
    for (size_t i = 0; i < call->metadata.count; i++) {
        const grpc_metadata *pair = &call->metadata.metadata[i];
        if (!sc_str_equal(rpc_slice_view(&pair->key), key))
            continue;
        if (found.ptr != NULL)
            return (sc_str){NULL, 0};
        found = rpc_slice_view(&pair->value);
    }
    return found;
}

void sc_rpc_peer(const sc_rpc_call *call, char *out, size_t room)
{
    char *peer = grpc_call_get_peer(call->core);
    snprintf(out, room, "%s", peer != NULL ? peer : "");
    gpr_free(peer);
}

static bool identity_of(const grpc_auth_context *context, const char *name, char *out, size_t room)
{
    grpc_auth_property_iterator at = grpc_auth_context_find_properties_by_name(context, name);
    const grpc_auth_property   *found = grpc_auth_property_iterator_next(&at);
    if (found == NULL || found->value_length == 0 || found->value_length >= room ||
        memchr(found->value, '\0', found->value_length) != NULL)
        return false;
    memcpy(out, found->value, found->value_length);
    out[found->value_length] = '\0';
    return true;
}

bool sc_rpc_identity(const sc_rpc_call *call, char *out, size_t room)
{
    grpc_auth_context *context = grpc_call_auth_context(call->core);
    bool               found = false;

    out[0] = '\0';
    if (context != NULL && grpc_auth_context_peer_is_authenticated(context))
        found = identity_of(context, GRPC_PEER_URI_PROPERTY_NAME, out, room) ||
                identity_of(context, GRPC_PEER_DNS_PROPERTY_NAME, out, room);
    grpc_auth_context_release(context);
    return found;
}
