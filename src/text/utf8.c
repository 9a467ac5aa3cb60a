#include "src/text/utf8.h"

#include <stdint.h>

/* Bytes of the sequence at p (at most n are there), 0 when it is none. The table of well-formed
 * sequences is Unicode's 3-7. */
static size_t sequence(const unsigned char *p, size_t n)
{
    unsigned char first = p[0];
    unsigned char low = 0x80, high = 0xbf;
    size_t        len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first > 0xf4 || len == 0 || len > n)
        return 0;
    if (first == 0xe0)
        low = 0xa0;
    if (first == 0xed)
        high = 0x9f;
    if (first == 0xf0)
        low = 0x90;
    if (first == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < len; i++) {
        if (p[i] < low || p[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return len;
}

static bool eight_ascii(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return (word & 0x8080808080808080u) == 0;
}

bool sc_utf8_valid(sc_str text, size_t *bad)
{
    const unsigned char *p = (const unsigned char *)text.ptr;
    for (size_t at = 0; at < text.len;) {
        if (text.len - at >= 8 && eight_ascii(p + at)) {
            at += 8;
            continue;
        }
        size_t len = sequence(p + at, text.len - at);
        if (len == 0) {
            if (bad != NULL)
                *bad = at;
            return false;
        }
        at += len;
    }
    return true;
}

size_t sc_utf8_prefix(sc_str text, size_t bytes_max)
{
    if (text.len <= bytes_max)
        return text.len;
    size_t len = bytes_max;
    while (len > 0 && ((unsigned char)text.ptr[len] & 0xc0) == 0x80)
        len--;
    return len;
}
