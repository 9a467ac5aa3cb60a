#include "tests/support/later.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "src/base/clock.h"
#include "src/base/list.h"

typedef struct {
    sc_link link;
    int64_t at_ns;
    void (*run)(void *argument);
    void *argument;
} job;

struct later {
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    sc_link         jobs; /* soonest first */
    bool            closing;
    unsigned        threads_count;
    pthread_t       threads[8];
};

/* Under lock, which is given up while waiting. NULL: closing, and nothing is left. */
static job *next(later *of)
{
    for (;;) {
        job *first = sc_list_empty(&of->jobs) ? NULL : SC_CONTAINER(of->jobs.next, job, link);
        if (first == NULL && of->closing)
            return NULL;
        if (first == NULL) {
            pthread_cond_wait(&of->changed, &of->lock);
        } else if (of->closing || first->at_ns <= sc_now().ns) {
            sc_list_remove(&first->link);
            return first;
        } else {
            struct timespec until = {first->at_ns / 1000000000, first->at_ns % 1000000000};
            pthread_cond_timedwait(&of->changed, &of->lock, &until);
        }
    }
}

static void *work(void *argument)
{
    later *of = argument;
    pthread_mutex_lock(&of->lock);
    for (job *j; (j = next(of)) != NULL;) {
        pthread_mutex_unlock(&of->lock);
        j->run(j->argument);
        free(j);
        pthread_mutex_lock(&of->lock);
    }
    pthread_mutex_unlock(&of->lock);
    return NULL;
}

void *later_alloc(size_t bytes)
{
    for (int tries = 0; tries < 3; tries++) {
        void *memory = calloc(1, bytes);
        if (memory != NULL)
            return memory;
    }
    abort();
}

later *later_open(unsigned threads)
{
    later *of = calloc(1, sizeof *of);
    if (of == NULL || threads > sizeof of->threads / sizeof of->threads[0])
        abort();
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&of->lock, NULL);
    pthread_cond_init(&of->changed, &attr);
    pthread_condattr_destroy(&attr);
    sc_list_init(&of->jobs);
    for (; of->threads_count < threads; of->threads_count++)
        if (pthread_create(&of->threads[of->threads_count], NULL, work, of) != 0)
            abort();
    return of;
}

void later_close(later *of)
{
    if (of == NULL)
        return;
    pthread_mutex_lock(&of->lock);
    of->closing = true;
    pthread_cond_broadcast(&of->changed);
    pthread_mutex_unlock(&of->lock);
    for (unsigned i = 0; i < of->threads_count; i++)
        pthread_join(of->threads[i], NULL);
    pthread_cond_destroy(&of->changed);
    pthread_mutex_destroy(&of->lock);
    free(of);
}

void later_post(later *of, int64_t delay_us, void (*run)(void *argument), void *argument)
{
    job *j = later_alloc(sizeof *j);
    *j = (job){.at_ns = sc_now().ns + delay_us * 1000, .run = run, .argument = argument};
    pthread_mutex_lock(&of->lock);
    sc_link *after = of->jobs.prev;
    while (after != &of->jobs && SC_CONTAINER(after, job, link)->at_ns > j->at_ns)
        after = after->prev;
    sc_list_push_front(after, &j->link);
    pthread_cond_broadcast(&of->changed);
    pthread_mutex_unlock(&of->lock);
}
