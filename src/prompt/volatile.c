/* The built-in patterns lean to the safe side in opposite directions. What is ignored by
 * default (dates and times) must stand alone: in "order 2025-01-15-4711" or
 * "report_2025-01-15.pdf" it is part of a name. What must match by default (UUIDs, numbers) is
 * taken wherever it stands, so a date that is not one lands there and is compared. Classes are
 * applied in order, each to what the earlier ones left.
 *
 * Patterns see folded text: lower case, single spaces. None can backtrack far: each repetition
 * is bounded or followed by something that it cannot itself match. */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "src/prompt/volatile.h"

#include <pcre2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define DATE "(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\\d|3[01])"
#define DATE_BASIC "(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\\d|3[01])"
#define CLOCK "[012]\\d:[0-5]\\d(?::[0-6]\\d(?:[.,]\\d{1,9})?)?"
#define ZONE "(?: ?(?:z|utc|gmt)| ?[-+]\\d\\d(?::?\\d\\d)?)?"

static const char *const builtin[SC_VOLATILE_CLASSES] = {
    [SC_VOLATILE_TIME] = "(?<![\\w./\\\\=+-])"
                         "(?:\\d{4}-" DATE "(?:[t ]" CLOCK ZONE ")?"
                         "|\\d{4}" DATE_BASIC "t[012]\\d[0-5]\\d[0-6]\\d(?:z|[-+]\\d{4})?)"
                         "(?![\\w/\\\\=-])(?![.:]\\w)",
    [SC_VOLATILE_UUID] = "(?<![0-9a-f])(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
                         "|[0-9a-f]{32})(?![0-9a-f])",
    /* Six digits or more, with single separators between them, or groups as on cards and phones. */
    [SC_VOLATILE_NUMBER] = "(?:(?<!\\w)[-+\\x{2212}])?"
                           "(?:(?=(?:\\d[-.,]?){6})\\d+(?:[-.,]\\d+){0,15}(?:e[-+]?\\d+)?"
                           "|(?<!\\d)\\d{1,4}(?: \\d{3,4}){2,15}(?!\\d))",
};

static const char *const class_names[SC_VOLATILE_CLASSES] = {"time", "uuid", "number"};

enum { STACK_BYTES_MIN = 32 * 1024, STACK_BYTES_MAX = 1024 * 1024, HEAP_KIB_MAX = 4096 };

/* PCRE2 counts its limit anew at each start position, so the product with the length bounds the
 * work on one text: some 0.3 s for the worst pattern and prompt. */
enum { STEPS_MAX = 16 * 1000 * 1000, STEPS_MIN = 1000 };

struct sc_matcher {
    pcre2_code *codes[SC_VOLATILE_CLASSES];   /* NULL: the class is off */
    bool        builtin[SC_VOLATILE_CLASSES]; /* may be passed over by traits */
};

/* ---- what a thread needs to match, made at its first match ---- */

typedef struct {
    pcre2_match_data    *data;
    pcre2_match_context *context;
    pcre2_jit_stack     *stack;
} bench;

static pthread_once_t bench_once = PTHREAD_ONCE_INIT;
static pthread_key_t  bench_key;

static void bench_free(void *memory)
{
    bench *b = memory;
    if (b == NULL)
        return;
    pcre2_match_data_free(b->data);
    pcre2_match_context_free(b->context);
    pcre2_jit_stack_free(b->stack);
    free(b);
}

static void bench_key_make(void)
{
    if (pthread_key_create(&bench_key, bench_free) != 0)
        abort();
}

