#include "src/store/redis/slots.h"

#include <stdio.h>
#include <string.h>

/* Numbers up to here reach every slot. */
enum { TAGS_MAX = 1 << 17 };

/* Four bits at a time. Every entry of memory passes here when slots move, so bit by bit would hold
 * the I/O thread up; a table for eight would not be in the cache when it is needed. */
static uint16_t take_nibble(uint16_t crc, unsigned nibble)
{
    static const uint16_t table[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5,
                                       0x60c6, 0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b,
                                       0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
    return (uint16_t)(crc << 4 ^ table[(crc >> 12 ^ nibble) & 15]);
}

static uint16_t crc16(sc_str text)
{
    uint16_t crc = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = (uint8_t)text.ptr[i];
        crc = take_nibble(take_nibble(crc, byte >> 4), byte & 15);
    }
    return crc;
}

uint16_t sc_slot_of(sc_str key)
{
    const char *open = key.len == 0 ? NULL : memchr(key.ptr, '{', key.len);
    const char *end = key.ptr + key.len;
    const char *close = open == NULL ? NULL : memchr(open, '}', (size_t)(end - open));

    if (close != NULL && close > open + 1)
        key = (sc_str){open + 1, (size_t)(close - open - 1)};
    return crc16(key) % SC_SLOTS;
}

size_t sc_slot_count(const sc_slot_set *set)
{
    size_t count = 0;
    for (size_t i = 0; i < sizeof set->bits; i++)
        count += (size_t)__builtin_popcount(set->bits[i]);
    return count;
}

bool sc_slot_tag_in(const sc_slot_set *set, int tag)
{
    char text[16];
    int  len = snprintf(text, sizeof text, "%d", tag);
    return sc_slot_in(set, sc_slot_of((sc_str){text, (size_t)len}));
}

int sc_slot_tag(const sc_slot_set *set)
{
    if (sc_slot_count(set) == 0)
        return -1;
    for (int tag = 0; tag < TAGS_MAX; tag++)
        if (sc_slot_tag_in(set, tag))
            return tag;
    return -1;
}
