#include "src/base/arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* One block holds a short question whole (416 bytes), and thousands of them may be waiting: of blocks
 * of 4 KiB nine tenths were air. Larger texts get a block of their own size. What a reset keeps is
 * bounded apart. */
enum { BLOCK_BYTES_MIN = 512, SPARE_BLOCKS_MAX = 8, ALIGN = 16 };

struct sc_arena_block {
    sc_arena_block *next;
    size_t          size;
    size_t          used;
    size_t          pad;
    unsigned char   data[];
};

_Static_assert(sizeof(sc_arena_block) % ALIGN == 0, "data starts aligned");

void sc_arena_init(sc_arena *arena, size_t bytes_max)
{
    *arena = (sc_arena){.bytes_max = bytes_max};
}

static sc_arena_block *pop(sc_arena_block **list)
{
    sc_arena_block *block = *list;
    if (block != NULL)
        *list = block->next;
    return block;
}

void sc_arena_fini(sc_arena *arena)
{
    for (sc_arena_block *block; (block = pop(&arena->blocks)) != NULL;)
        free(block);
    for (sc_arena_block *block; (block = pop(&arena->spare)) != NULL;)
        free(block);
    arena->spare_count = 0;
    arena->used_bytes = 0;
}

void sc_arena_reset(sc_arena *arena)
{
    for (sc_arena_block *block; (block = pop(&arena->blocks)) != NULL;) {
        if (block->size != BLOCK_BYTES_MIN || arena->spare_count == SPARE_BLOCKS_MAX) {
            free(block);
            continue;
        }
        block->next = arena->spare;
        arena->spare = block;
        arena->spare_count++;
    }
    arena->used_bytes = 0;
}

static sc_arena_block *block_make(sc_arena *arena, size_t size)
{
    sc_arena_block *block = size == BLOCK_BYTES_MIN ? pop(&arena->spare) : NULL;
    if (block == NULL)
        return malloc(sizeof *block + size);
    arena->spare_count--;
    return block;
}

static sc_arena_block *block_add(sc_arena *arena, size_t bytes)
{
    bool            large = bytes > BLOCK_BYTES_MIN;
    size_t          size = large ? bytes : BLOCK_BYTES_MIN;
    sc_arena_block *block = block_make(arena, size);
    if (block == NULL)
        return NULL;
    /* A large block is full at once: behind the newest, it leaves that one's rest in use. */
    sc_arena_block **at = large && arena->blocks != NULL ? &arena->blocks->next : &arena->blocks;
    *block = (sc_arena_block){.next = *at, .size = size};
    *at = block;
    return block;
}

void *sc_arena_alloc(sc_arena *arena, size_t bytes)
{
    size_t padded;
    if (__builtin_add_overflow(bytes, ALIGN - 1, &padded))
        return NULL;
    bytes = padded & ~(size_t)(ALIGN - 1);
    if (bytes > arena->bytes_max - arena->used_bytes)
        return NULL;
    sc_arena_block *block = arena->blocks;
    if (block == NULL || block->size - block->used < bytes)
        block = block_add(arena, bytes);
    if (block == NULL)
        return NULL;
    void *memory = block->data + block->used;
    block->used += bytes;
    arena->used_bytes += bytes;
    return memory;
}

void *sc_arena_calloc(sc_arena *arena, size_t count, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total))
        return NULL;
    void *memory = sc_arena_alloc(arena, total);
    if (memory != NULL)
        memset(memory, 0, total);
    return memory;
}

sc_str sc_arena_copy(sc_arena *arena, sc_str text)
{
    char *copy = text.len == SIZE_MAX ? NULL : sc_arena_alloc(arena, text.len + 1);
    if (copy == NULL)
        return (sc_str){NULL, 0};
    if (text.len != 0)
        memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return (sc_str){copy, text.len};
}
