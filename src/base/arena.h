/* arena.h - memory with the life of one request.
 *
 * Allocation is a bump of a pointer; everything goes at once with the arena.
 * An arena names its ceiling when it is made, because what it holds came from a
 * network. One thread at a time. */
#pragma once

#include <stddef.h>

#include "src/base/str.h"

typedef struct sc_arena_block sc_arena_block;

typedef struct {
    sc_arena_block *blocks; /* the one in use first */
    sc_arena_block *spare;  /* empty ones that a reset kept */
    unsigned        spare_count;
    size_t          used_bytes;
    size_t          bytes_max;
} sc_arena;

/* An empty arena; takes no memory until the first allocation. */
void sc_arena_init(sc_arena *arena, size_t bytes_max);

/* Frees every block; the arena is empty and usable again. */
void sc_arena_fini(sc_arena *arena);

/* Empty as well, but a few ordinary blocks stay, so that the next request like the last takes no
 * memory from the heap. */
void sc_arena_reset(sc_arena *arena);

/* 16-byte aligned memory, or NULL when the ceiling or the heap is reached. */
void *sc_arena_alloc(sc_arena *arena, size_t bytes);

/* The same, zeroed, for count * bytes without overflow. */
void *sc_arena_calloc(sc_arena *arena, size_t count, size_t bytes);

/* A NUL-terminated copy. ptr is NULL only when memory ran out: an empty text has a copy too. */
sc_str sc_arena_copy(sc_arena *arena, sc_str text);
