#include <jansson.h>
#include <pthread.h>
#include <stdio.h>

#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"

#include "src/base/random.h"
#include "src/prompt/canonical.h"
#include "src/prompt/figures.h"
#include "src/prompt/lexicon.h"

enum { ARENA_BYTES = 16 << 20 };

static const sc_canon_options defaults = {
    .match = {[SC_VOLATILE_UUID] = true, [SC_VOLATILE_NUMBER] = true},
    .match_figures = true,
    .match_denial = true,
    .match_direction = true,
};

static sc_canon *open_canon(const sc_canon_options *options)
{
    sc_canon *canon;
    sc_error  error = {0};
    if (sc_canon_open(options, &canon, &error) != SC_OK)
        fail_msg("%s", error.text);
    return canon;
}

static sc_canonical apply(const sc_canon *canon, sc_str prompt, sc_arena *arena)
{
    sc_canonical out;
    sc_error     error = {0};
    if (sc_canon_apply(canon, prompt, arena, &out, &error) != SC_OK)
        fail_msg("%s", error.text);
    assert_int_equal(out.text.ptr[out.text.len], '\0');
    return out;
}

/* ---- the published vectors ---- */

static const char *const class_names[] = {"time", "uuid", "number"};

static sc_str member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    assert_true(json_is_string(value));
    return (sc_str){json_string_value(value), json_string_length(value)};
}

static void assert_same(const char *name, const char *what, sc_str got, sc_str expected)
{
    if (!sc_str_equal(got, expected))
        fail_msg("%s: %s is \"%.*s\", not \"%.*s\"", name, what, (int)got.len, got.ptr,
                 (int)expected.len, expected.ptr);
}

static void check_vector(const sc_canon *canon, const json_t *vector)
{
    const char *name = member(vector, "name").ptr;
    char        guard[17];
    sc_arena    arena;
    sc_arena_init(&arena, ARENA_BYTES);
    sc_canonical  got = apply(canon, member(vector, "input"), &arena);
    const json_t *values = json_object_get(vector, "values");
    assert_same(name, "canonical text", got.text, member(vector, "canonical"));
    if (got.values_count != json_array_size(values))
        fail_msg("%s: %zu values, not %zu", name, got.values_count, json_array_size(values));
    for (size_t i = 0; i < got.values_count; i++) {
        const json_t *value = json_array_get(values, i);
        assert_same(name, "value", got.values[i].text, member(value, "text"));
        assert_same(name, "class", sc_str_of(class_names[got.values[i].cls]),
                    member(value, "class"));
    }
    snprintf(guard, sizeof guard, "%016llx", (unsigned long long)got.guard);
    assert_same(name, "guard", sc_str_of(guard), member(vector, "guard"));
    sc_arena_fini(&arena);
}

static json_t *load_vectors(void)
{
    json_error_t problem;
    json_t      *root = json_load_file("tests/data/canonical.json", 0, &problem);
    if (root == NULL)
        fail_msg("tests/data/canonical.json: %s", problem.text);
    return root;
}

static void check_vectors(const json_t *root, const sc_canon *canon)
{
    const json_t *vectors = json_object_get(root, "vectors");
    assert_true(json_array_size(vectors) >= 60);
    for (size_t i = 0; i < json_array_size(vectors); i++)
        check_vector(canon, json_array_get(vectors, i));
}

/* A client in another language would compute another key than we do. */
static void the_published_vectors_hold(void **state)
{
    (void)state;
    json_t   *root = load_vectors();
    sc_canon *canon = open_canon(&defaults);
    check_vectors(root, canon);
    sc_canon_close(canon);
    json_decref(root);
}

/* Patterns in the file that are not ours would mislead; and those of a setting must act alike. */
static void the_published_patterns_do_the_same(void **state)
{
    (void)state;
    json_t          *root = load_vectors();
    const json_t    *patterns = json_object_get(root, "patterns");
    sc_canon_options options = defaults;
    for (int cls = 0; cls < SC_VOLATILE_CLASSES; cls++)
        options.patterns[cls] = member(patterns, class_names[cls]).ptr;
    sc_canon *canon = open_canon(&options);
    check_vectors(root, canon);
    sc_canon_close(canon);
    json_decref(root);
}

