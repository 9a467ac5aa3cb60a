#include "src/base/pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "src/base/thread.h"

struct sc_pool {
    /* Fixed by open. */
    size_t     queue_max;
    unsigned   threads_used;
    pthread_t *threads; /* [threads_used] */
    char       name[13];

    pthread_mutex_t lock;
    pthread_cond_t  wake;
    /* Under lock. */
    sc_link tasks;
    size_t  waiting;
    size_t  running; /* tasks */
    bool    closing;
};

/* The next task, after the one that the worker has run, if any. NULL: there will be no more. */
static sc_task *take(sc_pool *pool, const sc_task *ran)
{
    pthread_mutex_lock(&pool->lock);
    pool->running -= ran != NULL;
    while (sc_list_empty(&pool->tasks) && !pool->closing)
        pthread_cond_wait(&pool->wake, &pool->lock);
    sc_link *link = sc_list_pop_front(&pool->tasks);
    if (link != NULL) {
        pool->waiting--;
        pool->running++;
    }
    pthread_mutex_unlock(&pool->lock);
    return link == NULL ? NULL : SC_CONTAINER(link, sc_task, link);
}

static void *work(void *arg)
{
    sc_pool *pool = arg;
    sc_thread_name(pool->name);
    for (sc_task *task = NULL; (task = take(pool, task)) != NULL;)
        task->run(task);
    return NULL;
}

sc_status sc_pool_open(const sc_pool_options *options, sc_pool **out)
{
    assert(options->threads > 0);
    sc_status status = SC_NO_MEMORY;
    sc_pool  *pool = calloc(1, sizeof *pool);
    *out = NULL;
    if (pool == NULL)
        return status;
    pool->queue_max = options->queue_max;
    sc_list_init(&pool->tasks);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (size_t i = 0; i + 1 < sizeof pool->name && options->name[i] != '\0'; i++)
        pool->name[i] = options->name[i];
    pool->threads = calloc(options->threads, sizeof *pool->threads);
    if (pool->threads == NULL)
        goto out;
    for (; pool->threads_used < options->threads; pool->threads_used++)
        if (pthread_create(&pool->threads[pool->threads_used], NULL, work, pool) != 0) {
            status = SC_UNAVAILABLE;
            goto out;
        }
    *out = pool;
    pool = NULL;
    status = SC_OK;
out:
    sc_pool_close(pool);
    return status;
}

void sc_pool_close(sc_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads_used; i++)
        pthread_join(pool->threads[i], NULL);
    assert(sc_list_empty(&pool->tasks));
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}

sc_status sc_pool_post(sc_pool *pool, sc_task *task)
{
    sc_status status = SC_BUSY;
    pthread_mutex_lock(&pool->lock);
    /* While a task runs there is a worker that will look again, even in a pool that is closing. */
    bool served = !pool->closing || pool->running != 0;
    if (served && pool->waiting < pool->queue_max) {
        sc_list_push_back(&pool->tasks, &task->link);
        pool->waiting++;
        pthread_cond_signal(&pool->wake);
        status = SC_OK;
    }
    pthread_mutex_unlock(&pool->lock);
    return status;
}

size_t sc_pool_waiting(sc_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    size_t waiting = pool->waiting;
    pthread_mutex_unlock(&pool->lock);
    return waiting;
}
