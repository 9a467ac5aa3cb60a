#include "src/store/redis/schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "src/store/redis/resp.h"

/* TAG fields besides the vector. Only scope and guard are searched by; the others let an operator
 * count and look with FT.SEARCH and FT.AGGREGATE. */
static const char *const tag_fields[] = {"scope",  "guard", "tenant", "model",
                                         "corpus", "sys",   "tags"};
enum { TAG_FIELDS = sizeof tag_fields / sizeof tag_fields[0] };

static bool namespace_fits(const char *name)
{
    size_t len = name == NULL ? 0 : strlen(name);

    if (len == 0 || len > SC_REDIS_NAMESPACE_BYTES_MAX)
        return false;
    for (const char *c = name; *c != '\0'; c++)
        if (!((*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
              *c == '.' || *c == '_' || *c == '-'))
            return false;
    return true;
}

static void short_hash(sc_hasher *hasher, char out[17])
{
    sc_digest digest = sc_hasher_final(hasher);
    sc_hex_encode(digest.bytes, 8, out);
}

/* Vectors of another kind must lie under another prefix: one of the wrong length makes RediSearch
 * drop the whole entry from the index. */
static void model_hash(const sc_redis_options *options, char out[17])
{
    sc_hasher hasher;
    sc_hasher_init(&hasher);
    sc_hasher_field(&hasher, sc_str_of(options->embedding_model));
    sc_hasher_u64(&hasher, options->dim);
    sc_hasher_u64(&hasher, (uint64_t)options->vector_type);
    short_hash(&hasher, out);
}

static void index_hash(const sc_redis_schema *schema, char out[17])
{
    sc_hasher hasher;
    sc_hasher_init(&hasher);
    sc_hasher_field(&hasher, sc_str_of(schema->prefix));
    sc_hasher_u64(&hasher, schema->flat);
    sc_hasher_u64(&hasher, schema->flat ? 0 : schema->m);
    sc_hasher_u64(&hasher, schema->flat ? 0 : schema->ef_construction);
    for (size_t i = 0; i < TAG_FIELDS; i++)
        sc_hasher_field(&hasher, sc_str_of(tag_fields[i]));
    short_hash(&hasher, out);
}

sc_status sc_redis_schema_make(const sc_redis_options *options, sc_redis_schema *out,
                               sc_error *error)
{
    const char *space = options->cache_namespace;
    char        model[17], index[17];

    if (!namespace_fits(space))
        return sc_fail(error, SC_INVALID,
                       "CACHE_NAMESPACE: must be 1 to %d of the characters A-Z a-z 0-9 . _ -",
                       SC_REDIS_NAMESPACE_BYTES_MAX);
    if (options->dim == 0 || options->dim > SC_REDIS_DIM_MAX)
        return sc_fail(error, SC_INVALID, "embedding dimension %u: must be 1 to %d", options->dim,
                       SC_REDIS_DIM_MAX);
    *out = (sc_redis_schema){.dim = options->dim,
                             .m = options->hnsw_m,
                             .ef_construction = options->ef_construction,
                             .half = options->vector_type == SC_REDIS_FLOAT16,
                             .stale_ms = options->stale_seconds * 1000,
                             .tag = -1,
                             .flat = options->algorithm == SC_REDIS_FLAT};
    model_hash(options, model);
    out->prefix_len = (size_t)snprintf(out->prefix, sizeof out->prefix, "%s:v1:%s:", space, model);
    index_hash(out, index);
    snprintf(out->everyone, sizeof out->everyone, "%s:v1:*", space);
    snprintf(out->mine, sizeof out->mine, "%s:v1:%s:*", space, model);
    snprintf(out->index, sizeof out->index, "%s:idx:%s", space, index);
    snprintf(out->used, sizeof out->used, "%s:used:%s", space, model);
    snprintf(out->sweeper, sizeof out->sweeper, "%s:sweeper:%s", space, model);
    return SC_OK;
}

/* Where a name's tag begins, or would begin: no other part of a name holds a brace. */
static size_t untagged(const char *name)
{
    const char *tag = strstr(name, ":{");
    return tag == NULL ? strlen(name) : (size_t)(tag - name);
}

static void retag(char name[SC_REDIS_NAME_BYTES], int tag)
{
    size_t len = untagged(name);
    snprintf(name + len, SC_REDIS_NAME_BYTES - len, ":{%d}", tag);
}

void sc_redis_schema_retag(sc_redis_schema *schema, int tag)
{
    schema->tag = tag;
    retag(schema->index, tag);
    retag(schema->used, tag);
    retag(schema->sweeper, tag);
}

int sc_redis_schema_tag_of(const sc_redis_schema *schema, sc_str index)
{
    size_t base = untagged(schema->index);
    int    tag = 0;

    if (index.len < base + 4 || index.len > base + 9 ||
        memcmp(index.ptr, schema->index, base) != 0 || memcmp(index.ptr + base, ":{", 2) != 0 ||
        index.ptr[index.len - 1] != '}')
        return -1;
    for (size_t i = base + 2; i + 1 < index.len; i++) {
        if (index.ptr[i] < '0' || index.ptr[i] > '9')
            return -1;
        tag = tag * 10 + (index.ptr[i] - '0');
    }
    return tag;
}

size_t sc_redis_schema_key(const sc_redis_schema *schema, const sc_digest *id,
                           char out[SC_REDIS_KEY_BYTES])
{
    memcpy(out, schema->prefix, schema->prefix_len);
    sc_hex_encode(id->bytes, sizeof id->bytes, out + schema->prefix_len);
    return schema->prefix_len + SC_DIGEST_HEX_BYTES;
}

bool sc_redis_schema_id(const sc_redis_schema *schema, sc_str key, sc_digest *id, bool *mine)
{
    /* All prefixes of a namespace have the same length. */
    if (key.len != schema->prefix_len + SC_DIGEST_HEX_BYTES)
        return false;
    *mine = memcmp(key.ptr, schema->prefix, schema->prefix_len) == 0;
    sc_str hex = {key.ptr + schema->prefix_len, SC_DIGEST_HEX_BYTES};
    for (size_t i = 0; i < hex.len; i++)
        if (hex.ptr[i] >= 'A' && hex.ptr[i] <= 'F')
            return false; /* Two keys for one id: we write lower case. */
    return sc_hex_decode(hex, id->bytes, sizeof id->bytes);
}

static const char *type_name(const sc_redis_schema *schema)
{
    return schema->half ? "FLOAT16" : "FLOAT32";
}

static void create_vector(const sc_redis_schema *schema, sc_buf *out)
{
    sc_resp_text(out, "v");
    sc_resp_text(out, "VECTOR");
    sc_resp_text(out, schema->flat ? "FLAT" : "HNSW");
    sc_resp_int(out, schema->flat ? 6 : 10);
    sc_resp_text(out, "TYPE");
    sc_resp_text(out, type_name(schema));
    sc_resp_text(out, "DIM");
    sc_resp_int(out, schema->dim);
    sc_resp_text(out, "DISTANCE_METRIC");
    sc_resp_text(out, "COSINE");
    if (schema->flat)
        return;
    sc_resp_text(out, "M");
    sc_resp_int(out, schema->m);
    sc_resp_text(out, "EF_CONSTRUCTION");
    sc_resp_int(out, schema->ef_construction);
}

void sc_redis_schema_create(const sc_redis_schema *schema, sc_buf *out)
{
    size_t vector_words = schema->flat ? 10 : 14;

    sc_resp_command(out, 8 + vector_words + 3 * TAG_FIELDS + 2);
    sc_resp_text(out, "FT.CREATE");
    sc_resp_text(out, schema->index);
    sc_resp_text(out, "ON");
    sc_resp_text(out, "HASH");
    sc_resp_text(out, "PREFIX");
    sc_resp_text(out, "1");
    sc_resp_text(out, schema->prefix);
    sc_resp_text(out, "SCHEMA");
    create_vector(schema, out);
    for (size_t i = 0; i < TAG_FIELDS; i++) {
        sc_resp_text(out, tag_fields[i]);
        sc_resp_text(out, "TAG");
        sc_resp_text(out, "CASESENSITIVE");
    }
    sc_resp_text(out, "created");
    sc_resp_text(out, "NUMERIC");
}

void sc_redis_tag_digest(const sc_digest *digest, char out[SC_REDIS_TAG_BYTES])
{
    sc_hex_encode(digest->bytes, 16, out);
}

void sc_redis_tag_text(sc_str value, char out[SC_REDIS_TAG_BYTES])
{
    sc_digest digest = sc_sha256(value.ptr, value.len);
    sc_redis_tag_digest(&digest, out);
}

void sc_redis_tag_guard(uint64_t guard, char out[SC_REDIS_TAG_BYTES])
{
    uint8_t bytes[8];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(guard >> (56 - 8 * i));
    sc_hex_encode(bytes, sizeof bytes, out);
}

static bool is_text(const redisReply *reply)
{
    return reply != NULL &&
           (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS);
}

static bool is_array(const redisReply *reply)
{
    return reply != NULL && reply->type == REDIS_REPLY_ARRAY;
}

/* The value behind a name in a flat array of names and values; NULL: absent. */
static const redisReply *value_of(const redisReply *map, const char *name)
{
    for (size_t i = 0; is_array(map) && i + 1 < map->elements; i += 2)
        if (is_text(map->element[i]) && strcasecmp(map->element[i]->str, name) == 0)
            return map->element[i + 1];
    return NULL;
}

/* Which fields are integers and which texts differs between versions. */
static double number_of(const redisReply *map, const char *name, double fallback)
{
    const redisReply *value = value_of(map, name);
    double            number = fallback;

    if (value != NULL && value->type == REDIS_REPLY_INTEGER)
        number = (double)value->integer;
    else if (is_text(value))
        number = strtod(value->str, NULL);
    return isfinite(number) && number >= 0 && number < 1e18 ? number : fallback;
}

static bool text_is(const redisReply *value, const char *wanted)
{
    return is_text(value) && strcasecmp(value->str, wanted) == 0;
}

static const redisReply *attribute_of(const redisReply *attributes, const char *name)
{
    for (size_t i = 0; is_array(attributes) && i < attributes->elements; i++)
        if (text_is(value_of(attributes->element[i], "attribute"), name))
            return attributes->element[i];
    return NULL;
}

static bool differs(sc_redis_index *out, const char *what)
{
    snprintf(out->problem, sizeof out->problem, "%s", what);
    return true;
}

static bool vector_differs(const sc_redis_schema *schema, const redisReply *vector,
                           sc_redis_index *out)
{
    if (!text_is(value_of(vector, "type"), "VECTOR"))
        return differs(out, "no vector field v");
    if (number_of(vector, "dim", -1) != schema->dim)
        return differs(out, "dim");
    if (!text_is(value_of(vector, "data_type"), type_name(schema)))
        return differs(out, "data_type");
    if (!text_is(value_of(vector, "algorithm"), schema->flat ? "FLAT" : "HNSW"))
        return differs(out, "algorithm");
    if (!text_is(value_of(vector, "distance_metric"), "COSINE"))
        return differs(out, "distance_metric");
    if (!schema->flat && number_of(vector, "M", -1) != schema->m)
        return differs(out, "M");
    return !schema->flat && number_of(vector, "ef_construction", -1) != schema->ef_construction &&
           differs(out, "ef_construction");
}

static bool index_differs(const sc_redis_schema *schema, const redisReply *info,
                          sc_redis_index *out)
{
    const redisReply *definition = value_of(info, "index_definition");
    const redisReply *prefixes = value_of(definition, "prefixes");
    const redisReply *attributes = value_of(info, "attributes");

    if (!is_array(prefixes) || prefixes->elements != 1 || !is_text(prefixes->element[0]) ||
        strcmp(prefixes->element[0]->str, schema->prefix) != 0)
        return differs(out, "prefix");
    if (vector_differs(schema, attribute_of(attributes, "v"), out))
        return true;
    for (size_t i = 0; i < TAG_FIELDS; i++)
        if (!text_is(value_of(attribute_of(attributes, tag_fields[i]), "type"), "TAG"))
            return differs(out, tag_fields[i]);
    return false;
}

sc_status sc_redis_schema_check(const sc_redis_schema *schema, const redisReply *info,
                                sc_redis_index *out)
{
    *out = (sc_redis_index){0};
    if (!is_array(info) || value_of(info, "attributes") == NULL)
        return SC_CORRUPT;
    out->fits = !index_differs(schema, info, out);
    out->documents = (uint64_t)number_of(info, "num_docs", 0);
    out->failures = (uint64_t)number_of(info, "hash_indexing_failures", 0);
    out->percent_indexed = number_of(info, "percent_indexed", 1);
    if (out->percent_indexed > 1)
        out->percent_indexed = 1;
    return SC_OK;
}
