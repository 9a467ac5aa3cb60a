/* Ends calls that last too long, whatever holds them: an owner that never answers, or a caller
 * without a deadline that never reads its answer, which the core would keep for as long as the
 * connection lives.
 *
 * Each queue keeps its open calls in the order of their arrival, so only the oldest are looked at. The
 * list is kept under the lock that a call takes anyway, for its successor and at its end: a hit
 * pays no lock more. Rejected: a timer for each call (an alarm of the core's costs more than an
 * exact hit's own work), and giving every call a deadline in the core, which has no such option for
 * servers. */
#include <pthread.h>

#include "server/rpc/core.h"
#include "src/base/list.h"
#include "src/base/log.h"
#include "src/base/thread.h"

enum { ROUND_MS_MAX = 1000, ROUND_MS_MIN = 10, ROUNDS_PER_BOUND = 10 };

void rpc_overdue_enter(sc_rpc_call *call)
{
    if (call->method->shown.endless)
        return;
    call->since = sc_now();
    sc_list_push_back(&call->queue->open, &call->open);
}

void rpc_overdue_leave(sc_rpc_call *call)
{
    sc_list_remove(&call->open);
}

/* A call without references is about to leave by itself. */
static bool ref_if_alive(sc_rpc_call *call)
{
    int refs = atomic_load_explicit(&call->refs, memory_order_relaxed);
    while (refs != 0)
        if (atomic_compare_exchange_weak_explicit(&call->refs, &refs, refs + 1, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    return false;
}

/* The oldest call when it arrived before that, taken out of the list and with a reference; NULL when
 * there is none. */
static sc_rpc_call *oldest_before(rpc_queue *queue, sc_instant since)
{
    sc_rpc_call *found = NULL;
    pthread_mutex_lock(&queue->lock);
    while (found == NULL && !sc_list_empty(&queue->open)) {
        sc_rpc_call *call = SC_CONTAINER(queue->open.next, sc_rpc_call, open);
        if (!sc_instant_before(call->since, since))
            break;
        sc_list_remove(&call->open);
        if (ref_if_alive(call))
            found = call;
    }
    pthread_mutex_unlock(&queue->lock);
    return found;
}

static void tell(const sc_rpc_call *call)
{
    static sc_log_limit limit;
    int64_t             left_out = 0;
    if (sc_log_allow(&limit, 1000, sc_now(), &left_out))
        sc_log(SC_LOG_WARN, "rpc.call_overdue", sc_kv_text("method", call->method->shown.path),
               sc_kv_int("left_out", left_out));
}

/* The core sends the status past any flow control, drops what was still to be sent, and ends the
 * batches under way: to the call it is as if its caller's deadline had passed. */
static void end(sc_rpc *rpc, sc_rpc_call *call)
{
    atomic_fetch_add_explicit(&rpc->overdue, 1, memory_order_relaxed);
    tell(call);
    grpc_call_cancel_with_status(call->core, GRPC_STATUS_DEADLINE_EXCEEDED,
                                 "the call lasted longer than RPC_CALL_MS_MAX", NULL);
    rpc_call_unref(call);
}

static void look_through(sc_rpc *rpc)
{
    sc_instant since = {sc_now().ns - (int64_t)rpc->options.call_ms_max * 1000000};
    for (unsigned i = 0; i < rpc->queues_count; i++)
        for (sc_rpc_call *call; (call = oldest_before(&rpc->queues[i], since)) != NULL;)
            end(rpc, call);
}

static int64_t round_ms(const sc_rpc *rpc)
{
    int64_t ms = rpc->options.call_ms_max / ROUNDS_PER_BOUND;
    return ms < ROUND_MS_MIN ? ROUND_MS_MIN : ms > ROUND_MS_MAX ? ROUND_MS_MAX : ms;
}

/* Under lock: waits for the next round, or the end. */
static void wait_round(rpc_overdue *overdue, int64_t ms)
{
    int64_t         ns = sc_instant_after_ms(sc_now(), ms).ns;
    struct timespec until = {ns / 1000000000, ns % 1000000000};
    pthread_cond_timedwait(&overdue->tick, &overdue->lock, &until);
}

static void *rounds(void *argument)
{
    sc_rpc      *rpc = argument;
    rpc_overdue *overdue = &rpc->watch;
    sc_thread_name("sc-rpc-overdue");
    pthread_mutex_lock(&overdue->lock);
    while (!overdue->stop) {
        wait_round(overdue, round_ms(rpc));
        pthread_mutex_unlock(&overdue->lock);
        look_through(rpc);
        pthread_mutex_lock(&overdue->lock);
    }
    pthread_mutex_unlock(&overdue->lock);
    return NULL;
}

sc_status rpc_overdue_start(sc_rpc *rpc)
{
    rpc_overdue       *overdue = &rpc->watch;
    pthread_condattr_t monotonic;
    if (rpc->options.call_ms_max == 0)
        return SC_OK;
    pthread_mutex_init(&overdue->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&overdue->tick, &monotonic);
    pthread_condattr_destroy(&monotonic);
    overdue->started = pthread_create(&overdue->thread, NULL, rounds, rpc) == 0;
    if (overdue->started)
        return SC_OK;
    pthread_cond_destroy(&overdue->tick);
    pthread_mutex_destroy(&overdue->lock);
    return SC_NO_MEMORY;
}

void rpc_overdue_stop(sc_rpc *rpc)
{
    rpc_overdue *overdue = &rpc->watch;
    if (!overdue->started)
        return;
    pthread_mutex_lock(&overdue->lock);
    overdue->stop = true;
    pthread_cond_signal(&overdue->tick);
    pthread_mutex_unlock(&overdue->lock);
    pthread_join(overdue->thread, NULL);
    pthread_cond_destroy(&overdue->tick);
    pthread_mutex_destroy(&overdue->lock);
    overdue->started = false;
}
