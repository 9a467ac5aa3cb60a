#include "tests/support/cmocka.h"

#include "src/prompt/fold.h"

static sc_str folded(sc_arena *arena, const char *text)
{
    sc_str out;
    assert_int_equal(sc_fold(sc_str_of(text), arena, &out), SC_OK);
    return out;
}

/* The quick way for ASCII and the way for everything else must give the same. */
static void ascii_folds_the_same_on_both_ways(void **state)
{
    (void)state;
    sc_arena arena;
    sc_arena_init(&arena, 1 << 20);
    for (int c = 1; c < 128; c++) {
        char ascii[] = {'x', (char)c, 'Y', '\0'};
        char mixed[8] = {'x', (char)c, 'Y', '\xc3', '\xa9', '\0'};
        sc_str quick = folded(&arena, ascii);
        sc_str slow = folded(&arena, mixed);
        assert_int_equal(slow.len, quick.len + 2);
        assert_memory_equal(slow.ptr, quick.ptr, quick.len);
    }
    sc_arena_fini(&arena);
}

/* utf8proc_map's sort of accents takes seconds for such a prompt; ours must stay stable too. */
static void a_run_of_accents_is_broken_by_joiners(void **state)
{
    (void)state;
    enum { MARKS = 100 };
    char     text[2 * MARKS + 2] = "a";
    sc_arena arena;
    sc_arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < MARKS; i++)
        memcpy(text + 1 + 2 * i, i % 2 == 0 ? "\xcc\x81" : "\xcc\xa3", 2);
    sc_str once = folded(&arena, text);
    sc_str twice = folded(&arena, once.ptr);
    assert_true(sc_str_equal(once, twice));
    size_t joiners = 0;
    for (size_t i = 0; i + 1 < once.len; i++)
        joiners += memcmp(once.ptr + i, "\xcd\x8f", 2) == 0;
    assert_int_equal(joiners, 3);
    sc_arena_fini(&arena);
}

static void spaces_are_folded_in_place(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},          {" ", ""},      {"   ", ""},    {"a", "a"},
        {" a  b ", "a b"}, {"a b", "a b"}, {"  ab", "ab"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[16];
        memcpy(text, rows[i][0], strlen(rows[i][0]) + 1);
        sc_str out = sc_fold_spaces(text, strlen(text));
        assert_string_equal(text, rows[i][1]);
        assert_int_equal(out.len, strlen(rows[i][1]));
    }
}

static void the_end_loses_sentence_marks_only(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},
        {"?", ""},
        {"a?", "a"},
        {"a ?! . ", "a"},
        {"a#", "a#"},
        {"a\xe2\x80\xa6", "a"},
        {"\xef\xbc\x9f\xe3\x80\x82", ""},
        {"\xc3\xa9", "\xc3\xa9"},
        {"a?b", "a?b"},
        {"\xf0\x9f\x98\x80!", "\xf0\x9f\x98\x80"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(sc_fold_end(sc_str_of(rows[i][0])).len, strlen(rows[i][1]));
}

static void a_full_arena_is_an_error(void **state)
{
    (void)state;
    sc_arena arena;
    sc_str   out;
    sc_arena_init(&arena, 0);
    assert_int_equal(sc_fold(SC_STR("abc"), &arena, &out), SC_NO_MEMORY);
    assert_int_equal(sc_fold(SC_STR("ab\xc3\xa9"), &arena, &out), SC_NO_MEMORY);
    sc_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ascii_folds_the_same_on_both_ways),
        cmocka_unit_test(a_run_of_accents_is_broken_by_joiners),
        cmocka_unit_test(spaces_are_folded_in_place),
        cmocka_unit_test(the_end_loses_sentence_marks_only),
        cmocka_unit_test(a_full_arena_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
