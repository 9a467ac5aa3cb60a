/* Why NFC and not NFKC: NFKC also joins what only looks alike ("2⁵" becomes "25"), and a
 * question answered with another's answer costs more than a miss.
 *
 * Why utf8proc's characters and not its utf8proc_map(): that sorts the accents of one letter
 * with a quadratic algorithm, and 64 KiB of accents take it seconds. Here a run of more than
 * 30 gets a joiner (the Stream-Safe Text Format of UAX 15), so every sort is short. It also
 * takes its memory from malloc; this takes it from the request's arena. */
#include "src/prompt/fold.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { MARKS_MAX = 30, JOINER = 0x034F, EXPANSION_MAX = 32, POINTS_ON_STACK = 512 };

/* Room for the code points of a text of n bytes: case folding and decomposition make at most
 * three of a two-byte character (U+0390), which leaves room for the joiners too. */
#define POINTS_FOR(n) ((n)*2 + EXPANSION_MAX)

/* ---- which characters ---- */

static bool is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

/* Control characters, soft hyphen, and what joins, separates or turns around other characters
 * without being seen. Variation selectors and tag characters stay: flags differ by them alone. */
static bool is_invisible(int32_t c)
{
    return c < ' ' || (c >= 0x7F && c <= 0x9F) || c == 0xAD || c == 0x61C || c == 0x180E ||
           (c >= 0x200B && c <= 0x200F) || (c >= 0x202A && c <= 0x202E) ||
           (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF;
}

static bool ends_sentence(int32_t c)
{
    static const int32_t marks[] = {
        '!',    ',',    '.',    ':',    ';',    '?',    0xA1,   0xBF,   0x387,  0x589,
        0x60C,  0x61B,  0x61F,  0x6D4,  0x964,  0x965,  0x2025, 0x2026, 0x203C, 0x203D,
        0x2047, 0x2048, 0x2049, 0x3001, 0x3002, 0xFF01, 0xFF0C, 0xFF0E, 0xFF1A, 0xFF1B,
        0xFF1F, 0xFF61, 0xFF64,
    };
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (marks[i] == c)
            return true;
    return false;
}

/* ---- ASCII, which most prompts are ---- */

static bool is_ascii(sc_str text)
{
    unsigned char seen = 0;
    for (size_t i = 0; i < text.len; i++)
        seen |= (unsigned char)text.ptr[i];
    return seen < 0x80;
}

static size_t fold_ascii(sc_str text, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c | 0x20);
        else if (is_space(c))
            c = ' ';
        else if (is_invisible(c))
            continue;
        out[used++] = c;
    }
    return used;
}

/* ---- everything else ---- */

typedef struct {
    int32_t *at; /* [used] */
    size_t   used;
    size_t   marks; /* length of the run of accents at the end */
} points;

