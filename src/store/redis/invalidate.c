/* Removing what a filter matches walks the key space and decides here, entry by entry: complete also
 * while the index is missing or being built, the same on every server, and by the one definition that
 * the warm set uses as well. 50 000 entries take about a second. Each page is a chain
 * of commands: SCAN, one HMGET per key, then UNLINKs of a few keys each, since an UNLINK repairs the
 * index' graph on Redis' main thread and everybody waits for it. */
#include <math.h>
#include <stdlib.h>

#include "src/store/redis/inside.h"
#include "src/store/redis/resp.h"
#include "src/store/redis/vector.h"

enum { PAGE_KEYS = 500, UNLINK_KEYS = 32, PAGE_BYTES_MAX = 64 * 1024 * 1024 };

typedef struct {
    sc_digest id;
    bool      mine;
    bool      matched;
} seen_key;

typedef struct {
    sc_op               *op;
    sc_redis            *redis;
    sc_store_invalidate *call;
    sc_command           command;
    char                 cursor[24]; /* of the next SCAN; "" when there is none */
    size_t               ids_done;   /* of the filter's list */
    sc_buf               names;      /* the page's keys, all of the same length */
    seen_key            *keys;       /* [keys_room] */
    size_t               keys_room, keys_used;
    size_t               fields;     /* asked per key */
    size_t               at;         /* next reply, or next key to unlink */
    float               *vector;     /* [dim], when the filter asks for nearness */
} removal;

static void next_page(removal *work);
static void next_unlink(removal *work);

static void finish(removal *work, sc_status status, const char *why)
{
    sc_op *op = work->op;

    sc_buf_fini(&work->names);
    free(work->keys);
    free(work->vector);
    free(work);
    sc_op_finish(op, status, why);
}

static removal *work_of(sc_command *command)
{
    return SC_CONTAINER(command, removal, command);
}

static void on_failed(sc_command *command, sc_status status, const char *why)
{
    finish(work_of(command), status, why);
}

/* Sends the scratch buffer. */
static void ask(removal *work, size_t replies, void (*reply)(sc_command *, const redisReply *))
{
    work->command = (sc_command){.deadline = work->call->call.deadline,
                                 .replies = replies,
                                 .reply = reply,
                                 .failed = on_failed};
    sc_status status = sc_redis_send(work->redis, SC_CONN_BULK, &work->command);
    if (status != SC_OK)
        finish(work, status, status == SC_UNAVAILABLE ? "Redis is away" : NULL);
}

static bool failed_by(removal *work, const redisReply *reply)
{
    sc_redis_fault fault = sc_redis_fault_of(reply);
    char           text[160];

    if (fault == SC_FAULT_NONE)
        return false;
    sc_redis_fault_text(reply, text, sizeof text);
    finish(work, sc_redis_fault_status(fault), text);
    return true;
}

/* --- the page's keys --------------------------------------------------------------------------- */

static size_t key_bytes(const removal *work)
{
    return work->redis->schema.prefix_len + SC_DIGEST_HEX_BYTES;
}

static sc_str key_at(const removal *work, size_t at)
{
    return (sc_str){work->names.data + at * key_bytes(work), key_bytes(work)};
}

static bool add_key(removal *work, sc_str key, const sc_digest *id, bool mine)
{
    if (work->keys_used == work->keys_room) {
        size_t    room = work->keys_room == 0 ? PAGE_KEYS : work->keys_room * 2;
        seen_key *keys = realloc(work->keys, room * sizeof *keys);
        if (keys == NULL)
            return false;
        work->keys = keys;
        work->keys_room = room;
    }
    work->keys[work->keys_used++] = (seen_key){*id, mine, false};
    return sc_buf_str(&work->names, key) == SC_OK;
}

static void clear_page(removal *work)
{
    work->keys_used = 0;
    work->at = 0;
    sc_buf_clear(&work->names);
}

