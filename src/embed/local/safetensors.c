/* The file: 8 bytes (little-endian length of the header), the header as a JSON object from tensor
 * name to {dtype, shape, data_offsets}, then the data, which the offsets count from. */
#include "src/embed/local/safetensors.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    PREFIX_BYTES = 8,
    HEADER_BYTES_MAX = 1 << 20,
    TENSORS_MAX = 4096,
    DIMENSIONS_MAX = 8,
};

struct sc_safetensors {
    json_t        *header;
    const uint8_t *data;
    size_t         data_bytes;
};

static size_t type_bytes(const char *type)
{
    static const struct {
        const char *name;
        size_t      bytes;
    } types[] = {{"F64", 8}, {"I64", 8}, {"U64", 8}, {"F32", 4}, {"I32", 4},  {"U32", 4}, {"F16", 2},
                 {"BF16", 2}, {"I16", 2}, {"U16", 2}, {"I8", 1},  {"U8", 1}, {"BOOL", 1}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, type) == 0)
            return types[i].bytes;
    return 0;
}

/* Multiplies *size by a JSON number; false when that is no size. */
static bool times(size_t *size, const json_t *factor)
{
    json_int_t value = json_integer_value(factor);
    return json_is_integer(factor) && value >= 0 &&
           !__builtin_mul_overflow(*size, (size_t)value, size);
}

static bool tensor_bytes(const json_t *tensor, size_t *bytes)
{
    const json_t *type = json_object_get(tensor, "dtype");
    const json_t *shape = json_object_get(tensor, "shape");
    *bytes = json_is_string(type) ? type_bytes(json_string_value(type)) : 0;
    if (*bytes == 0 || !json_is_array(shape) || json_array_size(shape) > DIMENSIONS_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(shape); i++)
        if (!times(bytes, json_array_get(shape, i)))
            return false;
    return true;
}

static bool tensor_range(const json_t *tensor, size_t *from, size_t *to)
{
    const json_t *offsets = json_object_get(tensor, "data_offsets");
    const json_t *first = json_array_get(offsets, 0);
    const json_t *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2)
        return false;
    *from = *to = 1;
    return times(from, first) && times(to, last) && *from <= *to;
}

static bool tensor_fits(const json_t *tensor, size_t data_bytes)
{
    size_t bytes, from, to;
    return json_is_object(tensor) && tensor_bytes(tensor, &bytes) &&
           tensor_range(tensor, &from, &to) && to <= data_bytes && to - from == bytes;
}

static sc_status check(sc_safetensors *file, sc_error *error)
{
    const char *name;
    json_t     *tensor;
    if (!json_is_object(file->header) || json_object_size(file->header) > TENSORS_MAX)
        return sc_fail(error, SC_CORRUPT, "weights: the header is no object of 0 to %d tensors",
                       TENSORS_MAX);
    json_object_foreach (file->header, name, tensor)
        if (strcmp(name, "__metadata__") != 0 && !tensor_fits(tensor, file->data_bytes))
            return sc_fail(error, SC_CORRUPT, "weights: tensor %.60s does not fit the file", name);
    return SC_OK;
}

static uint64_t header_length(const uint8_t *bytes)
{
    uint64_t length = 0;
    for (int i = PREFIX_BYTES - 1; i >= 0; i--)
        length = length << 8 | bytes[i];
    return length;
}

sc_status sc_safetensors_open(const void *bytes, size_t len, sc_safetensors **out, sc_error *error)
{
    const uint8_t *start = bytes;
    json_error_t   json_error;
    *out = NULL;
    uint64_t header_bytes = len < PREFIX_BYTES ? UINT64_MAX : header_length(start);
    if (header_bytes > HEADER_BYTES_MAX || header_bytes > len - PREFIX_BYTES)
        return sc_fail(error, SC_CORRUPT, "weights: no header of at most %d bytes",
                       HEADER_BYTES_MAX);

    sc_safetensors *file = calloc(1, sizeof *file);
    if (file == NULL)
        return sc_fail(error, SC_NO_MEMORY, "weights: out of memory");
    file->header = json_loadb((const char *)start + PREFIX_BYTES, (size_t)header_bytes,
                              JSON_REJECT_DUPLICATES, &json_error);
    file->data = start + PREFIX_BYTES + header_bytes;
    file->data_bytes = len - PREFIX_BYTES - (size_t)header_bytes;
    sc_status status = check(file, error);
    if (status == SC_OK) {
        *out = file;
        file = NULL;
    }
    sc_safetensors_close(file);
    return status;
}

void sc_safetensors_close(sc_safetensors *file)
{
    if (file == NULL)
        return;
    json_decref(file->header);
    free(file);
}

static bool is_float32(const json_t *type)
{
    return json_is_string(type) && strcmp(json_string_value(type), "F32") == 0;
}

static bool shape_is(const json_t *shape, size_t rows, size_t columns)
{
    size_t dimensions = rows == 0 ? 1 : 2;
    return json_array_size(shape) == dimensions &&
           (rows == 0 || (size_t)json_integer_value(json_array_get(shape, 0)) == rows) &&
           (size_t)json_integer_value(json_array_get(shape, dimensions - 1)) == columns;
}

sc_status sc_safetensors_find(const sc_safetensors *file, const char *name, size_t rows,
                              size_t columns, const float **out, sc_error *error)
{
    const json_t *tensor = json_object_get(file->header, name);
    size_t        from, to;
    *out = NULL;
    /* Again: "__metadata__" was not looked at, and it may look like a tensor. */
    if (tensor == NULL || !tensor_fits(tensor, file->data_bytes) ||
        !tensor_range(tensor, &from, &to))
        return sc_fail(error, SC_NOT_FOUND, "weights: no tensor %s", name);
    if (!is_float32(json_object_get(tensor, "dtype")) ||
        !shape_is(json_object_get(tensor, "shape"), rows, columns) ||
        (uintptr_t)(file->data + from) % sizeof(float) != 0)
        return sc_fail(error, SC_MISMATCH, "weights: %s is not float32 [%zu, %zu]", name, rows,
                       columns);
    *out = (const float *)(const void *)(file->data + from);
    return SC_OK;
}
