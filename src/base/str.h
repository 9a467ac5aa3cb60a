/* str.h - a borrowed run of bytes: pointer and length, not NUL-terminated.
 *
 * Views never own; the comment beside a field says who does. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct {
    const char *ptr; /* may be NULL when len is 0 */
    size_t      len;
} sc_str;

#define SC_STR(literal) ((sc_str){(literal), sizeof(literal) - 1})

static inline sc_str sc_str_of(const char *text)
{
    return (sc_str){text, text == NULL ? 0 : strlen(text)};
}

static inline bool sc_str_equal(sc_str a, sc_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
