#include "src/prompt/figures.h"

#include <stdbool.h>
#include <string.h>

#include "src/prompt/words.h"

static bool may_have_digits(sc_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((text.ptr[i] >= '0' && text.ptr[i] <= '9') || (unsigned char)text.ptr[i] >= 0x80)
            return true;
    return false;
}

static bool is_sign(char c)
{
    return c > ' ' && c < 0x7F && !(c >= 'a' && c <= 'z');
}

/* Copies the signs between two figures if there is nothing else but spaces: "2 + 3", "3.11". */
static char *put_signs(char *out, const char *end, const char *start)
{
    char *signs = out;
    for (; end < start; end++) {
        if (*end != ' ' && !is_sign(*end))
            return signs;
        if (*end != ' ')
            *out++ = *end;
    }
    return out;
}

/* "-5" behind a word or at the start; in "covid-19" it is a hyphen. */
static bool has_own_sign(sc_str text, const char *start)
{
    size_t at = (size_t)(start - text.ptr);
    return at != 0 && (start[-1] == '-' || start[-1] == '+') && (at == 1 || start[-2] == ' ');
}

static char *put_border(char *out, sc_str text, const char *end, const char *start)
{
    char *after = end == NULL ? out : put_signs(out, end, start);
    if (after != out)
        return after;
    *out++ = ' ';
    if (has_own_sign(text, start))
        *out++ = start[-1];
    return out;
}

sc_str sc_figures(sc_str text, sc_arena *arena)
{
    sc_word     word;
    sc_str      rest = text;
    const char *end = NULL;
    if (!may_have_digits(text))
        return SC_STR("");
    char *figures = sc_arena_alloc(arena, text.len + 2);
    char *out = figures;
    if (figures == NULL)
        return (sc_str){NULL, 0};
    while (sc_word_next(&rest, &word)) {
        if (!word.figure)
            continue;
        out = put_border(out, text, end, word.text.ptr);
        memcpy(out, word.text.ptr, word.text.len);
        out += word.text.len;
        end = word.text.ptr + word.text.len;
    }
    return (sc_str){figures, (size_t)(out - figures)};
}
