#include "src/embed/scan.h"

#include <math.h>
#include <string.h>

enum { DEPTH_MAX = 32, DIGITS_MAX = 19, EXPONENT_MAX = 400 };

static void skip_blanks(sc_scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t'))
        scan->at++;
}

char sc_scan_peek(sc_scan *scan)
{
    skip_blanks(scan);
    return scan->at < scan->end ? *scan->at : '\0';
}

bool sc_scan_char(sc_scan *scan, char c)
{
    if (sc_scan_peek(scan) != c || scan->at == scan->end)
        return false;
    scan->at++;
    return true;
}

bool sc_scan_end(sc_scan *scan)
{
    skip_blanks(scan);
    return scan->at == scan->end;
}

/* ---- strings ---- */

/* Is the quote at `at` escaped: does an odd number of backslashes stand before it? */
static bool is_escaped(const char *from, const char *at)
{
    size_t slashes = 0;
    while (at > from && at[-1] == '\\') {
        slashes++;
        at--;
    }
    return slashes % 2 == 1;
}

bool sc_scan_string(sc_scan *scan, sc_str *out)
{
    if (!sc_scan_char(scan, '"'))
        return false;
    const char *from = scan->at;
    for (const char *at = from; at < scan->end; at++) {
        at = memchr(at, '"', (size_t)(scan->end - at));
        if (at == NULL)
            return false;
        if (is_escaped(from, at))
            continue;
        *out = (sc_str){from, (size_t)(at - from)};
        scan->at = at + 1;
        return true;
    }
    return false;
}

/* ---- numbers ---- */

static bool is_digit(const sc_scan *scan)
{
    return scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9';
}

/* Digits beyond what 64 bits hold change nothing but the scale. Returns how many there were. */
static size_t take_digits(sc_scan *scan, uint64_t *value, int *used, int *dropped)
{
    size_t count = 0;
    for (; is_digit(scan); scan->at++, count++) {
        if (*used < DIGITS_MAX) {
            *value = *value * 10 + (uint64_t)(*scan->at - '0');
            *used += *value != 0;
        } else {
            ++*dropped;
        }
    }
    return count;
}

static bool take_exponent(sc_scan *scan, int *exponent)
{
    if (scan->at == scan->end || (*scan->at != 'e' && *scan->at != 'E'))
        return true;
    scan->at++;
    bool negative = scan->at < scan->end && *scan->at == '-';
    if (negative || (scan->at < scan->end && *scan->at == '+'))
        scan->at++;
    if (!is_digit(scan))
        return false;
    int value = 0;
    for (; is_digit(scan); scan->at++)
        value = value > EXPONENT_MAX ? value : value * 10 + (*scan->at - '0');
    *exponent += negative ? -value : value;
    return true;
}

static double scale(double value, int exponent)
{
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (exponent >= 0 && exponent <= 22)
        return value * tens[exponent];
    if (exponent < 0 && exponent >= -22)
        return value / tens[-exponent];
    return value * pow(10, exponent);
}

bool sc_scan_number(sc_scan *scan, double *out)
{
    uint64_t value = 0;
    int      used = 0, exponent = 0, ignored = 0;
    bool     negative = sc_scan_char(scan, '-');
    if (take_digits(scan, &value, &used, &exponent) == 0)
        return false;
    if (scan->at < scan->end && *scan->at == '.') {
        scan->at++;
        const char *from = scan->at;
        if (take_digits(scan, &value, &used, &ignored) == 0)
            return false;
        exponent -= (int)(scan->at - from) - ignored;
    }
    if (!take_exponent(scan, &exponent))
        return false;
    *out = scale((double)value, value == 0 ? 0 : exponent);
    if (negative)
        *out = -*out;
    return true;
}

bool sc_scan_index(sc_scan *scan, uint64_t *out)
{
    int used = 0, dropped = 0;
    *out = 0;
    skip_blanks(scan);
    if (take_digits(scan, out, &used, &dropped) == 0 || dropped != 0)
        return false;
    return scan->at == scan->end || strchr(".eE", *scan->at) == NULL || *scan->at == '\0';
}

/* ---- any value ---- */

/* A number, true, false or null: whatever stands up to the next border. */
static bool skip_word(sc_scan *scan)
{
    const char *from = scan->at;
    while (scan->at < scan->end && memchr(",]}[{\": \n\r\t", *scan->at, 11) == NULL)
        scan->at++;
    return scan->at > from;
}

static bool skip_scalar(sc_scan *scan)
{
    sc_str text;
    return sc_scan_peek(scan) == '"' ? sc_scan_string(scan, &text) : skip_word(scan);
}

/* Brackets must pair; colons and commas between values are not looked at. */
static bool skip_nested(sc_scan *scan)
{
    char   closing[DEPTH_MAX];
    size_t depth = 0;
    do {
        char c = sc_scan_peek(scan);
        if (c == '{' || c == '[') {
            if (depth == DEPTH_MAX)
                return false;
            closing[depth++] = c == '{' ? '}' : ']';
            scan->at++;
        } else if (c == '}' || c == ']') {
            if (depth == 0 || closing[--depth] != c)
                return false;
            scan->at++;
        } else if (c == ',' || c == ':') {
            scan->at++;
        } else if (!skip_scalar(scan)) {
            return false;
        }
    } while (depth > 0);
    return true;
}

/* A list of numbers has neither brackets nor quotes inside. */
static bool skip_flat_array(sc_scan *scan)
{
    size_t      left = (size_t)(scan->end - scan->at);
    const char *close = memchr(scan->at, ']', left);
    if (close == NULL)
        return false;
    size_t len = (size_t)(close - scan->at);
    if (memchr(scan->at + 1, '[', len - 1) != NULL || memchr(scan->at, '"', len) != NULL ||
        memchr(scan->at, '{', len) != NULL)
        return false;
    scan->at = close + 1;
    return true;
}

bool sc_scan_value(sc_scan *scan, sc_str *out)
{
    char        c = sc_scan_peek(scan);
    const char *from = scan->at;
    bool        good;
    if (c == '[')
        good = skip_flat_array(scan) || skip_nested(scan);
    else if (c == '{')
        good = skip_nested(scan);
    else
        good = skip_scalar(scan);
    *out = (sc_str){from, (size_t)(scan->at - from)};
    return good;
}

/* ---- objects and arrays ---- */

/* True: another element follows. */
static bool next(sc_scan *scan, char close, bool *first, bool *bad)
{
    *bad = false;
    if (sc_scan_char(scan, close))
        return false;
    if (!*first && !sc_scan_char(scan, ',')) {
        *bad = true;
        return false;
    }
    *first = false;
    return true;
}

bool sc_scan_member(sc_scan *scan, bool *first, sc_str *name, bool *bad)
{
    if (!next(scan, '}', first, bad))
        return false;
    *bad = !sc_scan_string(scan, name) || !sc_scan_char(scan, ':');
    return !*bad;
}

bool sc_scan_item(sc_scan *scan, bool *first, bool *bad)
{
    return next(scan, ']', first, bad);
}
