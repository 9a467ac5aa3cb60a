#include "tests/support/cmocka.h"

#include "src/text/base64.h"

/* RFC 4648 section 10. */
static void the_rfc_vectors_decode_with_and_without_padding(void **state)
{
    (void)state;
    static const struct {
        const char *text, *bytes;
    } rows[] = {
        {"", ""},           {"Zg==", "f"},       {"Zm8=", "fo"},       {"Zm9v", "foo"},
        {"Zm9vYg==", "foob"}, {"Zm9vYmE=", "fooba"}, {"Zm9vYmFy", "foobar"}, {"Zm9vYg", "foob"},
        {"Zm8", "fo"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char   out[16] = {0};
        size_t len = strlen(rows[i].bytes);
        assert_int_equal(sc_base64_decoded_len(sc_str_of(rows[i].text)), len);
        assert_true(sc_base64_decode(sc_str_of(rows[i].text), out, len));
        assert_memory_equal(out, rows[i].bytes, len);
    }
}

/* A vector of another dimension would be read as one of ours, or beyond its memory. */
static void other_lengths_and_other_characters_are_refused(void **state)
{
    (void)state;
    char out[16];
    assert_false(sc_base64_decode(SC_STR("Zm9vYmFy"), out, 5));
    assert_false(sc_base64_decode(SC_STR("Zm9vYmFy"), out, 7));
    assert_false(sc_base64_decode(SC_STR("Zm9v\nYmFy"), out, 6));
    assert_false(sc_base64_decode(SC_STR("Zm9vY"), out, 3));
    assert_false(sc_base64_decode(SC_STR("Zm=v"), out, 3));
    assert_false(sc_base64_decode(SC_STR("Zm9-"), out, 3));
    assert_false(sc_base64_decode(SC_STR("===="), out, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rfc_vectors_decode_with_and_without_padding),
        cmocka_unit_test(other_lengths_and_other_characters_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
