/* rpc.h - the gRPC door: listens, hands each call to its handler, sends the answer.
 *
 * It knows nothing of caches. gRPC's own types stay in this folder: elsewhere a call is an
 * sc_rpc_call, a failure an sc_status, a deadline an sc_instant.
 *
 * A handler runs on a completion-queue thread and must not block. It answers before it returns
 * (the cheap way: one batch, one event), or detaches the call and answers later, once, from any
 * thread:
 *
 *   static void answer(sc_rpc_call *call, sc_str request, void *context)
 *   {
 *       job *j = job_make(call, request);             // copy: request is lent until we return
 *       if (j == NULL) {
 *           sc_rpc_fail(call, SC_NO_MEMORY, "no memory", 0);
 *           return;
 *       }
 *       sc_rpc_detach(call, &(sc_rpc_late){job_cancelled, job_free}, j);
 *       queue_push(context, j);                       // ... and later, anywhere:
 *   }                                                 // sc_rpc_reply(j->call, &piece, 1);
 *
 *   sc_rpc_open(&options, &rpc, &error);
 *   sc_rpc_serve(rpc, &(sc_rpc_method){.path = "/pkg.Service/Answer", .handle = answer});
 *   sc_rpc_start(rpc, &error);  ...  sc_rpc_stop(rpc);  sc_rpc_close(rpc); */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/rpc/options.h"
#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/base/str.h"

typedef struct sc_rpc sc_rpc;
typedef struct sc_rpc_call sc_rpc_call;
struct ProtobufCMessage;

/* request is lent for the call of the handler. */
typedef void sc_rpc_handler(sc_rpc_call *call, sc_str request, void *context);

typedef struct {
    const char     *path; /* "/package.Service/Method"; must outlive the server */
    sc_rpc_handler *handle;
    void           *context;
    unsigned        armed;     /* calls that can arrive at once, per queue; 0: 4. 32 for a hot one */
    bool            unlimited; /* not counted against inflight_max: health */
    bool            endless;   /* call_ms_max does not end it: health's Watch */
} sc_rpc_method;

/* Makes a server that does not listen yet. Not after a fork that follows an earlier open.
 * Errors: SC_INVALID with the option in the text, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_rpc_open(const sc_rpc_options *options, sc_rpc **out, sc_error *error);

/* Adds a method; before start only. Copies *method. Errors: SC_EXISTS, SC_TOO_LARGE. */
SC_MUST_CHECK sc_status sc_rpc_serve(sc_rpc *rpc, const sc_rpc_method *method);

/* Queues have a thread each, and are numbered from 0. */
enum { SC_RPC_QUEUES_MAX = 64 };

/* For handlers that put work aside, to do several pieces of it in one go: after calls were detached,
 * idle runs on the queue's thread once, as soon as no other event is ready or many were handled.
 * An answer given in it is as cheap as one in the handler. It must not block either. Before start
 * only. */
void sc_rpc_on_idle(sc_rpc *rpc, void (*idle)(void *context, unsigned queue), void *context);

/* Listens and starts the threads. Errors: SC_INVALID, SC_UNAVAILABLE (address in use, bad
 * certificate); the server can only be closed then. */
SC_MUST_CHECK sc_status sc_rpc_start(sc_rpc *rpc, sc_error *error);

/* The bound port of the nth listen address; 0 when there is none. */
int sc_rpc_port(const sc_rpc *rpc, size_t nth);

/* Health turns NOT_SERVING; calls are answered for lame_duck_ms more; then new ones get
 * UNAVAILABLE, those under way may end within grace_ms, the rest is cancelled. Blocks.
 * Every detached call must still be answered by its owner.
 * Errors: SC_TIMEOUT when an owner never answered; close() then leaves its memory alone. */
SC_MUST_CHECK sc_status sc_rpc_stop(sc_rpc *rpc);

/* Stops when that was not done. NULL and a server that never started are welcome. */
void sc_rpc_close(sc_rpc *rpc);

typedef struct {
    uint64_t arrived;   /* calls, all methods */
    uint64_t refused;   /* beyond inflight_max, or while stopping */
    uint64_t cancelled; /* over before they were answered */
    uint64_t overdue;   /* ended after call_ms_max */
    uint64_t unknown;   /* methods that nobody serves */
    int64_t  inflight;
    uint64_t held_bytes; /* by those under way */
    uint64_t connections_refused; /* no descriptor left */
} sc_rpc_figures;
void sc_rpc_look(const sc_rpc *rpc, sc_rpc_figures *out);

/* ---- a call: valid in its handler, and after detach until it is answered ---- */

/* What the layer tells the owner of a detached call. Either may be NULL.
 * cancelled: the caller is gone or its deadline has passed; at most once, perhaps while another
 *   thread answers. The call must still be answered (SC_CANCELLED will do; nothing is sent).
 * finished: the last word; afterwards nothing touches context. Once, on any thread. */
typedef struct {
    void (*cancelled)(sc_rpc_call *call, void *context);
    void (*finished)(void *context);
} sc_rpc_late;

/* In the handler only: the answer will come later. Any thread may give it as soon as this has
 * returned. `cancelled` runs on the handler's thread, after the handler. */
void sc_rpc_detach(sc_rpc_call *call, const sc_rpc_late *hooks, void *context);

/* A part of an answer. With release, bytes are sent from where they are, and release(owner) is
 * called once when they are no longer needed, on any thread; without, they are copied. */
typedef struct {
    sc_str bytes;
    void (*release)(void *owner);
    void *owner;
} sc_rpc_piece;

/* Answers with the pieces, one after the other. The call is over for the caller of this. */
void sc_rpc_reply(sc_rpc_call *call, const sc_rpc_piece *pieces, size_t count);

/* Answers with a message, packed in place. */
void sc_rpc_reply_message(sc_rpc_call *call, const struct ProtobufCMessage *message);

/* Answers with a message whose length-delimited `field` is `value`: sent ahead of the rest, so a
 * large text need not be copied. The field is left empty in message. */
void sc_rpc_reply_split(sc_rpc_call *call, uint32_t field, const sc_rpc_piece *value,
                        const struct ProtobufCMessage *message);

/* Answers with an error. retry_after_ms > 0 goes out as trailing metadata `retry-after-ms` and
 * `grpc-retry-pushback-ms`. text is borrowed, and cut at 1 KiB. */
void sc_rpc_fail(sc_rpc_call *call, sc_status status, const char *text, int64_t retry_after_ms);

unsigned sc_rpc_queue(const sc_rpc_call *call);

/* When the caller stops waiting; SC_INSTANT_NEVER without a deadline. */
sc_instant sc_rpc_deadline(const sc_rpc_call *call);

/* True once nobody waits for the answer. */
bool sc_rpc_is_over(const sc_rpc_call *call);

/* The value of a metadata key, lower case; empty with a NULL ptr when it is absent or there
 * are several. Lent until the handler returns; not for later. */
sc_str sc_rpc_metadata(const sc_rpc_call *call, sc_str key);

/* Who sent the call, for logs ("ipv4:127.0.0.1:4711"), into out[room], NUL-terminated. */
void sc_rpc_peer(const sc_rpc_call *call, char *out, size_t room);

/* The name in a verified client certificate: its first URI, else its first DNS name (SAN), into
 * out[room]. False, and out empty, without one or when it does not fit. */
bool sc_rpc_identity(const sc_rpc_call *call, char *out, size_t room);