/* A client that has another list of them would compute another guard. */
static void the_published_words_of_denial_are_ours(void **state)
{
    (void)state;
    json_t *root = load_vectors();
    assert_same("denial", "list", member(root, "denial"),
                sc_str_of(sc_lexicon_classes[SC_LEXICON_DENIAL].values[0]));
    json_decref(root);
}

/* ---- properties ---- */

static const char *const fragments[] = {
    "a", "What", " ", "  ", "\n", "\xc2\xa0", "?", "!", ".", ",", ":", "-", "/", "_", "(", ")",
    "+", "e", "t", "z", "T10:30", "t10:30:00z", "2025-01-15", "20250115", "123", "1234567", "12",
    "0", "550e8400-e29b-41d4-a716-446655440000", "550e8400e29b41d4a716446655440000", "abcdef01",
    "\xc3\x9f", "\xc3\x89", "e\xcc\x81", "\xcc\x81", "\xcc\xa3", "\xcd\x85", "\xce\x90",
    "\xef\xac\x81", "\xe2\x80\x8b", "\xe2\x80\xae", "\xc2\xad", "\xe1\x84\x92", "\xe1\x85\xa1",
    "\xe1\x86\xab", "\xd9\xa1\xd9\xa2\xd9\xa3", "\xe2\x88\x92", "\xe3\x80\x82", "\xf0\x9f\x98\x80",
    "\xe2\x84\xaa", "\xc4\xb0", "\xcd\x8f", "4111 1111 1111", "1,234,567.89", "-", "=", "#",
    "\x01", "\xe1\xbe\x82", "\xcd\x84",
};

static sc_str random_text(char *into, size_t room)
{
    size_t len = 0, parts = (size_t)sc_random_between(0, 12);
    for (size_t i = 0; i < parts; i++) {
        const char *part =
            fragments[sc_random_between(0, (int64_t)(sizeof fragments / sizeof *fragments) - 1)];
        size_t n = strlen(part);
        if (len + n > room)
            break;
        memcpy(into + len, part, n);
        len += n;
    }
    return (sc_str){into, len};
}

static void assert_idempotent(const sc_canon *canon, sc_str prompt)
{
    sc_arena arena;
    sc_arena_init(&arena, ARENA_BYTES);
    sc_canonical once = apply(canon, prompt, &arena);
    sc_canonical twice = apply(canon, once.text, &arena);
    if (!sc_str_equal(once.text, twice.text))
        fail_msg("\"%.*s\" gives \"%s\", which gives \"%s\"", (int)prompt.len, prompt.ptr,
                 once.text.ptr, twice.text.ptr);
    /* What was taken out is gone, unless the text is nothing else. */
    if (twice.values_count != 0)
        assert_int_equal(twice.values_count, once.values_count);
    sc_arena_fini(&arena);
}

/* A canonical text that is stored, read and made canonical again would get another key. */
static void it_is_idempotent(void **state)
{
    (void)state;
    char      text[1024];
    sc_canon *canon = open_canon(&defaults);
    for (int i = 0; i < 30000; i++)
        assert_idempotent(canon, random_text(text, sizeof text));
    sc_canon_close(canon);
}

static size_t encode(unsigned c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(0xf00u >> n | c);
    return n;
}

/* The next code point worth a try: all that are assigned, and a few of the others (ideographs and
 * private use, a million that are all alike). */
static unsigned next_character(unsigned c)
{
    bool alike = (c >= 0x3400 && c < 0xA000) || (c >= 0xAC00 && c < 0xF900) ||
                 (c >= 0x20000 && c < 0xE0000) || c >= 0xE0200;
    c += alike ? 61 : 1;
    return c >= 0xD800 && c < 0xE000 ? 0xE000 : c;
}

static void every_character_is_idempotent(void **state)
{
    (void)state;
    sc_canon *canon = open_canon(&defaults);
    for (unsigned c = 1; c < 0x110000; c = next_character(c)) {
        char   text[16] = "x";
        size_t n = encode(c, text + 1);
        text[1 + n] = 'y';
        assert_idempotent(canon, (sc_str){text, n + 2});
        assert_idempotent(canon, (sc_str){text + 1, n});
    }
    sc_canon_close(canon);
}

