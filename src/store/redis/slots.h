/* slots.h - which of a cluster's 16384 slots a key lies in, and sets of slots. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/base/str.h"

enum { SC_SLOTS = 16384 };

typedef struct {
    uint8_t bits[SC_SLOTS / 8];
} sc_slot_set;

/* CRC16 (XMODEM) of the key, or of what stands between its first { and the next }, if anything. */
uint16_t sc_slot_of(sc_str key);

static inline bool sc_slot_in(const sc_slot_set *set, uint16_t slot)
{
    return (set->bits[slot / 8] >> slot % 8 & 1) != 0;
}

static inline void sc_slot_add(sc_slot_set *set, uint16_t slot)
{
    set->bits[slot / 8] |= (uint8_t)(1 << slot % 8);
}

static inline void sc_slot_remove(sc_slot_set *set, uint16_t slot)
{
    set->bits[slot / 8] &= (uint8_t)~(1 << slot % 8);
}

size_t sc_slot_count(const sc_slot_set *set);

/* The least number n for which a key with the hash tag {n} lies in the set, as servers that know
 * the same table find the same one; -1 for none. */
int sc_slot_tag(const sc_slot_set *set);

/* Is {tag} in the set? */
bool sc_slot_tag_in(const sc_slot_set *set, int tag);
