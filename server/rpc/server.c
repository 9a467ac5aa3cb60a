/* The server around the calls: options, ports, threads, and the order in which it ends.
 *
 * One completion queue per thread: measured, two threads on one queue or four queues on two cores
 * only add hand-offs of the role of polling.
 *
 * A queue's thread is idle when it has handled all that is ready, which it finds out only when
 * handlers have put calls aside: asking once more costs a look at the sockets. */
#include <dlfcn.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <stdlib.h>
#include <time.h>

#include "server/rpc/accept_guard.h"
#include "server/rpc/core.h"
#include "server/rpc/listen.h"
#include "src/base/list.h"
#include "src/base/log.h"
#include "src/base/thread.h"

enum { ARMED_DEFAULT = 4, CATCH_ALL_ARMED = 4, ARGS_MAX = 24 };

/* Events after which a queue counts as idle although more are ready: a millisecond or two. What
 * was put aside must not wait for a gap that a busy queue never has. */
enum { HANDLED_MAX = 128 };

/* ---- once per process ---- */

static void core_logged(gpr_log_func_args *line)
{
    static sc_log_limit limit;
    int64_t             left_out = 0;
    if (sc_log_allow(&limit, 1000, sc_now(), &left_out))
        sc_log(SC_LOG_WARN, "rpc.core", sc_kv_text("message", line->message),
               sc_kv_int("left_out", left_out));
}

/* Debian's abseil is a debug build: every lock updates a process-wide graph under a spinlock.
 * Without it a call costs 5 % less. Harmless where the symbol is absent. */
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

static void process_prepare(void)
{
    lock_graph_off();
    gpr_set_log_function(core_logged);
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
}

/* ---- open ---- */

static unsigned threads_of(const sc_rpc_options *options)
{
    if (options->threads != 0)
        return options->threads < SC_RPC_QUEUES_MAX ? options->threads : SC_RPC_QUEUES_MAX;
    unsigned half = sc_cpu_count() / 2;
    return half < 1 ? 1 : half > 4 ? 4 : half;
}

typedef struct {
    grpc_arg args[ARGS_MAX];
    size_t   count;
} arg_list;

static void arg_int(arg_list *list, const char *key, uint32_t value)
{
    grpc_arg *arg = &list->args[list->count++];
    arg->type = GRPC_ARG_INTEGER;
    arg->key = (char *)(uintptr_t)key;
    arg->value.integer = value > INT32_MAX ? INT32_MAX : (int)value;
}

