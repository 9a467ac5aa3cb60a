#include "src/config/value.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/config/quantity.h"

enum { TEXT_BYTES_MAX = 4096, SHOWN_BYTES_MAX = 80, LINE_BYTES_MAX = 1024 };

/* ---- reading ---- */

static sc_status read_real(const char *text, double *out)
{
    char *end = NULL;
    /* strtod also takes blanks, hexadecimal, "inf" and "nan". */
    if (text[strspn(text, "+-.0123456789eE")] != '\0' || text[0] == '\0')
        return SC_INVALID;
    *out = strtod(text, &end);
    return *end == '\0' && isfinite(*out) ? SC_OK : SC_INVALID;
}

static sc_status read_bool(const char *text, bool *out)
{
    static const char *const words[2][4] = {{"false", "no", "off", "0"},
                                            {"true", "yes", "on", "1"}};
    for (size_t yes = 0; yes < 2; yes++)
        for (size_t i = 0; i < 4; i++)
            if (strcasecmp(text, words[yes][i]) == 0) {
                *out = yes == 1;
                return SC_OK;
            }
    return SC_INVALID;
}

static sc_status read_choice(const char *choices, const char *text, int64_t *out)
{
    size_t len = strlen(text);
    for (*out = 0; choices != NULL; (*out)++) {
        const char *bar = strchr(choices, '|');
        size_t      word = bar == NULL ? strlen(choices) : (size_t)(bar - choices);
        if (word == len && strncasecmp(choices, text, len) == 0)
            return SC_OK;
        choices = bar == NULL ? NULL : bar + 1;
    }
    return SC_INVALID;
}

/* ---- writing ---- */

static void write_integer(void *field, size_t size, int64_t value)
{
    uint64_t bits = (uint64_t)value;
    uint8_t  u8 = (uint8_t)bits;
    uint16_t u16 = (uint16_t)bits;
    uint32_t u32 = (uint32_t)bits;
    switch (size) {
    case 1:
        memcpy(field, &u8, size);
        break;
    case 2:
        memcpy(field, &u16, size);
        break;
    case 4:
        memcpy(field, &u32, size);
        break;
    default:
        assert(size == 8);
        memcpy(field, &bits, size);
    }
}

static sc_status store_integer(const sc_setting *row, const char *text, void *field)
{
    int64_t value;
    assert(row->min < row->max);
    sc_status status = sc_quantity_parse(sc_str_of(text), row->unit, &value);
    if (status != SC_OK)
        return status;
    if ((double)value < row->min || (double)value > row->max)
        return SC_TOO_LARGE;
    write_integer(field, row->size, value);
    return SC_OK;
}

static sc_status store_real(const sc_setting *row, const char *text, void *field)
{
    double value;
    assert(row->size == sizeof value && row->min < row->max);
    sc_status status = read_real(text, &value);
    if (status != SC_OK)
        return status;
    if (value < row->min || value > row->max)
        return SC_TOO_LARGE;
    memcpy(field, &value, sizeof value);
    return SC_OK;
}

static sc_status store_bool(const sc_setting *row, const char *text, void *field)
{
    bool value;
    assert(row->size == sizeof value);
    sc_status status = read_bool(text, &value);
    if (status == SC_OK)
        memcpy(field, &value, sizeof value);
    return status;
}

static sc_status store_choice(const sc_setting *row, const char *text, void *field)
{
    int64_t   value;
    sc_status status = read_choice(row->choices, text, &value);
    if (status == SC_OK)
        write_integer(field, row->size, value);
    return status;
}

static sc_status store_text(const sc_setting *row, const char *text, void *field)
{
    assert(row->size == sizeof text);
    size_t max = row->max > 0 ? (size_t)row->max : TEXT_BYTES_MAX;
    if (text != NULL && strlen(text) > max)
        return SC_TOO_LARGE;
    memcpy(field, &text, sizeof text);
    return SC_OK;
}

static sc_status store(const sc_setting *row, const char *text, void *field)
{
    if (row->type == SC_SETTING_TEXT || row->type == SC_SETTING_SECRET)
        return store_text(row, text, field);
    if (text == NULL) {
        memset(field, 0, row->size);
        return SC_OK;
    }
    switch (row->type) {
    case SC_SETTING_INT:
        return store_integer(row, text, field);
    case SC_SETTING_REAL:
        return store_real(row, text, field);
    case SC_SETTING_BOOL:
        return store_bool(row, text, field);
    case SC_SETTING_CHOICE:
        return store_choice(row, text, field);
    case SC_SETTING_TEXT:
    case SC_SETTING_SECRET:
        break;
    }
    return SC_INTERNAL;
}

/* ---- saying ---- */

