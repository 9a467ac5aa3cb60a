#include "src/store/redis/codec.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/store/redis/resp.h"
#include "src/store/redis/vector.h"
#include "src/text/utf8.h"

const char *const sc_redis_field_names[SC_REDIS_ALL_FIELDS] = {
    "ver", "exp", "meta", "prompt", "canonical", "answer", "v"};

enum { HSET_FIELDS = 14, META_BYTES_MAX = 1 << 20 };

/* --- reading --------------------------------------------------------------------------- */

sc_str *sc_redis_field(sc_redis_fields *fields, size_t number)
{
    sc_str *const places[SC_REDIS_ALL_FIELDS] = {
        &fields->version,   &fields->expires, &fields->meta,  &fields->prompt,
        &fields->canonical, &fields->answer,  &fields->vector};
    return places[number];
}

bool sc_redis_fields_read(const redisReply *reply, size_t count, sc_redis_fields *out, bool *absent)
{
    *out = (sc_redis_fields){0};
    *absent = true;
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != count ||
        count > SC_REDIS_ALL_FIELDS)
        return false;
    for (size_t i = 0; i < count; i++) {
        const redisReply *value = reply->element[i];
        if (value->type == REDIS_REPLY_NIL)
            continue;
        if (value->type != REDIS_REPLY_STRING)
            return false;
        *sc_redis_field(out, i) = (sc_str){value->str, value->len};
        *absent = false;
    }
    return true;
}

bool sc_redis_version_read(sc_str text, uint64_t *version)
{
    uint8_t bytes[8];

    if (!sc_hex_decode(text, bytes, sizeof bytes))
        return false;
    *version = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        *version = *version << 8 | bytes[i];
    return *version != 0;
}

bool sc_redis_expires_read(sc_str text, sc_wall *expires)
{
    int64_t value = 0;

    if (text.len == 0 || text.len > 15)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        value = value * 10 + (text.ptr[i] - '0');
    }
    expires->ms = value;
    return value > 0;
}

/* What is left of meta; short reads make it `bad`, which sticks. */
typedef struct {
    const char *at;
    size_t      left;
    bool        bad;
} cursor;

static const char *take(cursor *from, size_t len)
{
    if (from->bad || len > from->left) {
        from->bad = true;
        return NULL;
    }
    const char *bytes = from->at;
    from->at += len;
    from->left -= len;
    return bytes;
}

static void take_bytes(cursor *from, void *out, size_t len)
{
    const char *bytes = take(from, len);
    if (bytes != NULL)
        memcpy(out, bytes, len);
    else
        memset(out, 0, len);
}

static uint64_t take_u64(cursor *from)
{
    uint64_t value;
    take_bytes(from, &value, sizeof value);
    return value;
}

static uint32_t take_u32(cursor *from)
{
    uint32_t value;
    take_bytes(from, &value, sizeof value);
    return value;
}

static sc_str take_text(cursor *from)
{
    uint32_t    len = take_u32(from);
    const char *bytes = take(from, len);
    return bytes == NULL ? SC_STR("") : (sc_str){bytes, len};
}

static bool read_meta(sc_str meta, sc_entry_fields *out, sc_str *tags)
{
    cursor from = {meta.ptr, meta.len, false};

    take_bytes(&from, out->id.bytes, sizeof out->id.bytes);
    take_bytes(&from, out->scope.bytes, sizeof out->scope.bytes);
    take_bytes(&from, out->system_hash.bytes, sizeof out->system_hash.bytes);
    out->guard = take_u64(&from);
    out->created.ms = (int64_t)take_u64(&from);
    take_bytes(&from, &out->temperature, sizeof out->temperature);
    out->prompt_tokens = take_u32(&from);
    out->completion_tokens = take_u32(&from);
    out->tenant = take_text(&from);
    out->model = take_text(&from);
    out->corpus_version = take_text(&from);
    out->finish_reason = take_text(&from);
    out->answered_by = take_text(&from);
    out->tags_count = take_u32(&from);
    if (out->tags_count > SC_ENTRY_TAGS_MAX)
        return false;
    for (uint32_t i = 0; i < out->tags_count; i++)
        tags[i] = take_text(&from);
    out->tags = tags;
    return !from.bad && from.left == 0 && isfinite(out->temperature) && out->created.ms >= 0;
}