/* The look that spares the patterns must not overlook digits of any script. */
static void patterns_are_spared_only_where_they_find_nothing(void **state)
{
    (void)state;
    json_t          *root = load_vectors();
    sc_canon_options options = defaults;
    options.patterns[SC_VOLATILE_NUMBER] =
        member(json_object_get(root, "patterns"), "number").ptr; /* one's own is never spared */
    sc_canon *spared = open_canon(&defaults), *never = open_canon(&options);
    for (unsigned c = 1; c < 0x110000; c = next_character(c)) {
        char     text[32];
        size_t   len = 0;
        sc_arena arena;
        for (int i = 0; i < 6; i++)
            len += encode(c, text + len);
        sc_arena_init(&arena, ARENA_BYTES);
        assert_int_equal(apply(spared, (sc_str){text, len}, &arena).values_count,
                         apply(never, (sc_str){text, len}, &arena).values_count);
        sc_arena_fini(&arena);
    }
    sc_canon_close(spared);
    sc_canon_close(never);
    json_decref(root);
}

/* The guard is what keeps order 1 from getting the answer of order 2. */
static void the_guard_follows_values_and_their_order(void **state)
{
    (void)state;
    sc_canon *canon = open_canon(&defaults);
    sc_arena  arena;
    sc_arena_init(&arena, ARENA_BYTES);
    uint64_t one = apply(canon, SC_STR("order 1234567"), &arena).guard;
    assert_true(one != 0);
    assert_true(one == apply(canon, SC_STR("ORDER 1234567!"), &arena).guard);
    assert_true(one != apply(canon, SC_STR("order 1234568"), &arena).guard);
    assert_true(one != apply(canon, SC_STR("order 1234567 1234567"), &arena).guard);
    assert_true(one != apply(canon, SC_STR("order +1234567"), &arena).guard);
    assert_int_equal(apply(canon, SC_STR("on 2025-01-15"), &arena).guard, 0);
    sc_arena_fini(&arena);
    sc_canon_close(canon);
}

static uint64_t guard_of(const sc_canon *canon, const char *prompt, sc_arena *arena)
{
    return apply(canon, sc_str_of(prompt), arena).guard;
}

static void the_guard_follows_figures_and_denial(void **state)
{
    (void)state;
    sc_canon *canon = open_canon(&defaults);
    sc_arena  arena;
    sc_arena_init(&arena, ARENA_BYTES);
    uint64_t five = guard_of(canon, "take 5 mg", &arena);
    assert_true(five != 0);
    assert_true(five == guard_of(canon, "5mg, to be taken", &arena));
    assert_true(five != guard_of(canon, "take 50 mg", &arena));
    assert_true(five != guard_of(canon, "take -5 mg", &arena));
    assert_true(five != guard_of(canon, "do not take 5 mg", &arena));
    assert_true(guard_of(canon, "not now", &arena) != 0);
    assert_true(guard_of(canon, "not now", &arena) == guard_of(canon, "never!", &arena));
    /* What is taken out as a value is no figure. */
    assert_int_equal(guard_of(canon, "on 2025-01-15", &arena), 0);
    sc_arena_fini(&arena);
    sc_canon_close(canon);
}

static void figures_keep_their_signs(void **state)
{
    static const char *const pairs[][2] = {
        {"", ""},
        {"no digits", ""},
        {"5", " 5"},
        {"-5", " -5"},
        {"is -5 + 3 or 3.11 more than 30 days", " -5+3 3.11 30"},
        {"covid-19 and 2-3", " 19 2-3"},
        {"10:30 (1,000)", " 10:30(1,000"},
        {"1 2  3", " 1 2 3"},
        {"5mg", " 5"},
        {"\xd9\xa1 x\xc2\xb2", " \xd9\xa1 \xc2\xb2"},
    };
    (void)state;
    sc_arena arena;
    sc_arena_init(&arena, ARENA_BYTES);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_same(pairs[i][0], "figures", sc_figures(sc_str_of(pairs[i][0]), &arena),
                    sc_str_of(pairs[i][1]));
    sc_arena_fini(&arena);
}

/* ---- settings ---- */

static void each_class_is_ignored_or_matched_as_set(void **state)
{
    (void)state;
    sc_canon_options options = {.match = {[SC_VOLATILE_TIME] = true}};
    sc_canon        *canon = open_canon(&options);
    sc_arena         arena;
    sc_arena_init(&arena, ARENA_BYTES);
    assert_int_equal(apply(canon, SC_STR("order 1234567"), &arena).guard, 0);
    uint64_t one = apply(canon, SC_STR("on 2025-01-15"), &arena).guard;
    uint64_t two = apply(canon, SC_STR("on 2025-01-16"), &arena).guard;
    assert_true(one != 0 && two != 0 && one != two);
    sc_arena_fini(&arena);
    sc_canon_close(canon);
}

