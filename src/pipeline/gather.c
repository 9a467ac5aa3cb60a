/* Why a tray. A search on a worker costs a hop there, and its answer another: the core lets one thread
 * at a time write to a connection, and goes on with what another wanted to write in a third. With a
 * tray the thread that read the questions searches for them once it has read all that came: as many
 * as came together share a pass, nobody waits for more, and their answers go out as an exact hit's.
 * CPU of the server per question, 384 floats, with room for 32 on the tray, interleaved runs:
 *
 *       rows   callers   on workers   each at once   tray
 *      2 000         1                          65     66 us
 *      2 000        16                          47     29
 *      2 000        64                          42     27
 *     10 000         1          140                   115
 *
 * A tray has a bound, because the thread's other callers wait meanwhile: beyond one question in
 * 10 000 rows workers take it all. Exact hits at 2 000 a second beside eight callers of warm hits in
 * 10 000 rows, median latency (a quiet quarter of an hour):
 *
 *       bound, questions in 10 000 rows    0 (workers)     1      2      4     16
 *       exact hits                            0.31       0.33   0.36   0.40   0.61 ms
 *
 * while as many warm hits were served with each, within a tenth. One question is what a lone caller
 * needs, whom the hop costs most. */
#include "src/pipeline/gather.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "src/base/clock.h"

enum {
    /* One search's questions: more do not make a pass over memory cheaper per question. */
    BATCH_MAX = 32,

    /* What a tray's thread searches itself: 0.07 ms by the int8 pass. */
    TRAY_FLOATS_MAX = 10000 * 384
};

typedef struct {
    sc_task    task;
    sc_gather *gather;
    bool       busy; /* under the gather's lock: posted or running */
} drain;

struct sc_gather {
    /* Fixed by open. */
    sc_warm *warm;
    sc_pool *pool;
    unsigned drains_count;
    drain   *drains; /* [drains_count], one a worker */

    pthread_mutex_t lock;
    /* Under lock. */
    sc_link calls;
    size_t  waiting;
};

/* Up to BATCH_MAX calls of the first one's scope, in order of arrival. */
static size_t take(sc_link *calls, sc_gather_call **batch)
{
    size_t   count = 0;
    sc_link *first = calls->next;
    SC_LIST_EACH_SAFE (link, after, calls) {
        sc_gather_call *call = SC_CONTAINER(link, sc_gather_call, _link);
        if (count == BATCH_MAX)
            break;
        if (link != first && !sc_digest_equal(&call->scope, &batch[0]->scope))
            continue;
        sc_list_remove(link);
        batch[count++] = call;
    }
    return count;
}

static void search(sc_gather *gather, sc_gather_call **batch, size_t count)
{
    sc_warm_query queries[BATCH_MAX];
    for (size_t i = 0; i < count; i++)
        queries[i] = batch[i]->query;
    sc_warm_search(gather->warm, &batch[0]->scope, sc_wall_now(), queries, count);
    for (size_t i = 0; i < count; i++)
        batch[i]->query = queries[i];
    for (size_t i = 0; i < count; i++)
        batch[i]->done(batch[i]);
}

/* Marks the drain idle when there is nothing to do. */
static size_t take_waiting(drain *d, sc_gather_call **batch)
{
    sc_gather *gather = d->gather;
    pthread_mutex_lock(&gather->lock);
    size_t count = take(&gather->calls, batch);
    gather->waiting -= count;
    d->busy = count != 0;
    pthread_mutex_unlock(&gather->lock);
    return count;
}

static void run(sc_task *task)
{
    drain          *d = SC_CONTAINER(task, drain, task);
    sc_gather_call *batch[BATCH_MAX];
    for (size_t count; (count = take_waiting(d, batch)) != 0;)
        search(d->gather, batch, count);
}

sc_status sc_gather_open(sc_warm *warm, unsigned workers, sc_gather **out)
{
    sc_status  status = SC_NO_MEMORY;
    sc_gather *gather = calloc(1, sizeof *gather);
    *out = NULL;
    if (gather == NULL)
        return status;
    gather->warm = warm;
    sc_list_init(&gather->calls);
    pthread_mutex_init(&gather->lock, NULL);
    gather->drains = calloc(workers, sizeof *gather->drains);
    if (gather->drains == NULL)
        goto out;
    for (; gather->drains_count < workers; gather->drains_count++)
        gather->drains[gather->drains_count] =
            (drain){.task = {.run = run}, .gather = gather};
    sc_pool_options options = {.name = "prefilter", .threads = workers, .queue_max = workers};
    status = sc_pool_open(&options, &gather->pool);
    if (status != SC_OK)
        goto out;
    *out = gather;
    gather = NULL;
out:
    sc_gather_close(gather);
    return status;
}

void sc_gather_close(sc_gather *gather)
{
    if (gather == NULL)
        return;
    sc_pool_close(gather->pool);
    pthread_mutex_destroy(&gather->lock);
    free(gather->drains);
    free(gather);
}

/* Under lock. */
static drain *wake(sc_gather *gather)
{
    for (unsigned i = 0; i < gather->drains_count; i++)
        if (!gather->drains[i].busy) {
            gather->drains[i].busy = true;
            return &gather->drains[i];
        }
    return NULL;
}

/* There is a place in the queue for every drain, and a busy one takes calls on its own. */
static void post(sc_gather *gather, drain *idle)
{
    if (idle != NULL && sc_pool_post(gather->pool, &idle->task) != SC_OK)
        abort();
}

void sc_gather_ask(sc_gather *gather, sc_gather_call *call)
{
    pthread_mutex_lock(&gather->lock);
    sc_list_push_back(&gather->calls, &call->_link);
    gather->waiting++;
    drain *idle = wake(gather);
    pthread_mutex_unlock(&gather->lock);
    post(gather, idle);
}

/* One worker for as many as it takes at a time. */
static void ask_all(sc_gather *gather, sc_link *calls)
{
    for (size_t count = 1; count != 0;) {
        pthread_mutex_lock(&gather->lock);
        for (count = 0; count < BATCH_MAX && !sc_list_empty(calls); count++)
            sc_list_push_back(&gather->calls, sc_list_pop_front(calls));
        gather->waiting += count;
        drain *idle = count != 0 ? wake(gather) : NULL;
        pthread_mutex_unlock(&gather->lock);
        post(gather, idle);
    }
}

void sc_gather_tray_init(sc_gather_tray *tray)
{
    *tray = (sc_gather_tray){.floats = 0};
    sc_list_init(&tray->calls);
}

void sc_gather_put_aside(sc_gather_tray *tray, sc_gather_call *call, size_t floats)
{
    tray->floats += floats;
    sc_list_push_back(&tray->calls, &call->_link);
}

/* Where searches wait for workers already, these share a pass with them. */
void sc_gather_clear(sc_gather *gather, sc_gather_tray *tray)
{
    sc_gather_call *batch[BATCH_MAX];
    bool            few = tray->floats <= TRAY_FLOATS_MAX && sc_gather_waiting(gather) == 0;
    tray->floats = 0;
    if (!few)
        ask_all(gather, &tray->calls);
    for (size_t count; (count = take(&tray->calls, batch)) != 0;)
        search(gather, batch, count);
}

size_t sc_gather_waiting(sc_gather *gather)
{
    pthread_mutex_lock(&gather->lock);
    size_t waiting = gather->waiting;
    pthread_mutex_unlock(&gather->lock);
    return waiting;
}