static bench *bench_get(void)
{
    pthread_once(&bench_once, bench_key_make);
    bench *b = pthread_getspecific(bench_key);
    if (b != NULL)
        return b;
    b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->data = pcre2_match_data_create(1, NULL);
    b->context = pcre2_match_context_create(NULL);
    b->stack = pcre2_jit_stack_create(STACK_BYTES_MIN, STACK_BYTES_MAX, NULL);
    if (b->data == NULL || b->context == NULL || pthread_setspecific(bench_key, b) != 0) {
        bench_free(b);
        return NULL;
    }
    pcre2_set_heap_limit(b->context, HEAP_KIB_MAX);
    if (b->stack != NULL) /* not to be had without JIT */
        pcre2_jit_stack_assign(b->context, NULL, b->stack);
    return b;
}

static void bench_limit(bench *b, size_t len)
{
    size_t steps = STEPS_MAX / (len + 1);
    if (steps < STEPS_MIN)
        steps = STEPS_MIN;
    pcre2_set_match_limit(b->context, (uint32_t)steps);
    pcre2_set_depth_limit(b->context, (uint32_t)steps);
}

/* ---- patterns ---- */

static bool is_off(const char *pattern)
{
    return pattern[0] == '\0' || strcmp(pattern, "off") == 0;
}

static sc_status compile(const char *pattern, unsigned cls, pcre2_code **out, sc_error *error)
{
    int        code = 0;
    PCRE2_SIZE at = 0;
    *out = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                         PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    if (*out != NULL) {
        pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* without JIT it is slower, and as right */
        return SC_OK;
    }
    PCRE2_UCHAR text[120];
    pcre2_get_error_message(code, text, sizeof text);
    return sc_fail(error, SC_INVALID, "pattern of the volatile class %s, at offset %zu: %s",
                   class_names[cls], (size_t)at, (const char *)text);
}

sc_status sc_matcher_open(const char *const patterns[SC_VOLATILE_CLASSES], sc_matcher **out,
                          sc_error *error)
{
    sc_status   status = SC_OK;
    sc_matcher *matcher = calloc(1, sizeof *matcher);
    *out = NULL;
    if (matcher == NULL)
        return SC_NO_MEMORY;
    for (unsigned cls = 0; cls < SC_VOLATILE_CLASSES && status == SC_OK; cls++) {
        const char *pattern = patterns[cls] == NULL ? builtin[cls] : patterns[cls];
        matcher->builtin[cls] = patterns[cls] == NULL;
        if (!is_off(pattern))
            status = compile(pattern, cls, &matcher->codes[cls], error);
    }
    if (status == SC_OK) {
        *out = matcher;
        matcher = NULL;
    }
    sc_matcher_close(matcher);
    return status;
}

void sc_matcher_close(sc_matcher *matcher)
{
    if (matcher == NULL)
        return;
    for (unsigned cls = 0; cls < SC_VOLATILE_CLASSES; cls++)
        pcre2_code_free(matcher->codes[cls]);
    free(matcher);
}

/* ---- matching ---- */

/* What a text has of what the built-in patterns need. Most questions have none of it, and this
 * look costs a tenth of the three patterns' (3 µs for 90 bytes). */
typedef struct {
    bool digit; /* or a byte of some other script's */
    bool hex_run;
} traits;

/* First bytes of UTF-8 characters among which there are digits (Nd) of some script. Not those of
 * Latin, Greek, Cyrillic, Hebrew, CJK and Hangul letters and of typographic punctuation. */
static bool leads_digits(unsigned char c)
{
    return (c >= 0xD9 && c <= 0xE1) || c == 0xEA || c >= 0xEF;
}

static bool is_hex(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static traits traits_of(sc_str text)
{
    enum { RUN = 8 };
    traits   seen = {false, false};
    unsigned run = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        seen.digit |= (c >= '0' && c <= '9') || leads_digits(c);
        run = is_hex(c) ? run + 1 : 0;
        seen.hex_run |= run >= RUN;
    }
    return seen;
}

static bool worth_trying(const sc_matcher *matcher, unsigned cls, traits has)
{
    if (matcher->codes[cls] == NULL)
        return false;
    if (!matcher->builtin[cls])
        return true;
    return cls == SC_VOLATILE_UUID ? has.hex_run : has.digit;
}

