#include "src/base/table.h"

#include <assert.h>
#include <stdlib.h>

enum { ROOM_MIN = 16 };

void sc_table_fini(sc_table *table)
{
    free(table->slots);
    *table = (sc_table){0};
}

/* The slot that holds key, or the free one where it would go. Needs at least one free slot. */
static size_t find(const sc_table_slot *slots, size_t room, const sc_digest *key)
{
    size_t at = (size_t)sc_digest_u64(key) & (room - 1);
    while (slots[at].value != NULL && !sc_digest_equal(&slots[at].key, key))
        at = (at + 1) & (room - 1);
    return at;
}

void *sc_table_get(const sc_table *table, const sc_digest *key)
{
    return table->room == 0 ? NULL : table->slots[find(table->slots, table->room, key)].value;
}

static sc_status grow(sc_table *table)
{
    if ((table->used + 1) * 4 <= table->room * 3)
        return SC_OK;
    size_t         room = table->room == 0 ? ROOM_MIN : table->room * 2;
    sc_table_slot *slots = calloc(room, sizeof *slots);
    if (slots == NULL)
        return SC_NO_MEMORY;
    for (size_t i = 0; i < table->room; i++)
        if (table->slots[i].value != NULL)
            slots[find(slots, room, &table->slots[i].key)] = table->slots[i];
    free(table->slots);
    table->slots = slots;
    table->room = room;
    return SC_OK;
}

sc_status sc_table_put(sc_table *table, const sc_digest *key, void *value, void **old)
{
    assert(value != NULL);
    sc_status status = grow(table);
    if (status != SC_OK)
        return status;
    sc_table_slot *slot = &table->slots[find(table->slots, table->room, key)];
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
        size_t home = (size_t)sc_digest_u64(&table->slots[at].key) & mask;
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
    size_t at = find(table->slots, table->room, key);
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
