#include "src/text/base64.h"

#include <stdint.h>

/* Value of a digit; 0xff for what is none. */
static uint8_t digit(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint8_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint8_t)(c - 'a' + 26);
    if (c >= '0' && c <= '9')
        return (uint8_t)(c - '0' + 52);
    return c == '+' ? 62 : c == '/' ? 63 : 0xff;
}

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
        uint8_t value = i < digits ? digit((unsigned char)p[i]) : 0;
        if (value == 0xff)
            return false;
        *bits = *bits << 6 | value;
    }
    return true;
}

bool sc_base64_decode(sc_str text, void *out, size_t len)
{
    uint8_t *to = out;
    text = without_padding(text);
    if (text.len % 4 == 1 || sc_base64_decoded_len(text) != len)
        return false;
    for (size_t at = 0; at < text.len; at += 4) {
        size_t   digits = text.len - at < 4 ? text.len - at : 4;
        uint32_t bits;
        if (!group(text.ptr + at, digits, &bits))
            return false;
        for (size_t i = 0; i + 1 < digits; i++)
            *to++ = (uint8_t)(bits >> (16 - 8 * i));
    }
    return true;
}
