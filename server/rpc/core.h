/* core.h - what the files of this folder share: gRPC's types, the call object, streams.
 * Not for use outside server/rpc. */
#pragma once

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server/rpc/rpc.h"
#include "src/base/list.h"

enum { SC_RPC_METHODS_MAX = 32, SC_RPC_LISTEN_MAX = 8, SC_RPC_SPARE_CALLS_MAX = 512 };

/* What a completion queue gives back. Embedded, so that an event allocates nothing. */
typedef struct rpc_tag {
    void (*run)(struct rpc_tag *tag, bool ok);
} rpc_tag;

typedef enum { RPC_UNARY, RPC_SERVER_STREAM, RPC_BIDI } rpc_shape;

/* How a streaming method hears of its call. All on the queue's thread, one at a time for one
 * call; none after `over`. */
typedef struct {
    void (*received)(sc_rpc_call *call, sc_str message); /* lent; ask for the next with _receive */
    void (*half_closed)(sc_rpc_call *call);              /* the caller sends no more */
    void (*sent)(sc_rpc_call *call);                     /* the last send is through: send again */
    void (*over)(sc_rpc_call *call);                     /* the call ended, either way */
} rpc_stream_hooks;

typedef struct {
    sc_rpc_method        shown;
    rpc_shape            shape;
    const rpc_stream_hooks *stream;
    void                *handle; /* gRPC's; NULL: the catch-all */
} rpc_method;

typedef struct {
    sc_rpc                *rpc;
    grpc_completion_queue *queue;
    pthread_t              thread;
    bool                   started;

    /* By its thread only. */
    sc_rpc_call *detached; /* since it was idle last, each with a reference; a list by call->next */
    unsigned     handled;  /* events since the first of them */

    pthread_mutex_t lock;
    /* Under lock. */
    sc_rpc_call *spare; /* a list by call->next */
    unsigned     spare_count;
    sc_link      open; /* calls since their arrival, the oldest first; without the endless ones */
} rpc_queue;

/* The thread that ends calls which last too long. */
typedef struct {
    pthread_t       thread;
    bool            started;
    pthread_mutex_t lock;
    pthread_cond_t  tick;
    bool            stop; /* under lock */
} rpc_overdue;

typedef enum { RPC_SERVING, RPC_REFUSING } rpc_phase;

struct sc_rpc {
    /* Fixed by start. */
    sc_rpc_options  options;
    grpc_server    *server;
    rpc_method      methods[SC_RPC_METHODS_MAX + 1]; /* the last used is the catch-all */
    size_t          methods_count;
    rpc_queue      *queues; /* [queues_count] */
    unsigned        queues_count;
    int             ports[SC_RPC_LISTEN_MAX];
    size_t          ports_count;
    struct rpc_tls *tls;
    bool            started, stopped, stuck;
    void (*on_idle)(void *context, unsigned queue);
    void *on_idle_context;
    void (*on_drain)(void *context, rpc_phase phase); /* health: before each phase of a stop */
    void   *on_drain_context;
    rpc_tag     shutdown_tag;
    rpc_overdue watch;

    /* Any thread. */
    _Atomic bool     refusing;
    _Atomic bool     shut;     /* the core's shutdown notice has come */
    _Atomic int64_t  live;     /* call objects between arrival and release */
    _Atomic int64_t  inflight; /* of them, those counted against inflight_max */
    _Atomic uint64_t held_bytes; /* by these */
    _Atomic uint64_t arrived, refused, cancelled, overdue, unknown;
};

/* One reference each: the dispatch, every batch under way, and the owner of a late answer. The
 * last one releases the grpc_call and puts the object back on its queue's spare list. */
struct sc_rpc_call {
    /* Fixed while armed. */
    rpc_queue        *queue;
    const rpc_method *method;
    rpc_tag           arrived, closed, done, received, wrote;

    /* Written by the core between request and arrival, then fixed. */
    grpc_call          *core;
    grpc_metadata_array metadata; /* elements belong to core */
    grpc_call_details   details;  /* catch-all only */
    gpr_timespec        deadline;
    grpc_byte_buffer   *payload;

