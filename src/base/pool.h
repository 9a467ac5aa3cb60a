/* pool.h - worker threads that take tasks from one bounded queue, first come, first served.
 *
 * A task is embedded in what it works for, so that posting allocates nothing. Each
 * posted task runs exactly once, on one worker, with no lock held. Any thread may post. */
#pragma once

#include <stddef.h>

#include "src/base/list.h"
#include "src/base/status.h"

typedef struct sc_pool sc_pool;

typedef struct sc_task {
    sc_link link;
    void (*run)(struct sc_task *task);
} sc_task;

typedef struct {
    const char *name;      /* of the threads; at most 12 characters are shown */
    unsigned    threads;   /* 1 or more */
    size_t      queue_max; /* tasks waiting; beyond it post answers SC_BUSY */
} sc_pool_options;

/* Errors: SC_NO_MEMORY, SC_UNAVAILABLE when no thread could be started. */
SC_MUST_CHECK sc_status sc_pool_open(const sc_pool_options *options, sc_pool **out);

/* Runs what is queued, then ends the threads. Blocks until they have, so not from a task.
 * NULL is welcome. */
void sc_pool_close(sc_pool *pool);

/* Borrows task until its run() starts. Errors: SC_BUSY, and run() will not be
 * called; also in a pool that is closing, unless a task is running: what a task posts runs. */
SC_MUST_CHECK sc_status sc_pool_post(sc_pool *pool, sc_task *task);

/* Tasks that wait for a worker now. */
size_t sc_pool_waiting(sc_pool *pool);
