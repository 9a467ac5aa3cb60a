#include "src/embed/embeddings_json.h"

#include <math.h>
#include <stdlib.h>

#include "src/embed/scan.h"
#include "src/text/base64.h"

enum { DIM_MAX = 65536 };

static sc_status corrupt(sc_error *error, const char *what)
{
    return sc_fail(error, SC_CORRUPT, "embeddings reply: %s", what);
}

static sc_status not_json(sc_error *error)
{
    return corrupt(error, "it is not JSON");
}

/* ---- one vector ---- */

static sc_status read_base64(sc_str text, uint32_t dim, float *vector, sc_error *error)
{
    size_t bytes = (size_t)dim * sizeof *vector;
    if (sc_base64_decoded_len(text) != bytes)
        return sc_fail(error, SC_MISMATCH, "embeddings reply: %zu bytes in a vector, not %zu",
                       sc_base64_decoded_len(text), bytes);
    return sc_base64_decode(text, vector, bytes) ? SC_OK : corrupt(error, "a vector is not base64");
}

static sc_status read_array(sc_scan *scan, uint32_t dim, float *vector, sc_error *error)
{
    bool     first = true, bad = false;
    uint32_t count = 0;
    while (sc_scan_item(scan, &first, &bad)) {
        double number;
        if (count == dim)
            return sc_fail(error, SC_MISMATCH, "embeddings reply: more than %u dimensions", dim);
        if (!sc_scan_number(scan, &number))
            return corrupt(error, "a vector has something else than numbers");
        vector[count++] = (float)number;
    }
    if (bad)
        return not_json(error);
    if (count != dim)
        return sc_fail(error, SC_MISMATCH, "embeddings reply: %u dimensions, not %u", count, dim);
    return SC_OK;
}

/* Scales to length 1. A sum that is not finite also tells of any NaN or infinity within. Four
 * sums at a time: the compiler may not reorder one. */
static sc_status normalise(float *vector, uint32_t dim, sc_error *error)
{
    double   sums[4] = {0}, sum = 0;
    uint32_t i = 0;
    for (; i + 4 <= dim; i += 4)
        for (uint32_t j = 0; j < 4; j++)
            sums[j] += (double)vector[i + j] * (double)vector[i + j];
    for (; i < dim; i++)
        sum += (double)vector[i] * (double)vector[i];
    sum += (sums[0] + sums[1]) + (sums[2] + sums[3]);
    if (!isfinite(sum) || sum < 1e-12)
        return corrupt(error, "a vector is not finite, or zero");
    float scale = (float)(1 / sqrt(sum));
    for (i = 0; i < dim; i++)
        vector[i] *= scale;
    return SC_OK;
}

static sc_status read_vector(sc_str json, uint32_t dim, float *vector, sc_error *error)
{
    sc_scan   scan = {json.ptr, json.ptr + json.len};
    sc_str    text;
    sc_status status;
    if (sc_scan_string(&scan, &text))
        status = read_base64(text, dim, vector, error);
    else if (sc_scan_char(&scan, '['))
        status = read_array(&scan, dim, vector, error);
    else
        status = corrupt(error, "no embedding in an item");
    return status == SC_OK ? normalise(vector, dim, error) : status;
}

/* ---- one item ---- */

typedef struct {
    uint64_t index;
    sc_str   embedding; /* its JSON; ptr NULL: none */
} item;

/* The embedding is only looked for: its place is known when the index is, which may come later. */
static sc_status read_item(sc_scan *scan, item *out, sc_error *error)
{
    bool   first = true, bad = false;
    sc_str name, ignored;
    if (!sc_scan_char(scan, '{'))
        return corrupt(error, "an item is not an object");
    while (sc_scan_member(scan, &first, &name, &bad)) {
        if (sc_str_equal(name, SC_STR("index"))) {
            if (!sc_scan_index(scan, &out->index))
                return corrupt(error, "an index is not a number");
        } else if (!sc_scan_value(scan, sc_str_equal(name, SC_STR("embedding")) ? &out->embedding
                                                                                : &ignored)) {
            return not_json(error);
        }
    }
    return bad ? not_json(error) : SC_OK;
}

typedef struct {
    size_t   count;
    uint32_t dim;
    float   *vectors; /* [count, dim] */
    bool    *seen;    /* [count] */
    size_t   used;
    bool     has_data;
    uint64_t tokens;
} reader;

static sc_status place_item(reader *r, const item *it, sc_error *error)
{
    if (it->index >= r->count)
        return corrupt(error, "an index is out of range");
    if (r->seen[it->index])
        return corrupt(error, "an index comes twice");
    if (it->embedding.ptr == NULL)
        return corrupt(error, "no embedding in an item");
    r->seen[it->index] = true;
    return read_vector(it->embedding, r->dim, r->vectors + it->index * r->dim, error);
}

