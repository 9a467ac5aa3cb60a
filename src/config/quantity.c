#include "src/config/quantity.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef enum { TIME, BYTES } kind;

typedef struct {
    kind        kind;
    const char *word;
    int64_t     factor; /* microseconds or bytes */
} suffix;

/* Largest first within a kind: the order in which sc_quantity_show tries them. */
static const suffix suffixes[] = {
    {TIME, "d", 86400000000},
    {TIME, "h", 3600000000},
    {TIME, "m", 60000000},
    {TIME, "s", 1000000},
    {TIME, "ms", 1000},
    {TIME, "us", 1},
    {BYTES, "TiB", 1LL << 40},
    {BYTES, "TB", 1000000000000},
    {BYTES, "GiB", 1LL << 30},
    {BYTES, "GB", 1000000000},
    {BYTES, "MiB", 1LL << 20},
    {BYTES, "MB", 1000000},
    {BYTES, "KiB", 1LL << 10},
    {BYTES, "kB", 1000},
    {BYTES, "B", 1},
    {BYTES, "bytes", 1},
};
enum { SUFFIXES_COUNT = sizeof suffixes / sizeof suffixes[0] };

static const suffix *find_suffix(sc_str word)
{
    for (size_t i = 0; i < SUFFIXES_COUNT; i++)
        if (sc_str_equal(word, sc_str_of(suffixes[i].word)))
            return &suffixes[i];
    return NULL;
}

/* Length of an optional sign and the digits behind it; 0 when there is no digit. */
static size_t number_len(sc_str text)
{
    size_t sign = text.len != 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
    size_t at = sign;
    while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9')
        at++;
    return at == sign ? 0 : at;
}

static sc_status read_number(sc_str digits, int64_t *out)
{
    bool    negative = digits.ptr[0] == '-';
    int64_t value = 0;
    for (size_t i = negative || digits.ptr[0] == '+'; i < digits.len; i++) {
        int digit = digits.ptr[i] - '0';
        if (__builtin_mul_overflow(value, (int64_t)10, &value) ||
            __builtin_add_overflow(value, (int64_t)(negative ? -digit : digit), &value))
            return SC_TOO_LARGE;
    }
    *out = value;
    return SC_OK;
}

sc_status sc_quantity_parse(sc_str text, const char *unit, int64_t *out)
{
    int64_t   value;
    size_t    len = number_len(text);
    sc_status status = len == 0 ? SC_INVALID : read_number((sc_str){text.ptr, len}, &value);
    if (status != SC_OK)
        return status;
    if (len == text.len) {
        *out = value;
        return SC_OK;
    }
    const suffix *own = find_suffix(sc_str_of(unit));
    const suffix *given = find_suffix((sc_str){text.ptr + len, text.len - len});
    if (own == NULL || given == NULL || own->kind != given->kind)
        return SC_INVALID;
    if (__builtin_mul_overflow(value, given->factor, &value))
        return SC_TOO_LARGE;
    if (value % own->factor != 0)
        return SC_INVALID;
    *out = value / own->factor;
    return SC_OK;
}

bool sc_quantity_has_suffix(const char *unit)
{
    return find_suffix(sc_str_of(unit)) != NULL;
}

void sc_quantity_show(int64_t value, const char *unit, char *out)
{
    const suffix *own = find_suffix(sc_str_of(unit));
    int64_t       base;
    if (own == NULL || value == 0 || __builtin_mul_overflow(value, own->factor, &base)) {
        snprintf(out, SC_QUANTITY_BYTES, "%" PRId64, value);
        return;
    }
    for (size_t i = 0; i < SUFFIXES_COUNT; i++)
        if (suffixes[i].kind == own->kind && base % suffixes[i].factor == 0) {
            snprintf(out, SC_QUANTITY_BYTES, "%" PRId64 "%s", base / suffixes[i].factor,
                     suffixes[i].word);
            return;
        }
    snprintf(out, SC_QUANTITY_BYTES, "%" PRId64, value);
}
