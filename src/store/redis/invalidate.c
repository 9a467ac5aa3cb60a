/* Removing what a filter matches walks the key space and decides here, entry by entry: complete
 * also while the index is missing or being built, the same on every server, and by the one
 * definition that the warm set uses as well. 50 000 entries take about a second: SCAN, one HMGET
 * per key, and what matches is listed.
 *
 * Then it is unlinked. That repairs the index' graph on Redis' main thread, .5 to 1.3 ms per entry
 * in our measurements, during which everybody waits: so a few at a time. When most of the index is
 * to go, the index goes first and is made anew afterwards: 10 000 entries take .3 s instead of 13
 * s. (A lifetime of one millisecond instead of UNLINK was tried: the next read of the key deletes
 * it, with the same repair.) */
#include <math.h>
#include <stdlib.h>

#include "src/store/redis/inside.h"
#include "src/store/redis/resp.h"
#include "src/store/redis/vector.h"

enum {
    PAGE_KEYS = 500,
    UNLINK_KEYS = 16,
    UNLINK_KEYS_UNINDEXED = 500,
    REBUILD_KEYS_MIN = 1000, /* fewer are unlinked as quickly as an index is made */
    LIST_BYTES_MAX = 64 * 1024 * 1024,
};

/* Keys, all of the same length, one behind the other. */
typedef struct {
    sc_buf names;
    size_t used;
} key_list;

typedef struct {
    sc_op               *op;
    sc_redis            *redis;
    sc_store_invalidate *call;
    sc_command           command;
    char                 cursor[24]; /* of the next SCAN; "" when there is none */
    size_t               ids_done;   /* of the filter's list */
    key_list             page;       /* being read */
    key_list             matched;    /* to be removed */
    size_t               fields;     /* asked per key of the page */
    size_t               at;         /* of the page: next reply; of what matched: next to remove */
    bool                 unindexed, refused;
    float               *vector; /* [dim], when the filter asks for nearness */
} removal;

static void next_page(removal *work);
static void next_removal(removal *work);