static void a_class_can_be_off_and_a_pattern_ones_own(void **state)
{
    (void)state;
    sc_canon_options options = {
        .patterns =
            {[SC_VOLATILE_TIME] = "off", [SC_VOLATILE_UUID] = "", [SC_VOLATILE_NUMBER] = "id-\\w+"},
        .match = {[SC_VOLATILE_NUMBER] = true},
    };
    sc_canon *canon = open_canon(&options);
    sc_arena  arena;
    sc_arena_init(&arena, ARENA_BYTES);
    sc_canonical out = apply(canon, SC_STR("On 2025-01-15 ID-x7 1234567"), &arena);
    assert_string_equal(out.text.ptr, "on 2025-01-15 1234567");
    assert_int_equal(out.values_count, 1);
    assert_true(sc_str_equal(out.values[0].text, SC_STR("id-x7")));
    sc_arena_fini(&arena);
    sc_canon_close(canon);
}

static void a_wrong_pattern_is_refused_with_its_place(void **state)
{
    (void)state;
    sc_canon_options options = {.patterns = {[SC_VOLATILE_UUID] = "ab(c"}};
    sc_canon        *canon;
    sc_error         error = {0};
    assert_int_equal(sc_canon_open(&options, &canon, &error), SC_INVALID);
    assert_null(canon);
    assert_non_null(strstr(error.text, "uuid"));
    assert_non_null(strstr(error.text, "offset 4"));
    sc_canon_close(NULL);
}

/* A pattern whose matches complete others, and one that can match nothing at all. */
static void odd_patterns_come_to_an_end(void **state)
{
    (void)state;
    sc_canon_options options = {
        .patterns = {[SC_VOLATILE_TIME] = "\\( ?\\)",
                     [SC_VOLATILE_UUID] = "x*",
                     [SC_VOLATILE_NUMBER] = "a\\K(?=b)"},
    };
    sc_canon *canon = open_canon(&options);
    sc_arena  arena;
    sc_arena_init(&arena, ARENA_BYTES);
    assert_string_equal(apply(canon, SC_STR("((())) xx ab !"), &arena).text.ptr, "ab");
    sc_arena_fini(&arena);
    sc_canon_close(canon);
}

/* ---- hostile prompts ---- */

/* One prompt would hold a thread for minutes. */
static void a_pattern_that_explodes_is_stopped(void **state)
{
    (void)state;
    sc_canon_options options = {.patterns = {[SC_VOLATILE_NUMBER] = "(a+)+$|(?:a|aa)+b"}};
    sc_canon        *canon = open_canon(&options);
    static char      text[65536];
    sc_arena         arena;
    sc_canonical     out;
    sc_error         error = {0};
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '_';
    sc_arena_init(&arena, ARENA_BYTES);
    assert_int_equal(sc_canon_apply(canon, (sc_str){text, sizeof text}, &arena, &out, &error),
                     SC_TOO_LARGE);
    sc_arena_fini(&arena);
    sc_canon_close(canon);
}

static void apply_repeated(const char *unit, size_t arena_factor)
{
    static char text[65536];
    sc_canon   *canon = open_canon(&defaults);
    size_t      n = strlen(unit), len = sizeof text / n * n;
    sc_arena    arena;
    for (size_t i = 0; i < len; i++)
        text[i] = unit[i % n];
    sc_arena_init(&arena, arena_factor * sizeof text);
    (void)apply(canon, (sc_str){text, len}, &arena);
    sc_arena_fini(&arena);
    assert_idempotent(canon, (sc_str){text, len});
    sc_canon_close(canon);
}

/* 64 KiB of anything: no pattern passes its limit, no accent sort goes quadratic (seconds), and
 * the arena that the header promises is enough. */