static sc_status read_data(sc_scan *scan, reader *r, sc_error *error)
{
    bool first = true, bad = false;
    if (r->has_data || !sc_scan_char(scan, '['))
        return corrupt(error, "no list \"data\"");
    r->has_data = true;
    while (sc_scan_item(scan, &first, &bad)) {
        item      it = {.index = r->used}; /* without an index, the order counts */
        sc_status status = read_item(scan, &it, error);
        if (status == SC_OK && r->used == r->count)
            status = sc_fail(error, SC_MISMATCH, "embeddings reply: more vectors than texts");
        if (status == SC_OK)
            status = place_item(r, &it, error);
        if (status != SC_OK)
            return status;
        r->used++;
    }
    return bad ? not_json(error) : SC_OK;
}

static sc_status read_usage(sc_scan *scan, reader *r, sc_error *error)
{
    bool   first = true, bad = false;
    sc_str name, ignored;
    if (!sc_scan_char(scan, '{'))
        return sc_scan_value(scan, &ignored) ? SC_OK : not_json(error);
    while (sc_scan_member(scan, &first, &name, &bad)) {
        sc_scan before = *scan;
        if (sc_str_equal(name, SC_STR("total_tokens")) && sc_scan_index(scan, &r->tokens))
            continue;
        *scan = before;
        if (!sc_scan_value(scan, &ignored))
            return not_json(error);
    }
    return bad ? not_json(error) : SC_OK;
}

static sc_status read_root(sc_scan *scan, reader *r, sc_error *error)
{
    bool      first = true, bad = false;
    sc_str    name, ignored;
    sc_status status = SC_OK;
    if (!sc_scan_char(scan, '{'))
        return not_json(error);
    while (status == SC_OK && sc_scan_member(scan, &first, &name, &bad)) {
        if (sc_str_equal(name, SC_STR("data")))
            status = read_data(scan, r, error);
        else if (sc_str_equal(name, SC_STR("usage")))
            status = read_usage(scan, r, error);
        else if (!sc_scan_value(scan, &ignored))
            status = not_json(error);
    }
    if (status == SC_OK && (bad || !sc_scan_end(scan)))
        status = not_json(error);
    return status;
}

sc_status sc_embeddings_read(sc_str json, size_t count, uint32_t dim, float *vectors,
                             uint32_t *tokens, sc_error *error)
{
    sc_scan scan = {json.ptr, json.ptr == NULL ? NULL : json.ptr + json.len};
    reader  r = {.count = count, .dim = dim, .vectors = vectors};
    r.seen = calloc(count, sizeof *r.seen);
    if (r.seen == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory for a reply");
    sc_status status = read_root(&scan, &r, error);
    if (status == SC_OK && !r.has_data)
        status = corrupt(error, "no list \"data\"");
    if (status == SC_OK && r.used != count)
        status = sc_fail(error, SC_MISMATCH, "embeddings reply: %zu vectors for %zu texts", r.used,
                         count);
    *tokens = r.tokens <= UINT32_MAX ? (uint32_t)r.tokens : 0;
    free(r.seen);
    return status;
}

/* ---- the dimension ---- */

static size_t dim_of(sc_str json)
{
    sc_scan scan = {json.ptr, json.ptr + json.len};
    sc_str  text, number;
    bool    first = true, bad = false;
    size_t  count = 0;
    if (sc_scan_string(&scan, &text))
        return sc_base64_decoded_len(text) / sizeof(float);
    if (!sc_scan_char(&scan, '['))
        return 0;
    while (sc_scan_item(&scan, &first, &bad) && sc_scan_value(&scan, &number))
        count++;
    return bad ? 0 : count;
}

static bool find_first_item(sc_scan *scan)
{
    bool   first = true, bad = false;
    sc_str name, ignored;
    if (!sc_scan_char(scan, '{'))
        return false;
    while (sc_scan_member(scan, &first, &name, &bad)) {
        if (sc_str_equal(name, SC_STR("data")))
            return sc_scan_char(scan, '[');
        if (!sc_scan_value(scan, &ignored))
            return false;
    }
    return false;
}

sc_status sc_embeddings_dim(sc_str json, uint32_t *dim, sc_error *error)
{
    sc_scan scan = {json.ptr, json.ptr == NULL ? NULL : json.ptr + json.len};
    item    it = {0};
    size_t  size = 0;
    if (find_first_item(&scan) && read_item(&scan, &it, NULL) == SC_OK && it.embedding.ptr != NULL)
        size = dim_of(it.embedding);
    if (size == 0 || size > DIM_MAX)
        return corrupt(error, "no vector to take the dimension from");
    *dim = (uint32_t)size;
    return SC_OK;
}