/* What any of them holds may go into a reply, which is text or cannot be read by its receiver. */
static bool all_text(const sc_entry_fields *entry)
{
    const sc_str texts[] = {entry->tenant,        entry->model,       entry->corpus_version,
                            entry->finish_reason, entry->answered_by, entry->prompt,
                            entry->canonical,     entry->answer};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (!sc_utf8_valid(texts[i], NULL))
            return false;
    for (uint32_t i = 0; i < entry->tags_count; i++)
        if (!sc_utf8_valid(entry->tags[i], NULL))
            return false;
    return true;
}

static sc_str or_empty(sc_str text)
{
    return text.ptr == NULL ? SC_STR("") : text;
}

sc_status sc_redis_entry_decode(const sc_redis_fields *fields, const sc_digest *id, sc_entry **out)
{
    sc_entry_fields entry = {0};
    sc_str          tags[SC_ENTRY_TAGS_MAX];

    *out = NULL;
    if (fields->meta.ptr == NULL || fields->prompt.ptr == NULL || fields->canonical.ptr == NULL ||
        !sc_redis_version_read(fields->version, &entry.version) ||
        !sc_redis_expires_read(fields->expires, &entry.expires) ||
        !read_meta(fields->meta, &entry, tags) || !sc_digest_equal(&entry.id, id))
        return SC_CORRUPT;
    entry.prompt = fields->prompt;
    entry.canonical = fields->canonical;
    entry.answer = or_empty(fields->answer);
    if (!all_text(&entry))
        return SC_CORRUPT;
    *out = sc_entry_make(&entry);
    return *out == NULL ? SC_NO_MEMORY : SC_OK;
}

/* --- writing --------------------------------------------------------------------------- */

static void put_u32(sc_buf *to, size_t value)
{
    uint32_t bytes = (uint32_t)value;
    sc_buf_append(to, &bytes, sizeof bytes);
}

static void put_u64(sc_buf *to, uint64_t value)
{
    sc_buf_append(to, &value, sizeof value);
}

static void put_text(sc_buf *to, sc_str text)
{
    put_u32(to, text.len);
    sc_buf_str(to, text);
}

static void write_meta(const sc_entry_fields *entry, sc_buf *to)
{
    sc_buf_append(to, entry->id.bytes, sizeof entry->id.bytes);
    sc_buf_append(to, entry->scope.bytes, sizeof entry->scope.bytes);
    sc_buf_append(to, entry->system_hash.bytes, sizeof entry->system_hash.bytes);
    put_u64(to, entry->guard);
    put_u64(to, (uint64_t)entry->created.ms);
    sc_buf_append(to, &entry->temperature, sizeof entry->temperature);
    put_u32(to, entry->prompt_tokens);
    put_u32(to, entry->completion_tokens);
    put_text(to, entry->tenant);
    put_text(to, entry->model);
    put_text(to, entry->corpus_version);
    put_text(to, entry->finish_reason);
    put_text(to, entry->answered_by);
    put_u32(to, entry->tags_count);
    for (uint32_t i = 0; i < entry->tags_count; i++)
        put_text(to, entry->tags[i]);
}

static void put_pair(sc_buf *out, const char *name, sc_str value)
{
    sc_resp_text(out, name);
    sc_resp_str(out, value);
}

static void put_tag(sc_buf *out, const char *name, sc_str value)
{
    char tag[SC_REDIS_TAG_BYTES];
    sc_redis_tag_text(value, tag);
    put_pair(out, name, sc_str_of(tag));
}