static const char *kind_of(const sc_setting *row)
{
    switch (row->type) {
    case SC_SETTING_INT:
        return "a whole number";
    case SC_SETTING_REAL:
        return "a number";
    case SC_SETTING_BOOL:
    case SC_SETTING_CHOICE:
        return "one of the words";
    case SC_SETTING_TEXT:
    case SC_SETTING_SECRET:
        break;
    }
    return "a text";
}

/* Control characters could forge a second line. */
static void show_cut(const char *text, size_t len, sc_buf *line)
{
    size_t shown = len < SHOWN_BYTES_MAX ? len : SHOWN_BYTES_MAX;
    for (size_t i = 0; i < shown; i++)
        sc_buf_byte(line, (unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i]);
    if (shown < len)
        sc_buf_str(line, SC_STR("..."));
}

/* scheme://user:password@host: the password is nobody's business. */
static const char *password_of(const char *text, size_t *len)
{
    const char *start = strstr(text, "://");
    if (start == NULL)
        return NULL;
    start += 3;
    size_t      host = strcspn(start, "/?#");
    const char *at = memrchr(start, '@', host);
    const char *colon = at == NULL ? NULL : memchr(start, ':', (size_t)(at - start));
    if (colon == NULL)
        return NULL;
    *len = (size_t)(at - colon - 1);
    return colon + 1;
}

void sc_value_show(const sc_setting *row, const char *text, sc_buf *line)
{
    size_t len = 0;
    if (text == NULL) {
        return;
    }
    if (row->type == SC_SETTING_SECRET) {
        sc_buf_str(line, SC_STR("set"));
        return;
    }
    const char *password = password_of(text, &len);
    if (password != NULL) {
        show_cut(text, (size_t)(password - text), line);
        sc_buf_str(line, SC_STR("***"));
        text = password + len;
    }
    show_cut(text, strlen(text), line);
}

static void show_number(const sc_setting *row, double value, sc_buf *line)
{
    char shown[SC_QUANTITY_BYTES];
    if (row->type == SC_SETTING_REAL) {
        sc_buf_printf(line, "%g", value);
    } else {
        sc_quantity_show((int64_t)value, row->unit, shown);
        sc_buf_printf(line, "%s", shown);
    }
}

void sc_value_default(const sc_setting *row, sc_buf *line)
{
    int64_t value;
    if (row->fallback == NULL)
        return;
    if (row->type == SC_SETTING_INT &&
        sc_quantity_parse(sc_str_of(row->fallback), row->unit, &value) == SC_OK)
        show_number(row, (double)value, line);
    else
        sc_buf_printf(line, "%s", row->fallback);
}

void sc_value_bounds(const sc_setting *row, sc_buf *line)
{
    switch (row->type) {
    case SC_SETTING_INT:
    case SC_SETTING_REAL:
        show_number(row, row->min, line);
        sc_buf_str(line, SC_STR(".."));
        show_number(row, row->max, line);
        if (row->unit[0] != '\0' && !sc_quantity_has_suffix(row->unit))
            sc_buf_printf(line, " %s", row->unit);
        break;
    case SC_SETTING_BOOL:
        sc_buf_str(line, SC_STR("true|false"));
        break;
    case SC_SETTING_CHOICE:
        sc_buf_printf(line, "%s", row->choices);
        break;
    case SC_SETTING_TEXT:
    case SC_SETTING_SECRET:
        break;
    }
}

static void complain(const sc_setting *row, const char *text, sc_status problem, sc_buf *line)
{
    bool is_text = row->type == SC_SETTING_TEXT || row->type == SC_SETTING_SECRET;
    sc_buf_printf(line, "%s", row->name);
    if (row->type != SC_SETTING_SECRET) {
        sc_buf_str(line, SC_STR("="));
        sc_value_show(row, text, line);
    }
    if (is_text) {
        sc_buf_printf(line, ": longer than %d bytes",
                      row->max > 0 ? (int)row->max : TEXT_BYTES_MAX);
        return;
    }
    if (problem == SC_TOO_LARGE)
        sc_buf_str(line, SC_STR(" is out of bounds: "));
    else
        sc_buf_printf(line, " is not %s: ", kind_of(row));
    sc_value_bounds(row, line);
    if (problem == SC_INVALID && sc_quantity_has_suffix(row->unit))
        sc_buf_printf(line, ", in whole %s", row->unit);
}

sc_status sc_value_store(const sc_setting *row, const char *text, void *options, sc_error *error)
{
    sc_status problem = store(row, text, (char *)options + row->offset);
    if (problem == SC_OK)
        return SC_OK;
    sc_buf line;
    sc_buf_init(&line, LINE_BYTES_MAX);
    complain(row, text, problem, &line);
    sc_fail(error, SC_INVALID, "%s", line.data == NULL ? row->name : line.data);
    sc_buf_fini(&line);
    return SC_INVALID;
}