static int accent_class(int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

/* Accents of one letter are stored in the order of their classes, equal classes as written. */
static void add_point(points *out, int32_t c)
{
    int class = accent_class(c);
    if (class != 0 && out->marks == MARKS_MAX) {
        out->at[out->used++] = JOINER;
        out->marks = 0;
    }
    size_t to = out->used++;
    if (class == 0) {
        out->marks = 0;
    } else {
        for (size_t i = 0; i < out->marks && accent_class(out->at[to - 1]) > class; i++, to--)
            out->at[to] = out->at[to - 1];
        out->marks++;
    }
    out->at[to] = c;
}

static void decompose(int32_t c, points *out)
{
    int32_t parts[EXPANSION_MAX];
    int     border = 0;
    ssize_t count = utf8proc_decompose_char(c, parts, EXPANSION_MAX,
                                            UTF8PROC_CASEFOLD | UTF8PROC_COMPOSE, &border);
    if (count <= 0 || count > EXPANSION_MAX) {
        add_point(out, c);
        return;
    }
    for (ssize_t i = 0; i < count; i++)
        add_point(out, parts[i]);
}

/* What most characters are, even in texts of other languages: no table is asked. */
static void add_ascii(points *out, int32_t c)
{
    if (c >= 'A' && c <= 'Z')
        c |= 0x20;
    else if (is_space(c))
        c = ' ';
    else if (is_invisible(c))
        return;
    out->at[out->used++] = c;
    out->marks = 0;
}

static void decompose_text(sc_str text, points *out)
{
    const utf8proc_uint8_t *in = (const utf8proc_uint8_t *)text.ptr;
    for (size_t at = 0; at < text.len;) {
        if (in[at] < 0x80) {
            add_ascii(out, in[at++]);
            continue;
        }
        int32_t c;
        ssize_t n = utf8proc_iterate(in + at, (ssize_t)(text.len - at), &c);
        at += n > 0 ? (size_t)n : 1;
        if (n <= 0)
            continue; /* the caller has checked; skipped rather than trusted */
        if (is_space(c))
            add_point(out, ' ');
        else if (!is_invisible(c))
            decompose(c, out);
    }
}

static size_t encode(const points *in, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < in->used; i++) {
        utf8proc_uint8_t bytes[4];
        size_t           n = (size_t)utf8proc_encode_char(in->at[i], bytes);
        if (out != NULL)
            memcpy(out + used, bytes, n);
        used += n;
    }
    return used;
}

static sc_status fold_unicode(sc_str text, sc_arena *arena, sc_str *out)
{
    int32_t on_stack[POINTS_ON_STACK];
    size_t  room = POINTS_FOR(text.len);
    points  all = {on_stack, 0, 0};
    if (room > POINTS_ON_STACK)
        all.at = malloc(room * sizeof *all.at);
    if (all.at == NULL)
        return SC_NO_MEMORY;
    sc_status status = SC_NO_MEMORY;
    decompose_text(text, &all);
    ssize_t composed = utf8proc_normalize_utf32(all.at, (ssize_t)all.used,
                                                UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    all.used = composed < 0 ? 0 : (size_t)composed;
    size_t len = encode(&all, NULL);
    char  *bytes = sc_arena_alloc(arena, len + 1);
    if (bytes != NULL) {
        encode(&all, bytes);
        bytes[len] = '\0';
        *out = (sc_str){bytes, len};
        status = SC_OK;
    }
    if (all.at != on_stack)
        free(all.at);
    return status;
}

sc_status sc_fold(sc_str text, sc_arena *arena, sc_str *out)
{
    if (!is_ascii(text))
        return fold_unicode(text, arena, out);
    char *bytes = sc_arena_alloc(arena, text.len + 1);
    if (bytes == NULL)
        return SC_NO_MEMORY;
    size_t len = fold_ascii(text, bytes);
    bytes[len] = '\0';
    *out = (sc_str){bytes, len};
    return SC_OK;
}

/* ---- after folding: the only white space is ' ' ---- */

sc_str sc_fold_spaces(char *text, size_t len)
{
    size_t used = 0;
    for (size_t i = 0; i < len; i++)
        if (text[i] != ' ' || (used != 0 && text[used - 1] != ' '))
            text[used++] = text[i];
    if (used != 0 && text[used - 1] == ' ')
        used--;
    if (used < len)
        text[used] = '\0';
    return (sc_str){text, used};
}

/* Where the last character begins. */
static size_t last_start(sc_str text)
{
    size_t at = text.len - 1;
    while (at > 0 && ((unsigned char)text.ptr[at] & 0xC0) == 0x80)
        at--;
    return at;
}

sc_str sc_fold_end(sc_str text)
{
    while (text.len != 0) {
        size_t  at = last_start(text);
        int32_t c = ' ';
        utf8proc_iterate((const utf8proc_uint8_t *)text.ptr + at, (ssize_t)(text.len - at), &c);
        if (c != ' ' && !ends_sentence(c))
            break;
        text.len = at;
    }
    return text;
}
