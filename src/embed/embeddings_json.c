#include "src/embed/embeddings_json.h"

#include <math.h>
#include <stdlib.h>

#include "src/text/base64.h"
#include "src/text/json.h"

enum { DIM_MAX = 65536 };

static sc_status corrupt(sc_error *error, const char *what)
{
    return sc_fail(error, SC_CORRUPT, "embeddings reply: %s", what);
}

static sc_status parse(sc_str json, json_t **root, sc_error *error)
{
    return sc_json_parse(json, json.len, root, NULL) == SC_OK ? SC_OK
                                                              : corrupt(error, "it is not JSON");
}

static sc_str string_of(const json_t *value)
{
    return (sc_str){json_string_value(value), json_string_length(value)};
}

static sc_status read_base64(sc_str text, uint32_t dim, float *vector, sc_error *error)
{
    size_t bytes = (size_t)dim * sizeof *vector;
    if (sc_base64_decoded_len(text) != bytes)
        return sc_fail(error, SC_MISMATCH, "embeddings reply: %zu bytes in a vector, not %zu",
                       sc_base64_decoded_len(text), bytes);
    return sc_base64_decode(text, vector, bytes) ? SC_OK : corrupt(error, "a vector is not base64");
}

static sc_status read_array(const json_t *array, uint32_t dim, float *vector, sc_error *error)
{
    if (json_array_size(array) != dim)
        return sc_fail(error, SC_MISMATCH, "embeddings reply: %zu dimensions, not %u",
                       json_array_size(array), dim);
    for (uint32_t i = 0; i < dim; i++) {
        const json_t *number = json_array_get(array, i);
        if (!json_is_number(number))
            return corrupt(error, "a vector has something else than numbers");
        vector[i] = (float)json_number_value(number);
    }
    return SC_OK;
}

/* Scales to length 1. A sum that is not finite also tells of any NaN or infinity within. */
static sc_status normalise(float *vector, uint32_t dim, sc_error *error)
{
    double sum = 0;
    for (uint32_t i = 0; i < dim; i++)
        sum += (double)vector[i] * (double)vector[i];
    if (!isfinite(sum) || sum < 1e-12)
        return corrupt(error, "a vector is not finite, or zero");
    float scale = (float)(1 / sqrt(sum));
    for (uint32_t i = 0; i < dim; i++)
        vector[i] *= scale;
    return SC_OK;
}

static sc_status read_vector(const json_t *embedding, uint32_t dim, float *vector, sc_error *error)
{
    sc_status status = json_is_string(embedding)
                           ? read_base64(string_of(embedding), dim, vector, error)
                       : json_is_array(embedding) ? read_array(embedding, dim, vector, error)
                                                  : corrupt(error, "no embedding in an item");
    return status == SC_OK ? normalise(vector, dim, error) : status;
}

/* Items without an index are taken in the order they stand in. */
static sc_status index_of(const json_t *item, size_t at, size_t count, size_t *index,
                          sc_error *error)
{
    const json_t *value = json_object_get(item, "index");
    if (value == NULL) {
        *index = at;
        return SC_OK;
    }
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || (size_t)number >= count)
        return corrupt(error, "an index is out of range");
    *index = (size_t)number;
    return SC_OK;
}

static sc_status read_items(const json_t *data, size_t count, uint32_t dim, float *vectors,
                            bool *seen, sc_error *error)
{
    size_t  at, index = 0;
    json_t *item;
    json_array_foreach(data, at, item)
    {
        sc_status status = index_of(item, at, count, &index, error);
        if (status == SC_OK && seen[index])
            status = corrupt(error, "an index comes twice");
        if (status == SC_OK)
            status = read_vector(json_object_get(item, "embedding"), dim, vectors + index * dim,
                                 error);
        if (status != SC_OK)
            return status;
        seen[index] = true;
    }
    return SC_OK;
}

static uint32_t read_tokens(const json_t *root)
{
    const json_t *usage = json_object_get(root, "usage");
    json_int_t    total = json_integer_value(json_object_get(usage, "total_tokens"));
    return total > 0 && total <= UINT32_MAX ? (uint32_t)total : 0;
}

sc_status sc_embeddings_read(sc_str json, size_t count, uint32_t dim, float *vectors,
                             uint32_t *tokens, sc_error *error)
{
    json_t   *root = NULL;
    bool     *seen = calloc(count, sizeof *seen);
    sc_status status = seen == NULL ? sc_fail(error, SC_NO_MEMORY, "no memory for a reply")
                                    : parse(json, &root, error);
    if (status != SC_OK)
        goto out;
    const json_t *data = json_object_get(root, "data");
    if (!json_is_array(data)) {
        status = corrupt(error, "no list \"data\"");
        goto out;
    }
    if (json_array_size(data) != count) {
        status = sc_fail(error, SC_MISMATCH, "embeddings reply: %zu vectors for %zu texts",
                         json_array_size(data), count);
        goto out;
    }
    *tokens = read_tokens(root);
    status = read_items(data, count, dim, vectors, seen, error);
out:
    json_decref(root);
    free(seen);
    return status;
}

sc_status sc_embeddings_dim(sc_str json, uint32_t *dim, sc_error *error)
{
    json_t   *root = NULL;
    sc_status status = parse(json, &root, error);
    if (status != SC_OK)
        return status;
    const json_t *first = json_array_get(json_object_get(root, "data"), 0);
    const json_t *embedding = json_object_get(first, "embedding");
    size_t        size = json_is_string(embedding)
                             ? sc_base64_decoded_len(string_of(embedding)) / sizeof(float)
                             : json_array_size(embedding);
    json_decref(root);
    if (size == 0 || size > DIM_MAX)
        return corrupt(error, "no vector to take the dimension from");
    *dim = (uint32_t)size;
    return SC_OK;
}