typedef struct {
    size_t start, end; /* start == end: nothing */
} range;

static sc_status next_match(const pcre2_code *code, bench *b, const char *text, size_t len,
                            size_t from, range *found, sc_error *error)
{
    *found = (range){len, len};
    int rc = pcre2_match(code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                         b->data, b->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return SC_OK;
    if (rc == PCRE2_ERROR_NOMEMORY)
        return SC_NO_MEMORY;
    if (rc < 0)
        return sc_fail(error, SC_TOO_LARGE,
                       "a volatile pattern needs more than its limit of steps on this prompt");
    const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(b->data);
    /* \K in a setting's pattern can move the start; never before `from` for us. */
    if (ovector[1] > ovector[0] && ovector[0] >= from)
        *found = (range){ovector[0], ovector[1]};
    return SC_OK;
}

static sc_status list_add(sc_volatile_list *list, sc_arena *arena, sc_volatile value)
{
    if (list->used == list->room) {
        size_t       room = list->room == 0 ? 8 : list->room * 2;
        sc_volatile *grown = sc_arena_alloc(arena, room * sizeof *grown);
        if (grown == NULL)
            return SC_NO_MEMORY;
        if (list->used != 0)
            memcpy(grown, list->at, list->used * sizeof *grown);
        list->at = grown;
        list->room = room;
    }
    list->at[list->used++] = value;
    return SC_OK;
}

static sc_status take_class(const sc_matcher *matcher, unsigned cls, bench *b, sc_str text,
                            char *work, sc_arena *arena, sc_volatile_list *list, sc_error *error)
{
    range found = {0, 0};
    while (found.end < text.len) {
        sc_status status =
            next_match(matcher->codes[cls], b, work, text.len, found.end, &found, error);
        if (status != SC_OK || found.start == found.end)
            return status;
        sc_str value = {text.ptr + found.start, found.end - found.start};
        status = list_add(list, arena, (sc_volatile){(sc_volatile_class)cls, value});
        if (status != SC_OK)
            return status;
        memset(work + found.start, ' ', value.len);
    }
    return SC_OK;
}

static int by_place(const void *a, const void *b)
{
    const char *left = ((const sc_volatile *)a)->text.ptr;
    const char *right = ((const sc_volatile *)b)->text.ptr;
    return (left > right) - (left < right);
}

sc_status sc_matcher_take(const sc_matcher *matcher, sc_str text, char *work, sc_arena *arena,
                          sc_volatile_list *list, sc_error *error)
{
    sc_status status = SC_OK;
    size_t    before = list->used;
    bench    *b = bench_get();
    if (b == NULL)
        return SC_NO_MEMORY;
    traits has = traits_of(text);
    bench_limit(b, text.len);
    for (unsigned cls = 0; cls < SC_VOLATILE_CLASSES && status == SC_OK; cls++)
        if (worth_trying(matcher, cls, has))
            status = take_class(matcher, cls, b, text, work, arena, list, error);
    if (status == SC_OK && list->used - before > 1)
        qsort(list->at + before, list->used - before, sizeof *list->at, by_place);
    return status;
}

sc_status sc_matcher_look(const sc_matcher *matcher, sc_str text, bool *found, sc_error *error)
{
    sc_status status = SC_OK;
    bench    *b = bench_get();
    *found = false;
    if (b == NULL)
        return SC_NO_MEMORY;
    traits has = traits_of(text);
    bench_limit(b, text.len);
    for (unsigned cls = 0; cls < SC_VOLATILE_CLASSES && status == SC_OK && !*found; cls++) {
        range any = {0, 0};
        if (worth_trying(matcher, cls, has) && text.len != 0)
            status = next_match(matcher->codes[cls], b, text.ptr, text.len, 0, &any, error);
        *found = any.end > any.start;
    }
    return status;
}
