#include "src/embed/embeddings_json.h"

#include <math.h>
#include <stdio.h>

#include "tests/support/cmocka.h"

enum { DIM = 2 };

static sc_status read(const char *json, size_t count, float *vectors)
{
    uint32_t  tokens = 0;
    sc_error  error = {0};
    sc_status status =
        sc_embeddings_read(sc_str_of(json), count, DIM, vectors, &tokens, &error);
    if (status != SC_OK)
        assert_string_not_equal(error.text, "");
    return status;
}

static void assert_near(float a, double b)
{
    assert_true(fabs((double)a - b) < 1e-6);
}

/* [3, 4] in base64, as OpenAI sends it. */
#define THREE_FOUR "\"AABAQAAAgEA=\""

static void base64_and_arrays_are_the_same(void **state)
{
    float    v[2 * DIM];
    uint32_t tokens = 0;
    (void)state;
    const char *json = "{\"data\":[{\"index\":0,\"embedding\":" THREE_FOUR "},"
                       "{\"index\":1,\"embedding\":[3,4.0]}],\"usage\":{\"total_tokens\":12}}";
    assert_int_equal(sc_embeddings_read(sc_str_of(json), 2, DIM, v, &tokens, NULL), SC_OK);
    for (int i = 0; i < 2; i++) {
        assert_near(v[2 * i], 0.6);
        assert_near(v[2 * i + 1], 0.8);
    }
    assert_int_equal(tokens, 12);
}

/* A question would get another question's vector, and so its answer. */
static void the_index_decides_not_the_order(void **state)
{
    float v[2 * DIM];
    (void)state;
    assert_int_equal(read("{\"data\":[{\"index\":1,\"embedding\":[0,2]},"
                          "{\"index\":0,\"embedding\":[5,0]}]}",
                          2, v),
                     SC_OK);
    assert_near(v[0], 1);
    assert_near(v[3], 1);
    assert_int_equal(read("{\"data\":[{\"embedding\":[0,2]},{\"embedding\":[5,0]}]}", 2, v), SC_OK);
    assert_near(v[1], 1);
}

static void lies_are_found_out(void **state)
{
    static const struct {
        const char *json;
        sc_status   status;
    } cases[] = {
        {"", SC_CORRUPT},
        {"<html>", SC_CORRUPT},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]}", SC_CORRUPT},
        {"[]", SC_CORRUPT},
        {"{\"data\":7}", SC_CORRUPT},
        {"{\"data\":[]}", SC_MISMATCH},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]}]}", SC_MISMATCH},
        {"{\"data\":[{\"embedding\":[1,0]},{\"embedding\":[1,0]},{\"embedding\":[1,0]}]}", SC_MISMATCH},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":0,\"embedding\":[1,0]}]}", SC_CORRUPT},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":2,\"embedding\":[1,0]}]}", SC_CORRUPT},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":-1,\"embedding\":[1,0]}]}", SC_CORRUPT},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1.0,\"embedding\":[1,0]}]}", SC_CORRUPT},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1,\"embedding\":[1,0,0]}]}", SC_MISMATCH},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1,\"embedding\":[1]}]}", SC_MISMATCH},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1,\"embedding\":[1,\"0\"]}]}", SC_CORRUPT},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1,\"embedding\":[0,0]}]}", SC_CORRUPT},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1,\"embedding\":[1e39,0]}]}", SC_CORRUPT},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1,\"embedding\":null}]}", SC_CORRUPT},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1}]}", SC_CORRUPT},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},7]}", SC_CORRUPT},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1,\"embedding\":\"AABAQAAAgE\"}]}", SC_MISMATCH},
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1,\"embedding\":\"AABA!AAAgEA=\"}]}", SC_CORRUPT},
        /* NaN */
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1,\"embedding\":\"AADAfwAAgEA=\"}]}", SC_CORRUPT},
        /* infinity */
        {"{\"data\":[{\"index\":0,\"embedding\":[1,0]},{\"index\":1,\"embedding\":\"AACAfwAAgEA=\"}]}", SC_CORRUPT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float     v[2 * DIM];
        sc_status status = read(cases[i].json, 2, v);
        if (status != cases[i].status)
            print_error("%s: %s\n", cases[i].json, sc_status_name(status));
        assert_int_equal(status, cases[i].status);
    }
}

static void the_dimension_can_be_asked(void **state)
{
    uint32_t dim = 0;
    (void)state;
    assert_int_equal(sc_embeddings_dim(SC_STR("{\"data\":[{\"embedding\":[1,2,3]}]}"), &dim, NULL), SC_OK);
    assert_int_equal(dim, 3);
    assert_int_equal(
        sc_embeddings_dim(SC_STR("{\"data\":[{\"embedding\":" THREE_FOUR "}]}"), &dim, NULL), SC_OK);
    assert_int_equal(dim, 2);
    assert_int_equal(sc_embeddings_dim(SC_STR("{\"data\":[]}"), &dim, NULL), SC_CORRUPT);
    assert_int_equal(sc_embeddings_dim(SC_STR("{\"data\":[{\"embedding\":\"\"}]}"), &dim, NULL),
                     SC_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_and_arrays_are_the_same),
        cmocka_unit_test(the_index_decides_not_the_order),
        cmocka_unit_test(lies_are_found_out),
        cmocka_unit_test(the_dimension_can_be_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
