#include "src/store/redis/slots.h"

#include <stdio.h>
#include <string.h>

/* Numbers up to here reach every slot. */
enum { TAGS_MAX = 1 << 17 };

static uint16_t crc16(sc_str text)
{
    uint16_t crc = 0;

    for (size_t i = 0; i < text.len; i++) {
        crc ^= (uint16_t)((uint8_t)text.ptr[i] << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)((crc & 0x8000) != 0 ? crc << 1 ^ 0x1021 : crc << 1);
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