    /* The queue's thread. */
    bool              inline_phase; /* the handler runs and has not detached */
    bool              counted;
    uint64_t          held_bytes; /* counted in rpc's; by who answers, too */
    bool              rearm; /* no memory for a successor: this object arms itself again */
    bool              close_in_answer; /* by whoever answers */
    int               core_cancelled;
    grpc_byte_buffer *message; /* streams: received */
    sc_rpc_late       late;
    sc_rpc_call      *next; /* in the queue's list of spare or of detached ones */

    /* Under the queue's lock. */
    sc_link    open;
    sc_instant since;

    /* Streams: any thread, under lock. */
    pthread_mutex_t lock;
    bool            header_sent, writing, finished, ended;
    sc_status       finish_status;
    const char     *finish_text; /* static */

    /* Any thread. */
    void        *context; /* the owner's, set by detach or a stream's handler */
    _Atomic int  refs;
    _Atomic bool answered; /* exactly once */
    _Atomic bool closing;  /* somebody sends, or has sent, the batch with the close in it */
    _Atomic bool over;     /* the core says: cancelled */
};

/* call.c */
bool rpc_call_arm(rpc_queue *queue, const rpc_method *method);

/* The queue's thread: lets detached calls hear of callers that leave, from now on. */
void rpc_calls_listen(rpc_queue *queue);

void rpc_calls_free(sc_rpc_call *list);
void rpc_call_ref(sc_rpc_call *call);
void rpc_call_unref(sc_rpc_call *call);

/* Starts a batch for which a reference was taken. On the core's refusal, a mistake of ours, the
 * reference is given back, the call cancelled and the event logged; false then. */
bool rpc_batch(sc_rpc_call *call, const grpc_op *ops, size_t count, rpc_tag *tag);

/* The bytes of a buffer as one slice, to be unref'd. False when there is no memory. */
bool       rpc_buffer_flat(grpc_byte_buffer *buffer, grpc_slice *out);
sc_str     rpc_slice_view(const grpc_slice *slice); /* lent by *slice itself: short ones lie in it */
grpc_slice rpc_slice_message(const struct ProtobufCMessage *message);
void       rpc_op_status(grpc_op *op, sc_status status, grpc_slice *text);

/* overdue.c: enter and leave under the queue's lock. */
void      rpc_overdue_enter(sc_rpc_call *call);
void      rpc_overdue_leave(sc_rpc_call *call);
sc_status rpc_overdue_start(sc_rpc *rpc); /* Errors: SC_NO_MEMORY. */
void      rpc_overdue_stop(sc_rpc *rpc);

/* stream.c: a call of a streaming method. The handler gets the first message of a server stream
 * and nothing of a bidi one; it sets call->context, if it wants one, before anything else. */
void rpc_stream_open(sc_rpc_call *call);
void rpc_stream_receive(sc_rpc_call *call); /* received or half_closed follows */

/* False when a send is under way (wait for `sent`), or the stream has ended. Any thread. */
bool rpc_stream_send(sc_rpc_call *call, const struct ProtobufCMessage *message);

/* Ends the stream once, after a send under way; later calls do nothing. text is static. Any thread. */
void rpc_stream_finish(sc_rpc_call *call, sc_status status, const char *text);

/* Adds a method of any shape. */
sc_status rpc_serve_shape(sc_rpc *rpc, const sc_rpc_method *method, rpc_shape shape,
                          const rpc_stream_hooks *stream);

/* tls.c */
typedef struct rpc_tls rpc_tls;
sc_status                rpc_tls_open(const sc_rpc_options *options, rpc_tls **out, sc_error *error);
grpc_server_credentials *rpc_tls_credentials(rpc_tls *tls);
void                     rpc_tls_close(rpc_tls *tls);

/* TSan does not see the core's queues: what passes through a tag is told to it here. */
#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define RPC_TAG_GIVEN(tag) __tsan_release(tag)
#define RPC_TAG_TAKEN(tag) __tsan_acquire(tag)
#else
#define RPC_TAG_GIVEN(tag) ((void)(tag))
#define RPC_TAG_TAKEN(tag) ((void)(tag))
#endif
