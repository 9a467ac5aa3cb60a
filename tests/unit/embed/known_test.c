#include "src/embed/known.h"

#include <stdio.h>

#include "tests/support/cmocka.h"

enum { DIM = 4 };

static sc_digest hash_of(int i)
{
    char text[32];
    int  len = snprintf(text, sizeof text, "text %d", i);
    return sc_sha256(text, (size_t)len);
}

static void put(sc_known *known, int i)
{
    sc_digest hash = hash_of(i);
    float     vector[DIM] = {(float)i, 1, 2, 3};
    sc_known_put(known, &hash, vector, SC_EMBED_USABLE);
}

static bool has(sc_known *known, int i)
{
    sc_digest     hash = hash_of(i);
    float         vector[DIM] = {-1, -1, -1, -1};
    sc_embed_note note = SC_EMBED_UNKNOWN;
    bool          found = sc_known_get(known, &hash, vector, &note);
    assert_true(!found || (vector[0] == (float)i && vector[3] == 3 && note == SC_EMBED_USABLE));
    return found;
}

/* A prompt seen before would be paid for again, or answered with another prompt's vector. */
static void gives_back_what_was_put(void **state)
{
    sc_known *known;
    (void)state;
    assert_int_equal(sc_known_open(DIM, 1 << 20, &known), SC_OK);
    for (int i = 0; i < 1000; i++)
        put(known, i);
    for (int i = 0; i < 1000; i++)
        assert_true(has(known, i));
    assert_false(has(known, 1000));
    sc_known_close(known);
}

/* Memory would grow with every new prompt for as long as the server runs. */
static void stays_within_its_bytes(void **state)
{
    sc_known *known;
    size_t    entries, bytes, bytes_max = 64 * 1024;
    (void)state;
    assert_int_equal(sc_known_open(DIM, bytes_max, &known), SC_OK);
    for (int i = 0; i < 5000; i++)
        put(known, i);
    sc_known_look(known, &entries, &bytes);
    assert_true(entries > 100 && entries < 5000);
    assert_true(bytes <= bytes_max);
    assert_true(has(known, 4999));
    sc_known_close(known);
}

/* Today's most asked question would leave because it was first asked long ago. */
static void keeps_what_is_used(void **state)
{
    sc_known *known;
    (void)state;
    assert_int_equal(sc_known_open(DIM, 16 * 1024, &known), SC_OK);
    for (int i = 0; i < 3000; i++) {
        put(known, i);
        assert_true(has(known, 0));
    }
    assert_false(has(known, 1));
    sc_known_close(known);
}

/* A text that has no usable vector would be embedded at every repeat. */
static void remembers_that_a_text_is_unusable(void **state)
{
    sc_known     *known;
    sc_embed_note note = SC_EMBED_USABLE;
    sc_digest     hash = hash_of(1);
    float         vector[DIM] = {9, 9, 9, 9};
    (void)state;
    assert_int_equal(sc_known_open(DIM, 1 << 20, &known), SC_OK);
    sc_known_put(known, &hash, vector, SC_EMBED_TRUNCATED);
    vector[0] = 7;
    assert_true(sc_known_get(known, &hash, vector, &note));
    assert_int_equal(note, SC_EMBED_TRUNCATED);
    assert_true(vector[0] == 7);
    sc_known_close(known);
}

static void keeps_nothing_without_bytes(void **state)
{
    sc_known *known;
    (void)state;
    assert_int_equal(sc_known_open(DIM, 0, &known), SC_OK);
    put(known, 1);
    assert_false(has(known, 1));
    sc_known_close(known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_was_put),
        cmocka_unit_test(stays_within_its_bytes),
        cmocka_unit_test(keeps_what_is_used),
        cmocka_unit_test(remembers_that_a_text_is_unusable),
        cmocka_unit_test(keeps_nothing_without_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
