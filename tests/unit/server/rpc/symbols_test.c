/* The index that reflection answers from. */
#include <stdlib.h>

#include "proto/descriptors.h"
#include "server/rpc/symbols.h"
#include "tests/support/cmocka.h"

static int up(void **state)
{
    sc_symbols *symbols;
    assert_int_equal(sc_symbols_open(sc_proto_descriptors, sc_proto_descriptors_len, &symbols), SC_OK);
    *state = symbols;
    return 0;
}

static int down(void **state)
{
    sc_symbols_close(*state);
    return 0;
}

static void every_kind_of_name_is_found(void **state)
{
    static const char *const names[] = {
        "semcache.v1.SemanticCache",       "semcache.v1.SemanticCache.Answer",
        "semcache.v1.AnswerRequest",       "semcache.v1.AnswerRequest.user_prompt",
        "semcache.v1.AnswerRequest.optional_seed", "semcache.v1.Source",
        "semcache.v1.SOURCE_EXACT", /* a value stands beside its enum */
    };
    int file = sc_symbols_file_by_path(*state, SC_STR("semcache/v1/semantic_cache.proto"));
    assert_true(file >= 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (sc_symbols_file_by_name(*state, sc_str_of(names[i])) != file)
            fail_msg("%s", names[i]);
    assert_true(sc_symbols_file_by_name(
                    *state, SC_STR("grpc.health.v1.HealthCheckResponse.ServingStatus")) >= 0);
    assert_true(sc_symbols_file_by_name(
                    *state, SC_STR("grpc.health.v1.HealthCheckResponse.SERVING")) >= 0);
}

static void other_names_are_not(void **state)
{
    static const char *const names[] = {"", ".", "semcache", "semcache.v1", "semcache.v1.AnswerReques",
                                        "semcache.v1.AnswerRequestX", "AnswerRequest",
                                        ".semcache.v1.AnswerRequest"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(sc_symbols_file_by_name(*state, sc_str_of(names[i])), -1);
    assert_int_equal(sc_symbols_file_by_path(*state, SC_STR("semantic_cache.proto")), -1);
}

static void services_and_messages_are_told_apart(void **state)
{
    bool   found = false;
    size_t count = 0;
    for (sc_str name; (name = sc_symbols_service(*state, count)).len != 0; count++)
        found = found || sc_str_equal(name, SC_STR("semcache.v1.SemanticCache"));
    assert_true(found);
    assert_in_range(count, 4, 10);
    assert_true(sc_symbols_is_message(*state, SC_STR("semcache.v1.Turn")));
    assert_false(sc_symbols_is_message(*state, SC_STR("semcache.v1.SemanticCache")));
}

/* Three files by hand: a imports b and c, b imports c and a; c imports nothing. */
static const char circle[] = "\x0a\x0d\x0a\x01" "a\x1a\x01" "b\x1a\x01" "c\x1a\x02" "no"
                             "\x0a\x09\x0a\x01" "b\x1a\x01" "c\x1a\x01" "a"
                             "\x0a\x03\x0a\x01" "c";

static void imports_come_along_once_even_in_a_circle(void **state)
{
    sc_symbols *symbols;
    sc_str      files[8];
    (void)state;
    assert_int_equal(sc_symbols_open(circle, sizeof circle - 1, &symbols), SC_OK);
    int a = sc_symbols_file_by_path(symbols, SC_STR("a"));
    int b = sc_symbols_file_by_path(symbols, SC_STR("b"));
    int c = sc_symbols_file_by_path(symbols, SC_STR("c"));
    assert_int_equal(sc_symbols_closure(symbols, a, files, 8), 3);
    assert_int_equal(files[0].ptr[2], 'a'); /* itself first */
    assert_int_equal(sc_symbols_closure(symbols, b, files, 8), 3);
    assert_int_equal(sc_symbols_closure(symbols, c, files, 8), 1);
    assert_int_equal(sc_symbols_closure(symbols, a, files, 2), 2);
    sc_symbols_close(symbols);
}

static void torn_sets_are_refused(void **state)
{
    sc_symbols *symbols;
    size_t      accepted = 0;
    (void)state;
    /* Where one file ends, what is left out is a smaller set; anywhere else it is torn. */
    for (size_t len = 1; len < sc_proto_descriptors_len; len++) {
        unsigned char *cut = malloc(len);
        memcpy(cut, sc_proto_descriptors, len);
        if (sc_symbols_open(cut, len, &symbols) == SC_OK) {
            accepted++;
            sc_symbols_close(symbols);
        }
        free(cut);
    }
    assert_in_range(accepted, 1, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_name_is_found),
        cmocka_unit_test(other_names_are_not),
        cmocka_unit_test(services_and_messages_are_told_apart),
        cmocka_unit_test(imports_come_along_once_even_in_a_circle),
        cmocka_unit_test(torn_sets_are_refused),
    };
    return cmocka_run_group_tests(tests, up, down);
}