static void args_fill(arg_list *list, const sc_rpc_options *options)
{
    /* On by default; a second server on the port would steal connections. */
    arg_int(list, GRPC_ARG_ALLOW_REUSEPORT, 0);
    arg_int(list, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, options->message_bytes_max);
    arg_int(list, GRPC_ARG_MAX_METADATA_SIZE, options->metadata_bytes_max);
    arg_int(list, GRPC_ARG_MAX_CONCURRENT_STREAMS, options->streams_max);
    /* Identity only: the core unpacks before it looks at the size, so 300 KB become 300 MB. */
    arg_int(list, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1);
    /* So nothing is left to do for the two filters that look for compression in each call. */
    arg_int(list, GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
    arg_int(list, GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    arg_int(list, GRPC_ARG_ENABLE_CHANNELZ, 0);
    arg_int(list, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10000);
    /* Notice dead peers, and allow clients to do the same. */
    arg_int(list, GRPC_ARG_KEEPALIVE_TIME_MS, 60000);
    arg_int(list, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000);
    arg_int(list, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    arg_int(list, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
    if (options->connection_age_ms != 0) {
        arg_int(list, GRPC_ARG_MAX_CONNECTION_AGE_MS, options->connection_age_ms);
        arg_int(list, GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, 120000);
    }
}

/* What the core itself holds: requests that come and never end, which no call of ours counts yet. Measured with
 * 300 calls that each sent 900 kB and no more: 270 MB without. At the bound the core ends streams. Gives a
 * reference that the caller gives back once the server is made. */
static grpc_resource_quota *quota_make(arg_list *list, const sc_rpc_options *options)
{
    if (options->inflight_bytes_max == 0)
        return NULL;
    enum { ITS_OWN_BYTES = 4 << 20 }; /* for connections that hold nothing */
    grpc_resource_quota *quota = grpc_resource_quota_create("sc_rpc");
    grpc_resource_quota_resize(quota, options->inflight_bytes_max + ITS_OWN_BYTES);
    grpc_arg *arg = &list->args[list->count++];
    arg->type = GRPC_ARG_POINTER;
    arg->key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA;
    arg->value.pointer.p = quota;
    arg->value.pointer.vtable = grpc_resource_quota_arg_vtable();
    return quota;
}

static sc_status listen_check(const sc_rpc_options *options, sc_error *error)
{
    sc_str list = sc_str_of(options->listen);
    sc_str address;
    size_t count = 0;

    while (rpc_listen_next(&list, &address)) {
        if (++count > SC_RPC_LISTEN_MAX || address.len >= 256)
            return sc_fail(error, SC_INVALID, "LISTEN: more than %d addresses, or one over 255 bytes",
                           SC_RPC_LISTEN_MAX);
        if (options->tls_cert_file == NULL && !options->listen_insecure &&
            !rpc_listen_is_local(address))
            return sc_fail(error, SC_INVALID,
                           "LISTEN: %.*s can be reached by others; set TLS_CERT_FILE and "
                           "TLS_KEY_FILE, or INSECURE_LISTEN=true",
                           (int)address.len, address.ptr);
    }
    return count != 0 ? SC_OK : sc_fail(error, SC_INVALID, "LISTEN: no address");
}

static sc_status tls_check(const sc_rpc_options *options, sc_error *error)
{
    if ((options->tls_cert_file == NULL) != (options->tls_key_file == NULL))
        return sc_fail(error, SC_INVALID, "TLS_CERT_FILE and TLS_KEY_FILE belong together");
    if (options->tls_client_ca_file != NULL && options->tls_cert_file == NULL)
        return sc_fail(error, SC_INVALID, "TLS_CLIENT_CA_FILE needs TLS_CERT_FILE");
    return SC_OK;
}

static void queues_open(sc_rpc *rpc)
{
    for (unsigned i = 0; i < rpc->queues_count; i++) {
        rpc_queue *queue = &rpc->queues[i];
        queue->rpc = rpc;
        pthread_mutex_init(&queue->lock, NULL);
        sc_list_init(&queue->open);
        queue->queue = grpc_completion_queue_create_for_next(NULL);
        grpc_server_register_completion_queue(rpc->server, queue->queue, NULL);
    }
}

static sc_rpc *rpc_make(const sc_rpc_options *options)
{
    sc_rpc *rpc = calloc(1, sizeof *rpc);
    if (rpc == NULL)
        return NULL;
    rpc->options = *options;
    rpc->queues_count = threads_of(options);
    rpc->queues = calloc(rpc->queues_count, sizeof *rpc->queues);
    if (rpc->queues == NULL) {
        free(rpc);
        return NULL;
    }
    return rpc;
}

sc_status sc_rpc_open(const sc_rpc_options *options, sc_rpc **out, sc_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    arg_list              args = {.count = 0};

    *out = NULL;
    sc_status status = listen_check(options, error);
    if (status == SC_OK)
        status = tls_check(options, error);
    if (status != SC_OK)
        return status;
    sc_rpc *rpc = rpc_make(options);
    if (rpc == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory for the server");
    pthread_once(&once, process_prepare);
    sc_accept_guard_open(options->connections_max);
    grpc_init();
    args_fill(&args, options);
    grpc_resource_quota *quota = quota_make(&args, options);
    rpc->server = grpc_server_create(&(grpc_channel_args){args.count, args.args}, NULL);
    if (quota != NULL)
        grpc_resource_quota_unref(quota);
    queues_open(rpc);
    if (options->tls_cert_file != NULL)
        status = rpc_tls_open(options, &rpc->tls, error);
    if (status != SC_OK) {
        sc_rpc_close(rpc);
        rpc = NULL;
    }
    *out = rpc;
    return status;
}

sc_status rpc_serve_shape(sc_rpc *rpc, const sc_rpc_method *method, rpc_shape shape,
                          const rpc_stream_hooks *stream)
{
    if (rpc->methods_count == SC_RPC_METHODS_MAX)
        return SC_TOO_LARGE;
    void *handle = grpc_server_register_method(
        rpc->server, method->path, NULL,
        shape == RPC_BIDI ? GRPC_SRM_PAYLOAD_NONE : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    if (handle == NULL)
        return SC_EXISTS;
    rpc->methods[rpc->methods_count++] = (rpc_method){*method, shape, stream, handle};
    return SC_OK;
}

sc_status sc_rpc_serve(sc_rpc *rpc, const sc_rpc_method *method)
{
    return rpc_serve_shape(rpc, method, RPC_UNARY, NULL);
}

void sc_rpc_on_idle(sc_rpc *rpc, void (*idle)(void *context, unsigned queue), void *context)
{
    rpc->on_idle = idle;
    rpc->on_idle_context = context;
}

/* ---- start ---- */

static sc_status ports_bind(sc_rpc *rpc, sc_error *error)
{
    sc_str                   list = sc_str_of(rpc->options.listen);
    sc_str                   address;
    char                     text[256];
    sc_status                status = SC_OK;
    grpc_server_credentials *creds = rpc->tls != NULL ? rpc_tls_credentials(rpc->tls)
                                                      : grpc_insecure_server_credentials_create();
    if (creds == NULL)
        return sc_fail(error, SC_INVALID, "TLS_CERT_FILE, TLS_KEY_FILE: not accepted");
    while (status == SC_OK && rpc_listen_next(&list, &address)) {
        memcpy(text, address.ptr, address.len);
        text[address.len] = '\0';
        int port = grpc_server_add_http2_port(rpc->server, text, creds);
        if (port == 0)
            status = sc_fail(error, SC_UNAVAILABLE,
                             "LISTEN: cannot listen on %s (in use, not an address of this machine, "
                             "or the certificate is not accepted)",
                             text);
        else
            rpc->ports[rpc->ports_count++] = port;
    }
    grpc_server_credentials_release(creds);
    return status;
}

/* The hook first: calls that it answers need not be listened to. */
static void queue_idle(rpc_queue *queue)
{
    sc_rpc *rpc = queue->rpc;
    if (rpc->on_idle != NULL)
        rpc->on_idle(rpc->on_idle_context, (unsigned)(queue - rpc->queues));
    rpc_calls_listen(queue);
    queue->handled = 0;
}

static void handle(const grpc_event *event)
{
    rpc_tag *tag = event->tag;
    RPC_TAG_TAKEN(tag);
    tag->run(tag, event->success != 0);
}

static void *queue_run(void *argument)
{
    rpc_queue *queue = argument;

    sc_thread_name("sc-rpc");
    sc_thread_prompt();
    for (;;) {
        gpr_timespec until = queue->detached != NULL ? gpr_inf_past(GPR_CLOCK_MONOTONIC)
                                                     : gpr_inf_future(GPR_CLOCK_MONOTONIC);
        grpc_event   event = grpc_completion_queue_next(queue->queue, until, NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE)
            handle(&event);
        if (queue->detached != NULL &&
            (event.type == GRPC_QUEUE_TIMEOUT || ++queue->handled == HANDLED_MAX))
            queue_idle(queue);
    }
}

static sc_status arm_all(sc_rpc *rpc)
{
    for (unsigned q = 0; q < rpc->queues_count; q++)
        for (size_t m = 0; m <= rpc->methods_count; m++) {
            unsigned armed = rpc->methods[m].shown.armed;
            for (unsigned i = 0; i < (armed != 0 ? armed : ARMED_DEFAULT); i++)
                if (!rpc_call_arm(&rpc->queues[q], &rpc->methods[m]))
                    return SC_NO_MEMORY;
        }
    return SC_OK;
}

sc_status sc_rpc_start(sc_rpc *rpc, sc_error *error)
{
    sc_status status = ports_bind(rpc, error);
    if (status != SC_OK)
        return status;
    /* Without a catch-all a call of an unknown method would hang until its deadline. */
    rpc->methods[rpc->methods_count].shown =
        (sc_rpc_method){.path = "(unknown)", .armed = CATCH_ALL_ARMED};
    grpc_server_start(rpc->server);
    rpc->started = true;
    if (arm_all(rpc) != SC_OK)
        return sc_fail(error, SC_NO_MEMORY, "no memory for calls");
    for (unsigned i = 0; i < rpc->queues_count; i++) {
        rpc_queue *queue = &rpc->queues[i];
        queue->started = pthread_create(&queue->thread, NULL, queue_run, queue) == 0;
        if (!queue->started)
            return sc_fail(error, SC_UNAVAILABLE, "no thread for a queue");
    }
    if (rpc_overdue_start(rpc) != SC_OK)
        return sc_fail(error, SC_UNAVAILABLE, "no thread for calls that last too long");
    return SC_OK;
}

int sc_rpc_port(const sc_rpc *rpc, size_t nth)
{
    return nth < rpc->ports_count ? rpc->ports[nth] : 0;
}

/* ---- stop ---- */

static void pause_ms(int64_t ms)
{
    struct timespec span = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&span, NULL);
}

static bool none_live(const sc_rpc *rpc)
{
    return atomic_load_explicit(&rpc->live, memory_order_acquire) == 0;
}

static bool is_shut(const sc_rpc *rpc)
{
    return atomic_load_explicit(&rpc->shut, memory_order_acquire);
}

/* A stop happens once in a life: looking every 2 ms costs less than a condition on every call. */
static bool wait_until(const sc_rpc *rpc, bool (*is_so)(const sc_rpc *rpc), sc_instant deadline)
{
    while (!is_so(rpc)) {
        if (!sc_instant_before(sc_now(), deadline))
            return false;
        pause_ms(2);
    }
    return true;
}

static void core_shut(rpc_tag *tag, bool ok)
{
    (void)ok;
    atomic_store_explicit(&SC_CONTAINER(tag, sc_rpc, shutdown_tag)->shut, true,
                          memory_order_release);
}

/* Threads that never started leave events behind: take them out here. */
static void queue_close(rpc_queue *queue)
{
    grpc_completion_queue_shutdown(queue->queue);
    if (queue->started)
        pthread_join(queue->thread, NULL);
    else
        queue_run(queue);
    rpc_calls_free(queue->spare);
    queue->spare = NULL;
    grpc_completion_queue_destroy(queue->queue);
    pthread_mutex_destroy(&queue->lock);
}

static void drain(sc_rpc *rpc, rpc_phase phase)
{
    if (rpc->on_drain != NULL)
        rpc->on_drain(rpc->on_drain_context, phase);
}

static bool no_thread_started(const sc_rpc *rpc)
{
    return !rpc->queues[rpc->queues_count - 1].started;
}

/* A call that reaches a core in shutdown is killed, and its caller sees CANCELLED, which says
 * nothing about trying again: 30 of them per stop with 32 callers in a loop. So the connections are
 * ended first, and new ones closed; such a caller sees UNAVAILABLE. */
static void core_shutdown(sc_rpc *rpc, bool idle)
{
    rpc->shutdown_tag.run = core_shut;
    RPC_TAG_GIVEN(&rpc->shutdown_tag);
    if (idle)
        sc_accept_guard_hang_up(rpc->ports, rpc->ports_count);
    grpc_server_shutdown_and_notify(rpc->server, rpc->queues[0].queue, &rpc->shutdown_tag);
}

/* Refuse; let calls end; shut the core down; cancel what is left; wait for its owners. */
sc_status sc_rpc_stop(sc_rpc *rpc)
{
    if (!rpc->started || rpc->stopped || no_thread_started(rpc))
        return SC_OK;
    rpc->stopped = true;
    drain(rpc, RPC_SERVING);
    pause_ms(rpc->options.lame_duck_ms);
    atomic_store_explicit(&rpc->refusing, true, memory_order_relaxed);
    drain(rpc, RPC_REFUSING);

    sc_instant deadline = sc_instant_after_ms(sc_now(), rpc->options.grace_ms);
    bool       idle = wait_until(rpc, none_live, deadline);
    core_shutdown(rpc, idle);
    if (!idle || !wait_until(rpc, is_shut, sc_instant_after_ms(sc_now(), 1000)))
        grpc_server_cancel_all_calls(rpc->server);

    /* Owners were told by `cancelled`; what they still hold must come back before the queues may
     * go: the core aborts on a batch for a queue that was shut down. */
    deadline = sc_instant_after_ms(sc_now(), 5000);
    if (wait_until(rpc, is_shut, deadline) && wait_until(rpc, none_live, deadline))
        return SC_OK;
    rpc->stuck = true;
    sc_log(SC_LOG_ERROR, "rpc.stop_stuck", sc_kv_int("calls", atomic_load(&rpc->live)));
    return SC_TIMEOUT;
}

/* A server whose threads never ran: the core still wants its shutdown notice to be taken. */
static void shut_without_threads(sc_rpc *rpc)
{
    rpc->shutdown_tag.run = core_shut;
    grpc_server_shutdown_and_notify(rpc->server, rpc->queues[0].queue, &rpc->shutdown_tag);
}

void sc_rpc_close(sc_rpc *rpc)
{
    if (rpc == NULL)
        return;
    sc_status stopped = sc_rpc_stop(rpc);
    rpc_overdue_stop(rpc);
    if (stopped != SC_OK || rpc->stuck)
        return;
    if (!rpc->stopped)
        shut_without_threads(rpc);
    for (unsigned i = 0; i < rpc->queues_count; i++)
        queue_close(&rpc->queues[i]);
    grpc_server_destroy(rpc->server);
    sc_accept_guard_reopen(rpc->ports, rpc->ports_count);
    free(rpc->queues);
    rpc_tls_close(rpc->tls);
    free(rpc);
    grpc_shutdown();
}

void sc_rpc_look(const sc_rpc *rpc, sc_rpc_figures *out)
{
    out->arrived = atomic_load_explicit(&rpc->arrived, memory_order_relaxed);
    out->refused = atomic_load_explicit(&rpc->refused, memory_order_relaxed);
    out->cancelled = atomic_load_explicit(&rpc->cancelled, memory_order_relaxed);
    out->overdue = atomic_load_explicit(&rpc->overdue, memory_order_relaxed);
    out->unknown = atomic_load_explicit(&rpc->unknown, memory_order_relaxed);
    out->inflight = atomic_load_explicit(&rpc->inflight, memory_order_relaxed);
    out->held_bytes = atomic_load_explicit(&rpc->held_bytes, memory_order_relaxed);
    out->connections_refused = sc_accept_guard_refused();
}
