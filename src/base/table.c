#include "src/base/table.h"

#include <assert.h>
#include <stdlib.h>

#include "src/base/random.h"

enum { ROOM_MIN = 16 };

void sc_table_fini(sc_table *table)
{
    free(table->slots);
    *table = (sc_table){0};
}

/* Where a key's probe chain begins. Digests are uniform by accident, not against somebody who
 * tries texts until thousands share a slot: multiplying by a secret and keeping the high bits
 * spreads those too, for one multiplication. */
static size_t home_of(const sc_table *table, const sc_digest *key)
{
    return (size_t)((sc_digest_u64(key) * table->multiplier) >> 32) & (table->room - 1);
}

/* The slot that holds key, or the free one where it would go. Needs at least one free slot. */
static size_t find(const sc_table *table, const sc_digest *key)
{
    size_t at = home_of(table, key);
    while (table->slots[at].value != NULL && !sc_digest_equal(&table->slots[at].key, key))
        at = (at + 1) & (table->room - 1);
    return at;
}

void *sc_table_get(const sc_table *table, const sc_digest *key)
{
    return table->room == 0 ? NULL : table->slots[find(table, key)].value;
}

static sc_status grow(sc_table *table)
{
    if ((table->used + 1) * 4 <= table->room * 3)
        return SC_OK;
    sc_table grown = *table;
    grown.room = table->room == 0 ? ROOM_MIN : table->room * 2;
    grown.slots = calloc(grown.room, sizeof *grown.slots);
    if (grown.slots == NULL)
        return SC_NO_MEMORY;
    if (grown.multiplier == 0)
        grown.multiplier = sc_random_u64() | 1;
    for (size_t i = 0; i < table->room; i++)
        if (table->slots[i].value != NULL)
            grown.slots[find(&grown, &table->slots[i].key)] = table->slots[i];
    free(table->slots);
    *table = grown;
    return SC_OK;
}

sc_status sc_table_put(sc_table *table, const sc_digest *key, void *value, void **old)
{
    assert(value != NULL);
    /* Replacing takes no slot, so it must not fail for want of one. */
    sc_status status = sc_table_get(table, key) == NULL ? grow(table) : SC_OK;
    if (status != SC_OK)
        return status;
    sc_table_slot *slot = &table->slots[find(table, key)];
    if (old != NULL)
        *old = slot->value;
    if (slot->value == NULL)
        table->used++;
    slot->key = *key;
    slot->value = value;
    return SC_OK;
}

/* Moves the followers of a probe chain back instead of leaving a tombstone, so that a table
 * that lives for months with a constant number of entries never degrades. */
static void close_gap(sc_table *table, size_t gap)
{
    size_t mask = table->room - 1;
    for (size_t at = (gap + 1) & mask; table->slots[at].value != NULL; at = (at + 1) & mask) {
        size_t home = home_of(table, &table->slots[at].key);
        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        table->slots[gap] = table->slots[at];
        gap = at;
    }
    table->slots[gap].value = NULL;
}

void *sc_table_remove(sc_table *table, const sc_digest *key)
{
    if (table->room == 0)
        return NULL;
    size_t at = find(table, key);
    void  *value = table->slots[at].value;
    if (value != NULL) {
        close_gap(table, at);
        table->used--;
    }
    return value;
}

void *sc_table_next(const sc_table *table, size_t *at)
{
    while (*at < table->room) {
        void *value = table->slots[(*at)++].value;
        if (value != NULL)
            return value;
    }
    return NULL;
}
