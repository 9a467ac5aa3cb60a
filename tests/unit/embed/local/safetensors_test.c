#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/embed/local/safetensors.h"

enum { DATA_BYTES = 24 };

/* A file in exactly its bytes, so that a sanitizer sees one byte too far. */
typedef struct {
    char  *bytes;
    size_t len;
} image;

static image make(const char *header)
{
    size_t len = strlen(header);
    image  file = {malloc(8 + len + DATA_BYTES), 8 + len + DATA_BYTES};
    assert_non_null(file.bytes);
    memset(file.bytes, 0, file.len);
    file.bytes[0] = (char)(len & 0xFF);
    file.bytes[1] = (char)(len >> 8);
    memcpy(file.bytes + 8, header, len);
    for (size_t i = 0; i < DATA_BYTES / sizeof(float); i++) {
        float value = (float)i;
        memcpy(file.bytes + 8 + len + i * sizeof value, &value, sizeof value);
    }
    return file;
}

static sc_status open_status(const char *header)
{
    sc_error        error = {0};
    sc_safetensors *tensors;
    image           file = make(header);
    sc_status       status = sc_safetensors_open(file.bytes, file.len, &tensors, &error);
    assert_int_equal(status == SC_OK, tensors != NULL);
    assert_int_equal(status == SC_OK, error.text[0] == '\0');
    sc_safetensors_close(tensors);
    free(file.bytes);
    return status;
}

/* Blanks at the end keep the data aligned, as writers of such files do. */
static const char good[] = "{\"m\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
                           "\"v\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[16,24]}}    ";

static void tensors_are_lent_by_name_and_shape(void **state)
{
    (void)state;
    sc_error        error = {0};
    sc_safetensors *tensors;
    const float    *values;
    image           file = make(good);
    assert_int_equal(strlen(good) % 4, 0);
    assert_int_equal(sc_safetensors_open(file.bytes, file.len, &tensors, &error), SC_OK);
    assert_int_equal(sc_safetensors_find(tensors, "m", 2, 2, &values, &error), SC_OK);
    assert_true(values[3] == 3.0f);
    assert_int_equal(sc_safetensors_find(tensors, "v", 0, 2, &values, &error), SC_OK);
    assert_true(values[1] == 5.0f);
    assert_int_equal(sc_safetensors_find(tensors, "v", 1, 2, &values, &error), SC_MISMATCH);
    assert_null(values);
    assert_int_equal(sc_safetensors_find(tensors, "m", 4, 1, &values, &error), SC_MISMATCH);
    assert_int_equal(sc_safetensors_find(tensors, "w", 2, 2, &values, &error), SC_NOT_FOUND);
    sc_safetensors_close(tensors);
    free(file.bytes);
}

#define TENSOR(type, shape, from, to)                                                              \
    "{\"m\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}}"

/* Each would make us read outside the file, or read something else than numbers. */
static void a_header_that_promises_what_is_not_there_is_corrupt(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "",
        "[]",
        "{",
        "{\"m\":1}",
        "{\"m\":{}}",
        "{\"m\":{\"dtype\":\"F32\",\"shape\":[2]}}",
        "{\"m\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,8]}}",
        TENSOR("F31", "[2]", "0", "8"),
        TENSOR("F32", "2", "0", "8"),
        TENSOR("F32", "[2]", "0", "9"),
        TENSOR("F32", "[2]", "8", "0"),
        TENSOR("F32", "[2]", "20", "28"),
        TENSOR("F32", "[7]", "0", "28"),
        TENSOR("F32", "[-2]", "0", "8"),
        TENSOR("F32", "[2.0]", "0", "8"),
        TENSOR("F32", "[2]", "-8", "0"),
        TENSOR("F32", "[4611686018427387904,4]", "0", "0"),
        TENSOR("F32", "[9223372036854775807,9223372036854775807]", "0", "4"),
        TENSOR("F32", "[1,1,1,1,1,1,1,1,1]", "0", "4"),
        "{\"m\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,16]}}",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        assert_int_equal(open_status(headers[i]), SC_CORRUPT);
    assert_int_equal(open_status(TENSOR("F32", "[2]", "0", "8")), SC_OK);
    assert_int_equal(open_status("{\"__metadata__\":{\"format\":\"pt\"}}"), SC_OK);
}

/* Found by the fuzzer: the entry that is no tensor was not checked, and could be asked for. */
static void metadata_in_the_shape_of_a_tensor_is_not_lent(void **state)
{
    (void)state;
    sc_error        error = {0};
    sc_safetensors *tensors;
    const float    *values;
    image           file = make("{\"__metadata__\":{\"dtype\":\"F32\",\"shape\":[1],"
                                "\"data_offsets\":[0,1099511627776]}}");
    assert_int_equal(sc_safetensors_open(file.bytes, file.len, &tensors, &error), SC_OK);
    assert_int_equal(sc_safetensors_find(tensors, "__metadata__", 0, 1, &values, &error),
                     SC_NOT_FOUND);
    sc_safetensors_close(tensors);
    free(file.bytes);
}

static void a_header_longer_than_the_file_is_corrupt(void **state)
{
    (void)state;
    sc_error        error = {0};
    sc_safetensors *tensors;
    image           file = make(good);
    for (size_t len = 0; len < 8 + strlen(good); len++) {
        assert_int_equal(sc_safetensors_open(file.bytes, len, &tensors, &error), SC_CORRUPT);
        assert_null(tensors);
    }
    memset(file.bytes, 0xFF, 8);
    assert_int_equal(sc_safetensors_open(file.bytes, file.len, &tensors, &error), SC_CORRUPT);
    free(file.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_lent_by_name_and_shape),
        cmocka_unit_test(a_header_that_promises_what_is_not_there_is_corrupt),
        cmocka_unit_test(metadata_in_the_shape_of_a_tensor_is_not_lent),
        cmocka_unit_test(a_header_longer_than_the_file_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
