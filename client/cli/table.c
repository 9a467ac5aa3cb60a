#include <stdio.h>

#include "client/cli/cli.h"

static bool is_continuation(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* Characters, which stand for columns here. */
static size_t columns(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += !is_continuation(*text);
    return count;
}

/* What a server sends must not move the cursor of whoever looks at it. */
static void put_shown(sc_buf *out, char byte)
{
    sc_buf_byte(out, (unsigned char)byte < 0x20 || byte == 0x7f ? ' ' : byte);
}

void cli_cell(sc_buf *out, const char *text, size_t width)
{
    size_t total = columns(text), used = 0;
    size_t room = total > width ? width - 1 : width;

    for (; *text != '\0'; text++) {
        if (!is_continuation(*text) && used++ == room) {
            used--;
            break;
        }
        put_shown(out, *text);
    }
    if (total > width) {
        sc_buf_str(out, SC_STR("…"));
        used++;
    }
    for (; used < width; used++)
        sc_buf_byte(out, ' ');
}

void cli_line(sc_buf *out, const char *text)
{
    for (; *text != '\0'; text++)
        put_shown(out, *text);
}

void cli_rule(sc_buf *out, size_t width)
{
    for (size_t i = 0; i < width; i++)
        sc_buf_str(out, SC_STR("─"));
    sc_buf_byte(out, '\n');
}

void cli_print(sc_buf *out)
{
    if (out->failed == SC_OK && out->len != 0)
        fwrite(out->data, 1, out->len, stdout);
    fflush(stdout);
    sc_buf_clear(out);
}