static void finish(removal *work, sc_status status, const char *why)
{
    sc_op *op = work->op;

    if (work->unindexed)
        sc_index_ask(work->redis); /* finds it missing */
    sc_buf_fini(&work->page.names);
    sc_buf_fini(&work->matched.names);
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

/* --- lists of keys --------------------------------------------------------------------- */

static size_t key_bytes(const removal *work)
{
    return work->redis->schema.prefix_len + SC_DIGEST_HEX_BYTES;
}

static sc_str key_at(const removal *work, const key_list *list, size_t at)
{
    return (sc_str){list->names.data + at * key_bytes(work), key_bytes(work)};
}

static bool add_key(key_list *list, sc_str key)
{
    if (sc_buf_str(&list->names, key) != SC_OK)
        return false;
    list->used++;
    return true;
}

static void clear(removal *work, key_list *list)
{
    list->used = 0;
    work->at = 0;
    sc_buf_clear(&list->names);
}

/* Only keys of the right shape get into a list. */
static sc_digest id_of(const removal *work, sc_str key, bool *mine)
{
    sc_digest id = {{0}};
    if (!sc_redis_schema_id(&work->redis->schema, key, &id, mine))
        *mine = false;
    return id;
}

/* --- reading and matching -------------------------------------------------------------- */

static const float *vector_of(removal *work, const sc_redis_fields *fields, bool mine)
{
    const sc_redis_schema *schema = &work->redis->schema;
    bool                   usable = mine && work->vector != NULL && fields->vector.ptr != NULL &&
                  sc_vector_decode(fields->vector, schema->dim, schema->half, work->vector);
    return usable ? work->vector : NULL;
}

static void add_example(removal *work, sc_entry *entry, float distance)
{
    sc_store_invalidate *call = work->call;
    if (call->examples_count < SC_STORE_EXAMPLES_MAX)
        call->examples[call->examples_count++] = (sc_candidate){sc_entry_ref(entry), distance};
}

/* In a cluster a key may leave while we look, to where we have looked already: whoever asked us is
 * told, and looks once more. */
static bool has_left(const removal *work, const redisReply *reply)
{
    sc_redis_fault fault = sc_redis_fault_of(reply);
    return work->redis->is_shard && (fault == SC_FAULT_MOVED || fault == SC_FAULT_ASK);
}

/* False: no memory to list it. */
static bool match(removal *work, sc_str key, const redisReply *reply)
{
    sc_store_invalidate *call = work->call;
    sc_redis_fields      fields;
    sc_entry            *entry = NULL;
    bool                 absent, mine, kept = true;
    float                distance;
    sc_digest            id = id_of(work, key, &mine);

    if (has_left(work, reply)) {
        /* What lies here although its slot is another's is served by nobody. */
        if (sc_redis_owns(work->redis, key))
            sc_redis_moved(work->redis);
        return true;
    }
    if (!sc_redis_fields_read(reply, work->fields, &fields, &absent) ||
        (!absent && sc_redis_entry_decode(&fields, &id, &entry) != SC_OK))
        sc_redis_foreign(work->redis);
    if (entry == NULL)
        return true;
    if (sc_store_filter_matches(&call->filter, &entry->f, vector_of(work, &fields, mine),
                                work->redis->schema.dim, &distance)) {
        add_example(work, entry, distance);
        if (call->dry_run)
            call->removed++;
        else
            kept = add_key(&work->matched, key);
    }
    sc_entry_unref(entry);
    return kept;
}

static void on_fields(sc_command *command, const redisReply *reply)
{
    removal *work = work_of(command);

    if (work->redis->is_shard && command->replies % 2 != 0)
        return; /* ASKING's */
    if (!match(work, key_at(work, &work->page, work->at++), reply))
        work->refused = true;
    if (command->replies != 0)
        return;
    if (work->refused)
        finish(work, SC_NO_MEMORY, "no memory to list the entries");
    else
        next_page(work);
}

/* Lets the next command work on a key of a slot that is on its way to this master. */
static void also_arriving(const removal *work, sc_buf *out)
{
    if (work->redis->is_shard)
        sc_resp_words(out, (const char *const[]){"ASKING", NULL});
}

static size_t commands_per_key(const removal *work)
{
    return work->redis->is_shard ? 2 : 1;
}

static void fetch_page(removal *work)
{
    sc_buf *out = sc_redis_scratch(work->redis);

    /* Answers are the largest part, and only examples need them. */
    bool examples_full = work->call->examples_count == SC_STORE_EXAMPLES_MAX;
    work->fields = examples_full ? SC_REDIS_ENTRY_FIELDS - 1 : SC_REDIS_ENTRY_FIELDS;
    if (work->vector != NULL)
        work->fields = SC_REDIS_ALL_FIELDS;
    for (size_t i = 0; i < work->page.used; i++) {
        also_arriving(work, out);
        sc_redis_hmget(out, key_at(work, &work->page, i), work->fields);
    }
    ask(work, work->page.used * commands_per_key(work), on_fields);
}

/* --- removing -------------------------------------------------------------------------- */

static void on_unlinked(sc_command *command, const redisReply *reply)
{
    removal *work = work_of(command);

    if (command->replies != 0) {
        if (reply->type == REDIS_REPLY_INTEGER && reply->integer > 0)
            work->call->removed += (uint64_t)reply->integer;
        else if (has_left(work, reply))
            sc_redis_moved(work->redis);
        else if (reply->type == REDIS_REPLY_ERROR)
            work->refused = true;
    } else if (work->refused) {
        finish(work, SC_UNAVAILABLE, "Redis refused to remove entries");
    } else {
        next_removal(work);
    }
}

static void write_unlink(removal *work, size_t from, size_t to, sc_buf *out)
{
    for (size_t i = from; i < to; i++) {
        also_arriving(work, out);
        sc_resp_key_command(out, "UNLINK", key_at(work, &work->matched, i));
    }
    sc_resp_command(out, 2 + (to - from));
    sc_resp_text(out, "ZREM");
    sc_resp_text(out, work->redis->schema.used);
    for (size_t i = from; i < to; i++) {
        sc_str key = key_at(work, &work->matched, i);
        sc_resp_str(out, (sc_str){key.ptr + key.len - SC_DIGEST_HEX_BYTES, SC_DIGEST_HEX_BYTES});
    }
}

static void tell_removing(removal *work, size_t from, size_t to)
{
    bool mine;

    for (size_t i = from; work->call->removing != NULL && i < to; i++) {
        sc_digest id = id_of(work, key_at(work, &work->matched, i), &mine);
        work->call->removing(work->call->removing_context, &id);
    }
}

static void next_removal(removal *work)
{
    size_t from = work->at;
    size_t most = work->unindexed ? UNLINK_KEYS_UNINDEXED : UNLINK_KEYS;
    size_t to = work->matched.used - from < most ? work->matched.used : from + most;

    if (from == to) {
        finish(work, SC_OK, NULL);
        return;
    }
    work->at = to;
    tell_removing(work, from, to);
    write_unlink(work, from, to, sc_redis_scratch(work->redis));
    ask(work, (to - from) * commands_per_key(work) + 1, on_unlinked);
}

/* Refused, by a user without the right to: then it takes longer. */
static void on_dropped(sc_command *command, const redisReply *reply)
{
    removal *work = work_of(command);

    work->unindexed = reply->type != REDIS_REPLY_ERROR;
    next_removal(work);
}

static void remove_matched(removal *work)
{
    const char *const drop[] = {"FT.DROPINDEX", work->redis->schema.index, NULL};

    work->at = 0;
    if (work->matched.used < REBUILD_KEYS_MIN ||
        work->matched.used < work->redis->index.seen.documents / 2) {
        next_removal(work);
        return;
    }
    sc_resp_words(sc_redis_scratch(work->redis), drop);
    ask(work, 1, on_dropped);
}

/* --- pages ----------------------------------------------------------------------------- */

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
        } else if (!add_key(&work->page, key)) {
            finish(work, SC_NO_MEMORY, NULL);
            return;
        }
    }
    if (work->page.used == 0)
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

    while (work->ids_done < filter->ids_count && work->page.used < PAGE_KEYS) {
        const sc_digest *id = &filter->ids[work->ids_done++];
        size_t           len = sc_redis_schema_key(&work->redis->schema, id, key);
        if (!add_key(&work->page, (sc_str){key, len})) {
            finish(work, SC_NO_MEMORY, NULL);
            return;
        }
    }
    fetch_page(work);
}

static void next_page(removal *work)
{
    const sc_store_filter *filter = &work->call->filter;

    clear(work, &work->page);
    if (work->ids_done < filter->ids_count)
        take_ids(work);
    else if (work->cursor[0] != '\0')
        scan(work);
    else
        remove_matched(work);
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
    sc_buf_init(&work->page.names, LIST_BYTES_MAX);
    sc_buf_init(&work->matched.names, LIST_BYTES_MAX);
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