static void long_prompts_of_any_kind_pass(void **state)
{
    (void)state;
    static const char *const units[] = {
        "word ", "1-", "1234567 ", "12345 ", "123 ", "1", "a1b2c3d4-", "abcdef01", "2025-01-15 ",
        "2025-01-15t", "1,", "\xcc\x81\xcc\xa3", "\xcd\x84", "\xe2\x80\x8b", " ", "?", "e\xcc\x81",
        "\xce\x90", "\xc3\x9f", "\xef\xbc\x91\xef\xbc\x92", "1e", "- ", "550e8400-e29b-",
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        apply_repeated(units[i], 16);
}

static void without_values_the_arena_holds_little_more_than_the_text(void **state)
{
    (void)state;
    apply_repeated("What is our refund policy, please? ", 2);
}

/* ---- threads and memory ---- */

static void *apply_many(void *arg)
{
    const sc_canon *canon = arg;
    for (int i = 0; i < 2000; i++) {
        sc_arena arena;
        sc_arena_init(&arena, ARENA_BYTES);
        assert_string_equal(apply(canon, SC_STR("Order 1234567 on 2025-01-15?"), &arena).text.ptr,
                            "order on");
        sc_arena_fini(&arena);
    }
    return NULL;
}

static void threads_share_a_canonicaliser(void **state)
{
    (void)state;
    sc_canon *canon = open_canon(&defaults);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, apply_many, canon), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    sc_canon_close(canon);
}

typedef struct {
    bool succeeded;
} outcome;

/* On a thread of its own, which has not matched anything yet. */
static void *open_and_apply(void *arg)
{
    outcome     *result = arg;
    sc_canon    *canon = NULL;
    sc_canonical out;
    sc_arena     arena;
    sc_error     error = {0};
    static char  text[4096];
    memset(text, '\xc3', 1);
    for (size_t i = 0; i + 2 <= sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    memcpy(text, "1234567 1234567 ", 16);
    sc_arena_init(&arena, ARENA_BYTES);
    sc_status status = sc_canon_open(&defaults, &canon, &error);
    assert_true((status == SC_OK) == (canon != NULL));
    if (status == SC_OK)
        status = sc_canon_apply(canon, (sc_str){text, sizeof text}, &arena, &out, &error);
    assert_true(status == SC_OK || status == SC_NO_MEMORY);
    result->succeeded = status == SC_OK;
    sc_arena_fini(&arena);
    sc_canon_close(canon);
    return NULL;
}

static bool open_and_apply_here(void *context)
{
    outcome result;
    (void)context;
    open_and_apply(&result);
    return result.succeeded;
}

static void *fail_each(void *arg)
{
    *(unsigned *)arg = sc_fail_malloc_each(open_and_apply_here, NULL);
    return NULL;
}

static void running_out_of_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    unsigned  failures = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fail_each, &failures), 0);
    pthread_join(thread, NULL);
    assert_true(failures >= 5);

    sc_canon    *canon = open_canon(&defaults);
    sc_canonical out;
    for (size_t room = 0; room < 400; room += 16) {
        sc_arena arena;
        sc_arena_init(&arena, room);
        sc_status status = sc_canon_apply(
            canon, SC_STR("Order 1234567 and 550e8400-e29b-41d4-a716-446655440000 of 2025-01-15?"),
            &arena, &out, NULL);
        assert_true(status == SC_OK || status == SC_NO_MEMORY);
        sc_arena_fini(&arena);
    }
    sc_canon_close(canon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vectors_hold),
        cmocka_unit_test(the_published_patterns_do_the_same),
        cmocka_unit_test(the_published_words_of_denial_are_ours),
        cmocka_unit_test(it_is_idempotent),
        cmocka_unit_test(every_character_is_idempotent),
        cmocka_unit_test(patterns_are_spared_only_where_they_find_nothing),
        cmocka_unit_test(the_guard_follows_values_and_their_order),
        cmocka_unit_test(the_guard_follows_figures_and_denial),
        cmocka_unit_test(figures_keep_their_signs),
        cmocka_unit_test(each_class_is_ignored_or_matched_as_set),
        cmocka_unit_test(a_class_can_be_off_and_a_pattern_ones_own),
        cmocka_unit_test(a_wrong_pattern_is_refused_with_its_place),
        cmocka_unit_test(odd_patterns_come_to_an_end),
        cmocka_unit_test(a_pattern_that_explodes_is_stopped),
        cmocka_unit_test(long_prompts_of_any_kind_pass),
        cmocka_unit_test(without_values_the_arena_holds_little_more_than_the_text),
        cmocka_unit_test(threads_share_a_canonicaliser),
        cmocka_unit_test(running_out_of_memory_is_an_error_and_no_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
