#include "src/base/spare.h"

#include <stdlib.h>

struct sc_spare_block {
    sc_spare_block *next;
};

/* To the address sanitizer a block that nobody has is as good as freed. */
#if defined(__SANITIZE_ADDRESS__)
void __asan_poison_memory_region(void const volatile *memory, size_t bytes);
void __asan_unpoison_memory_region(void const volatile *memory, size_t bytes);
#define HIDE(memory, bytes) __asan_poison_memory_region(memory, bytes)
#define SHOW(memory, bytes) __asan_unpoison_memory_region(memory, bytes)
#else
#define HIDE(memory, bytes) ((void)0)
#define SHOW(memory, bytes) ((void)0)
#endif

void sc_spare_init(sc_spare *spare, size_t bytes, unsigned kept_max)
{
    *spare = (sc_spare){.bytes = bytes < sizeof(sc_spare_block) ? sizeof(sc_spare_block) : bytes,
                        .kept_max = kept_max};
    pthread_mutex_init(&spare->lock, NULL);
}

/* Under lock, or with nobody else about. */
static sc_spare_block *pop(sc_spare *spare)
{
    sc_spare_block *block = spare->blocks;
    if (block == NULL)
        return NULL;
    SHOW(block, spare->bytes);
    spare->blocks = block->next;
    spare->kept--;
    return block;
}

void sc_spare_fini(sc_spare *spare)
{
    if (spare->bytes == 0)
        return;
    for (sc_spare_block *block; (block = pop(spare)) != NULL;)
        free(block);
    pthread_mutex_destroy(&spare->lock);
}

void *sc_spare_take(sc_spare *spare)
{
    pthread_mutex_lock(&spare->lock);
    sc_spare_block *block = pop(spare);
    pthread_mutex_unlock(&spare->lock);
    return block != NULL ? block : malloc(spare->bytes);
}

void sc_spare_give(sc_spare *spare, void *block)
{
    sc_spare_block *given = block;
    if (given == NULL)
        return;
    pthread_mutex_lock(&spare->lock);
    if (spare->kept < spare->kept_max) {
        given->next = spare->blocks;
        spare->blocks = given;
        spare->kept++;
        HIDE(given, spare->bytes);
        given = NULL;
    }
    pthread_mutex_unlock(&spare->lock);
    free(given);
}
