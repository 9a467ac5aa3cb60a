#include "src/text/base64.h"

#include <stdint.h>

/* 1 + the value of a digit; 0 for what is none, so that the gaps need no writing. A table, because
 * comparisons of what is as good as random cost a misprediction each: 2 µs against 30 for the
 * 8 KB of a vector of 1536. */
#define D(c, value) [c] = (value) + 1
#define D4(c, value) D(c, value), D(c + 1, value + 1), D(c + 2, value + 2), D(c + 3, value + 3)
#define D26(c, value)                                                                              \
    D4(c, value), D4(c + 4, value + 4), D4(c + 8, value + 8), D4(c + 12, value + 12),              \
        D4(c + 16, value + 16), D4(c + 20, value + 20), D(c + 24, value + 24), D(c + 25, value + 25)

static const uint8_t digits_plus_1[256] = {
    D26('A', 0), D26('a', 26), D4('0', 52), D4('4', 56), D('8', 60), D('9', 61), D('+', 62), D('/', 63),
};

static sc_str without_padding(sc_str text)
{
    for (int i = 0; i < 2 && text.len != 0 && text.ptr[text.len - 1] == '='; i++)
        text.len--;
    return text;
}

size_t sc_base64_decoded_len(sc_str text)
{
    return without_padding(text).len / 4 * 3 + without_padding(text).len % 4 * 3 / 4;
}

/* Up to four digits from p as the upper bits of 24; false when one is none. */
static bool group(const char *p, size_t digits, uint32_t *bits)
{
    *bits = 0;
    for (size_t i = 0; i < 4; i++) {
        uint8_t value = i < digits ? digits_plus_1[(unsigned char)p[i]] : 1;
        if (value == 0)
            return false;
        *bits = *bits << 6 | (uint32_t)(value - 1);
    }
    return true;
}

/* The groups of four that are whole; false when something in them is no digit. */
static bool decode_whole(const char *p, size_t groups, uint8_t *to)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < groups; i++, p += 4, to += 3) {
        uint32_t a = digits_plus_1[(unsigned char)p[0]] - 1u;
        uint32_t b = digits_plus_1[(unsigned char)p[1]] - 1u;
        uint32_t c = digits_plus_1[(unsigned char)p[2]] - 1u;
        uint32_t d = digits_plus_1[(unsigned char)p[3]] - 1u;
        uint32_t bits = a << 18 | b << 12 | c << 6 | d;
        bad |= a | b | c | d; /* no digit: all bits set */
        to[0] = (uint8_t)(bits >> 16);
        to[1] = (uint8_t)(bits >> 8);
        to[2] = (uint8_t)bits;
    }
    return bad < 64;
}

bool sc_base64_decode(sc_str text, void *out, size_t len)
{
    text = without_padding(text);
    if (text.len % 4 == 1 || sc_base64_decoded_len(text) != len)
        return false;
    size_t   whole = text.len / 4;
    uint8_t *to = (uint8_t *)out + 3 * whole;
    if (!decode_whole(text.ptr, whole, out))
        return false;
    for (size_t at = 4 * whole; at < text.len; at += 4) {
        size_t   digits = text.len - at < 4 ? text.len - at : 4;
        uint32_t bits;
        if (!group(text.ptr + at, digits, &bits))
            return false;
        for (size_t i = 0; i + 1 < digits; i++)
            *to++ = (uint8_t)(bits >> (16 - 8 * i));
    }
    return true;
}
