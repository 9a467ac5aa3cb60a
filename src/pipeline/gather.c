#include "src/pipeline/gather.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "src/base/clock.h"

enum {
    /* One search's questions: more do not make a pass over memory cheaper per question. */
    BATCH_MAX = 32
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

/* Up to BATCH_MAX calls in batch, the first one's scope first; the others' scopes follow in order of
 * arrival. Marks the drain idle when there is nothing to do. */
static size_t take(drain *d, sc_gather_call **batch)
{
    sc_gather *gather = d->gather;
    size_t     count = 0;
    pthread_mutex_lock(&gather->lock);
    sc_link *first = gather->calls.next;
    SC_LIST_EACH_SAFE (link, after, &gather->calls) {
        sc_gather_call *call = SC_CONTAINER(link, sc_gather_call, _link);
        if (count == BATCH_MAX)
            break;
        if (link != first && !sc_digest_equal(&call->scope, &batch[0]->scope))
            continue;
        sc_list_remove(link);
        batch[count++] = call;
    }
    gather->waiting -= count;
    d->busy = count != 0;
    pthread_mutex_unlock(&gather->lock);
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
}

static void run(sc_task *task)
{
    drain          *d = SC_CONTAINER(task, drain, task);
    sc_gather_call *batch[BATCH_MAX];
    for (size_t count; (count = take(d, batch)) != 0;) {
        search(d->gather, batch, count);
        for (size_t i = 0; i < count; i++)
            batch[i]->done(batch[i]);
    }
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

void sc_gather_ask(sc_gather *gather, sc_gather_call *call)
{
    drain *idle = NULL;
    pthread_mutex_lock(&gather->lock);
    sc_list_push_back(&gather->calls, &call->_link);
    gather->waiting++;
    for (unsigned i = 0; i < gather->drains_count && idle == NULL; i++)
        if (!gather->drains[i].busy)
            idle = &gather->drains[i];
    if (idle != NULL)
        idle->busy = true;
    pthread_mutex_unlock(&gather->lock);
    /* There is a place in the queue for every drain, and a busy one takes the call on its own. */
    if (idle != NULL && sc_pool_post(gather->pool, &idle->task) != SC_OK)
        abort();
}

void sc_gather_now(sc_gather *gather, sc_gather_call *call)
{
    search(gather, &call, 1);
}

size_t sc_gather_waiting(sc_gather *gather)
{
    pthread_mutex_lock(&gather->lock);
    size_t waiting = gather->waiting;
    pthread_mutex_unlock(&gather->lock);
    return waiting;
}
