/* spare.h - blocks of one size that were given back, for whoever needs one next.
 *
 * What is taken and given back for every question need not go through the heap, where it would
 * wait for locks and leave holes. Any thread. */
#pragma once

#include <pthread.h>
#include <stddef.h>

typedef struct sc_spare_block sc_spare_block;

typedef struct {
    /* Fixed by init. */
    size_t   bytes; /* of a block */
    unsigned kept_max;

    pthread_mutex_t lock;
    /* Under lock. */
    sc_spare_block *blocks; /* the last given first: it may still be in the cache */
    unsigned        kept;
} sc_spare;

/* Keeps up to kept_max blocks; takes no memory yet. */
void sc_spare_init(sc_spare *spare, size_t bytes, unsigned kept_max);

/* Every block has been given back. Zero-initialised it is welcome, too. */
void sc_spare_fini(sc_spare *spare);

/* A block of any content, aligned as from malloc, or NULL when there is no memory. */
void *sc_spare_take(sc_spare *spare);

/* NULL is welcome. */
void sc_spare_give(sc_spare *spare, void *block);