/* --- reading and matching ----------------------------------------------------------------------- */

static const float *vector_of(removal *work, const sc_redis_fields *fields, bool mine)
{
    const sc_redis_schema *schema = &work->redis->schema;
    bool usable = mine && work->vector != NULL && fields->vector.ptr != NULL &&
                  sc_vector_decode(fields->vector, schema->dim, schema->half, work->vector);
    return usable ? work->vector : NULL;
}

static void add_example(removal *work, sc_entry *entry, float distance)
{
    sc_store_invalidate *call = work->call;
    if (call->examples_count < SC_STORE_EXAMPLES_MAX)
        call->examples[call->examples_count++] = (sc_candidate){sc_entry_ref(entry), distance};
}

static void match(removal *work, seen_key *key, const redisReply *reply)
{
    sc_store_invalidate *call = work->call;
    sc_redis_fields      fields;
    sc_entry            *entry;
    bool                 absent;
    float                distance;

    if (!sc_redis_fields_read(reply, work->fields, &fields, &absent) ||
        (!absent && sc_redis_entry_decode(&fields, &key->id, &entry) != SC_OK)) {
        sc_redis_foreign(work->redis);
        return;
    }
    if (absent)
        return;
    if (sc_store_filter_matches(&call->filter, &entry->f, vector_of(work, &fields, key->mine),
                                work->redis->schema.dim, &distance)) {
        key->matched = true;
        add_example(work, entry, distance);
        if (call->dry_run)
            call->removed++;
        else if (call->removing != NULL)
            call->removing(call->removing_context, &key->id);
    }
    sc_entry_unref(entry);
}

static void on_fields(sc_command *command, const redisReply *reply)
{
    removal *work = work_of(command);

    match(work, &work->keys[work->at++], reply);
    if (command->replies != 0)
        return;
    work->at = 0;
    if (work->call->dry_run)
        next_page(work);
    else
        next_unlink(work);
}

static void fetch_page(removal *work)
{
    sc_buf *out = sc_redis_scratch(work->redis);

    /* Answers are the largest part, and only examples need them. */
    bool examples_full = work->call->examples_count == SC_STORE_EXAMPLES_MAX;
    work->fields = examples_full ? SC_REDIS_ENTRY_FIELDS - 1 : SC_REDIS_ENTRY_FIELDS;
    if (work->vector != NULL)
        work->fields = SC_REDIS_ALL_FIELDS;
    for (size_t i = 0; i < work->keys_used; i++)
        sc_redis_hmget(out, key_at(work, i), work->fields);
    ask(work, work->keys_used, on_fields);
}

/* --- removing ----------------------------------------------------------------------------------- */

static void on_unlinked(sc_command *command, const redisReply *reply)
{
    removal *work = work_of(command);

    if (command->replies == 1) {
        if (reply->type == REDIS_REPLY_INTEGER && reply->integer > 0)
            work->call->removed += (uint64_t)reply->integer;
        else if (reply->type == REDIS_REPLY_ERROR)
            work->call->call.status = SC_UNAVAILABLE;
        return;
    }
    if (work->call->call.status != SC_OK)
        finish(work, SC_UNAVAILABLE, "Redis refused to remove entries");
    else
        next_unlink(work);
}

static void write_unlink(removal *work, const size_t *chosen, size_t count)
{
    sc_buf *out = sc_redis_scratch(work->redis);
    char    hex[SC_DIGEST_HEX_BYTES + 1];

    sc_resp_command(out, 1 + count);
    sc_resp_text(out, "UNLINK");
    for (size_t i = 0; i < count; i++)
        sc_resp_str(out, key_at(work, chosen[i]));
    sc_resp_command(out, 2 + count);
    sc_resp_text(out, "ZREM");
    sc_resp_text(out, work->redis->schema.used);
    for (size_t i = 0; i < count; i++) {
        sc_hex_encode(work->keys[chosen[i]].id.bytes, SC_DIGEST_BYTES, hex);
        sc_resp_text(out, hex);
    }
}