static void put_tags(const sc_entry_fields *entry, sc_buf *out)
{
    char   list[SC_ENTRY_TAGS_MAX * SC_REDIS_TAG_BYTES + 1];
    size_t used = 0;

    for (uint32_t i = 0; i < entry->tags_count && i < SC_ENTRY_TAGS_MAX; i++) {
        if (used != 0)
            list[used - 1] = ',';
        sc_redis_tag_text(entry->tags[i], list + used);
        used += SC_REDIS_TAG_BYTES;
    }
    put_pair(out, "tags", (sc_str){list, used == 0 ? 0 : used - 1});
}

static void put_indexed(const sc_entry_fields *entry, sc_buf *out)
{
    char text[SC_REDIS_TAG_BYTES];

    sc_redis_tag_digest(&entry->scope, text);
    put_pair(out, "scope", sc_str_of(text));
    sc_redis_tag_guard(entry->guard, text);
    put_pair(out, "guard", sc_str_of(text));
    sc_redis_tag_digest(&entry->system_hash, text);
    put_pair(out, "sys", sc_str_of(text));
    put_tag(out, "tenant", entry->tenant);
    put_tag(out, "model", entry->model);
    put_tag(out, "corpus", entry->corpus_version);
    put_tags(entry, out);
    sc_resp_text(out, "created");
    sc_resp_int(out, entry->created.ms);
}

static void put_stored(const sc_entry_fields *entry, sc_buf *out)
{
    char   text[32];
    sc_buf meta;

    snprintf(text, sizeof text, "%016" PRIx64, entry->version);
    put_pair(out, "ver", sc_str_of(text));
    sc_resp_text(out, "exp");
    sc_resp_int(out, entry->expires.ms);
    sc_buf_init(&meta, META_BYTES_MAX);
    write_meta(entry, &meta);
    put_pair(out, "meta", sc_buf_view(&meta));
    if (meta.failed != SC_OK && out->failed == SC_OK)
        out->failed = meta.failed;
    sc_buf_fini(&meta);
    put_pair(out, "prompt", entry->prompt);
    put_pair(out, "canonical", entry->canonical);
    put_pair(out, "answer", entry->answer);
}

static void put_vector(const sc_redis_schema *schema, const float *vector, sc_buf *out)
{
    size_t len = sc_vector_bytes(schema->dim, schema->half);
    char  *bytes = malloc(len);

    if (bytes == NULL) {
        out->failed = SC_NO_MEMORY;
        return;
    }
    sc_vector_encode(vector, schema->dim, schema->half, bytes);
    sc_resp_str(out, (sc_str){bytes, len});
    free(bytes);
}

size_t sc_redis_entry_encode(const sc_redis_schema *schema, const sc_entry_fields *entry,
                             const float *vector, sc_buf *out)
{
    char   text[SC_REDIS_KEY_BYTES];
    sc_str key = {text, sc_redis_schema_key(schema, &entry->id, text)};

    sc_resp_words(out, (const char *const[]){"MULTI", NULL});
    if (vector == NULL) {
        sc_resp_command(out, 3);
        sc_resp_text(out, "HDEL");
        sc_resp_str(out, key);
        sc_resp_text(out, "v");
    }
    /* One HSET: each write to an indexed HASH inserts its vector anew, for milliseconds. */
    sc_resp_command(out, 2 + 2 * HSET_FIELDS + (vector != NULL ? 2u : 0u));
    sc_resp_text(out, "HSET");
    sc_resp_str(out, key);
    if (vector != NULL) {
        sc_resp_text(out, "v");
        put_vector(schema, vector, out);
    }
    put_indexed(entry, out);
    put_stored(entry, out);
    sc_resp_command(out, 3);
    sc_resp_text(out, "PEXPIREAT");
    sc_resp_str(out, key);
    /* "exp" stays the bound of every look-up; Redis only lets go later. */
    sc_resp_int(out, entry->expires.ms + schema->stale_ms);
    sc_resp_words(out, (const char *const[]){"EXEC", NULL});
    return vector == NULL ? 5 : 4;
}