static void next_unlink(removal *work)
{
    size_t chosen[UNLINK_KEYS];
    size_t count = 0;

    for (; work->at < work->keys_used && count < UNLINK_KEYS; work->at++)
        if (work->keys[work->at].matched)
            chosen[count++] = work->at;
    if (count == 0) {
        next_page(work);
        return;
    }
    write_unlink(work, chosen, count);
    ask(work, 2, on_unlinked);
}

/* --- pages -------------------------------------------------------------------------------------- */

static void on_scanned(sc_command *command, const redisReply *reply)
{
    removal          *work = work_of(command);
    sc_str            cursor;
    const redisReply *keys;
    sc_digest         id;
    bool              mine;

    if (failed_by(work, reply))
        return;
    keys = sc_redis_scan_keys(reply, &cursor);
    if (keys == NULL) {
        finish(work, SC_UNAVAILABLE, "SCAN gave something else");
        return;
    }
    bool last = sc_str_equal(cursor, SC_STR("0"));
    memcpy(work->cursor, cursor.ptr, cursor.len);
    work->cursor[last ? 0 : cursor.len] = '\0';
    for (size_t i = 0; i < keys->elements; i++) {
        sc_str key = {keys->element[i]->str, keys->element[i]->len};
        if (!sc_redis_schema_id(&work->redis->schema, key, &id, &mine)) {
            sc_redis_foreign(work->redis);
        } else if (!add_key(work, key, &id, mine)) {
            finish(work, SC_NO_MEMORY, NULL);
            return;
        }
    }
    if (work->keys_used == 0)
        next_page(work);
    else
        fetch_page(work);
}

static void scan(removal *work)
{
    const char *const words[] = {"SCAN",  work->cursor, "MATCH", work->redis->schema.everyone,
                                 "COUNT", "500",        NULL};
    sc_resp_words(sc_redis_scratch(work->redis), words);
    ask(work, 1, on_scanned);
}

static void take_ids(removal *work)
{
    const sc_store_filter *filter = &work->call->filter;
    char                   key[SC_REDIS_KEY_BYTES];

    while (work->ids_done < filter->ids_count && work->keys_used < PAGE_KEYS) {
        const sc_digest *id = &filter->ids[work->ids_done++];
        size_t           len = sc_redis_schema_key(&work->redis->schema, id, key);
        if (!add_key(work, (sc_str){key, len}, id, true)) {
            finish(work, SC_NO_MEMORY, NULL);
            return;
        }
    }
    fetch_page(work);
}

static void next_page(removal *work)
{
    const sc_store_filter *filter = &work->call->filter;

    clear_page(work);
    if (work->ids_done < filter->ids_count)
        take_ids(work);
    else if (work->cursor[0] != '\0')
        scan(work);
    else
        finish(work, SC_OK, NULL);
}

void sc_invalidate_start(sc_op *op)
{
    removal *work = calloc(1, sizeof *work);

    if (work == NULL) {
        sc_op_finish(op, SC_NO_MEMORY, NULL);
        return;
    }
    work->op = op;
    work->redis = op->redis;
    work->call = SC_CONTAINER(op->call, sc_store_invalidate, call);
    work->call->call.status = SC_OK;
    sc_buf_init(&work->names, PAGE_BYTES_MAX);
    if (work->call->filter.near != NULL)
        work->vector = malloc(op->redis->schema.dim * sizeof *work->vector);
    if (work->call->filter.near != NULL && work->vector == NULL) {
        finish(work, SC_NO_MEMORY, NULL);
        return;
    }
    /* What waits to be written later would come back from the dead. */
    sc_writes_forget(op->redis, work->call);
    /* By id there is nothing to search for; an empty cursor ends the walk. */
    if (work->call->filter.ids_count == 0)
        work->cursor[0] = '0';
    next_page(work);
}
