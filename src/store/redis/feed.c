/* How copies in memory are kept true: Redis' broadcast tracking, redirected to the connection that
 * subscribes, so that tracking and subscription live and die together. It tells of every change,
 * expiry, eviction and deletion by anybody, and of a flush; keyspace notifications miss the flush
 * and need a setting on the server, a stream misses expiry and eviction.
 *
 * DOWN -> JOINING (subscribe first, so that nothing falls between) -> SYNCING (walk all keys; fetch
 * what is new, forget what is not there) -> LIVE. Any doubt - either connection lost, silence, an
 * error - goes back to DOWN, which tells `live(false)`: from then on each hit is verified.
 *
 * All reads go over one connection, in order, so a reply that is processed later was true later. A
 * key that changes while it is fetched is fetched again. */
#include <stdio.h>
#include <stdlib.h>

#include "src/base/log.h"
#include "src/store/redis/inside.h"
#include "src/store/redis/resp.h"
#include "src/store/redis/vector.h"

enum {
    BATCH_KEYS = 200,
    DIRTY_MAX = 100000, /* beyond, walking everything is as cheap */
    PING_MS = 2000,
    SILENCE_MS = 6000, /* the bound after which a cut-off server stops trusting its memory */
    JOIN_MS = 5000,
    READ_MS = 30000,
    RESYNC_MS = 600000, /* SWAPDB, and whatever else we have not thought of */
    RESYNC_POLLING_MS = 15000, /* walks again, and asks for tracking again */
    POLLS_TOLD_EVERY_MS = 3600000,
    REJOIN_MS = 1000, /* a Redis that is up but refuses to read, as a cluster does that is down */
};

/* Entries with a vector in one scope and guard: how much a search has to choose from. */
typedef struct {
    sc_digest key;
    uint64_t  entries;
} group;

typedef struct {
    uint64_t version;
    uint32_t generation;
    group   *in; /* NULL: without vector, or not known */
} held;

static void next_page(sc_redis *redis);
static void fetch_changes(sc_redis *redis);

/* --- what was told --------------------------------------------------------------------- */

static sc_digest group_key(const sc_digest *scope, uint64_t guard)
{
    sc_digest key = *scope;
    for (size_t i = 0; i < sizeof guard; i++)
        key.bytes[i] ^= (uint8_t)(guard >> 8 * i);
    return key;
}

static group *join_group(sc_redis *redis, const sc_entry_fields *entry)
{
    sc_digest key = group_key(&entry->scope, entry->guard);
    group    *found = sc_table_get(&redis->feeding.groups, &key);

    if (found == NULL) {
        found = calloc(1, sizeof *found);
        if (found == NULL || sc_table_put(&redis->feeding.groups, &key, found, NULL) != SC_OK) {
            free(found);
            return NULL; /* only an estimate suffers */
        }
        found->key = key;
    }
    found->entries++;
    return found;
}

static void leave_group(sc_redis *redis, group *from)
{
    if (from == NULL || --from->entries != 0)
        return;
    sc_table_remove(&redis->feeding.groups, &from->key);
    free(from);
}

uint64_t sc_feed_count(const sc_redis *redis, const sc_digest *scope, uint64_t guard)
{
    sc_digest    key = group_key(scope, guard);
    const group *found = sc_table_get(&redis->feeding.groups, &key);
    return found == NULL ? 0 : found->entries;
}

static void forget_held(sc_redis *redis, const sc_digest *id)
{
    held *item = sc_table_remove(&redis->feeding.held, id);
    if (item != NULL)
        leave_group(redis, item->in);
    free(item);
}

/* NULL: no memory; the entry is told again by the next resync. */
static held *hold(sc_redis *redis, const sc_digest *id, uint64_t version)
{
    held *item = sc_table_get(&redis->feeding.held, id);

    if (item == NULL) {
        item = calloc(1, sizeof *item);
        if (item == NULL || sc_table_put(&redis->feeding.held, id, item, NULL) != SC_OK) {
            free(item);
            return NULL;
        }
    }
    item->version = version;
    item->generation = redis->feeding.generation;
    return item;
}

static void hold_entry(sc_redis *redis, const sc_entry *entry, uint64_t version, bool with_vector)
{
    held *item = hold(redis, &entry->f.id, version);

    if (item == NULL)
        return;
    leave_group(redis, item->in);
    item->in = with_vector ? join_group(redis, &entry->f) : NULL;
}

/* Counted at once, but not yet told: whether memory has it shows when the feed brings it. */
void sc_feed_stored(sc_redis *redis, const sc_entry *entry, bool with_vector)
{
    const held *item = sc_table_get(&redis->feeding.held, &entry->f.id);

    if (redis->feed.put != NULL)
        hold_entry(redis, entry, item == NULL ? 0 : item->version, with_vector);
}

/* What a reader puts into memory counts as told, however long ago: a walk that does not meet it takes
 * it back. Else an entry that was read while the feed was down, and removed before it was up, would
 * be believed. */
void sc_feed_lent(sc_redis *redis, const sc_digest *id)
{
    if (redis->feed.put == NULL || sc_table_get(&redis->feeding.held, id) != NULL)
        return;
    held *item = hold(redis, id, 0);
    if (item != NULL)
        item->generation--;
}

static uint64_t known_version(sc_redis *redis, const sc_digest *id)
{
    const held *item = sc_table_get(&redis->feeding.held, id);
    uint64_t version = redis->feed.known == NULL ? 0 : redis->feed.known(redis->feed.context, id);
    /* What memory has counts more; what it threw out for lack of room need not come again. */
    return version != 0 || item == NULL ? version : item->version;
}

static void tell_gone(sc_redis *redis, const sc_digest *id)
{
    sc_digest copy = *id; /* id may lie in the table */

    forget_held(redis, &copy);
    redis->feed.removed(redis->feed.context, &copy);
}

static void forget_all(sc_redis *redis)
{
    size_t at = 0;
    void  *item;

    while ((item = sc_table_next(&redis->feeding.held, &at)) != NULL)
        free(item);
    at = 0;
    while ((item = sc_table_next(&redis->feeding.groups, &at)) != NULL)
        free(item);
    sc_table_fini(&redis->feeding.held);
    sc_table_fini(&redis->feeding.groups);
    sc_table_fini(&redis->feeding.dirty);
}

static void tell_entry(sc_redis *redis, const sc_digest *id, const sc_redis_fields *fields)
{
    const sc_redis_schema *schema = &redis->schema;
    sc_entry              *entry = NULL;
    float                 *vector = NULL;

    if (fields->vector.ptr != NULL) {
        vector = malloc(schema->dim * sizeof *vector);
        if (vector == NULL)
            return;
        if (!sc_vector_decode(fields->vector, schema->dim, schema->half, vector))
            goto foreign;
    }
    sc_status status = sc_redis_entry_decode(fields, id, &entry);
    if (status == SC_CORRUPT)
        goto foreign;
    /* Memory holds what expired a moment ago, too: it alone is asked when the LLM fails. */
    if (status == SC_OK && entry->f.expires.ms + schema->stale_ms > sc_wall_now().ms) {
        redis->feed.put(redis->feed.context, entry, vector);
        hold_entry(redis, entry, entry->f.version, vector != NULL);
    } else if (status == SC_OK) {
        tell_gone(redis, id);
    }
    sc_entry_unref(entry);
    free(vector);
    return;
foreign:
    sc_redis_foreign(redis);
    tell_gone(redis, id);
    free(vector);
}

/* --- states ---------------------------------------------------------------------------- */

static void enter(sc_redis *redis, sc_feed_state state)
{
    bool was_live = redis->feeding.state == SC_FEED_LIVE;
    bool live = state == SC_FEED_LIVE;

    redis->feeding.state = state;
    if (live == was_live)
        return;
    if (!redis->winding_down)
        sc_log(live ? SC_LOG_INFO : SC_LOG_WARN, live ? "redis.feed_live" : "redis.feed_lost",
               sc_kv_int("entries", redis->feeding.held.used));
    if (redis->feed.live != NULL)
        redis->feed.live(redis->feed.context, live);
}

/* Memory may be believed once everything was walked and nothing waits to be fetched. */
static void look_whether_live(sc_redis *redis)
{
    if (redis->feeding.state == SC_FEED_SYNCING && !redis->feeding.syncing &&
        redis->feeding.dirty.used == 0 && !redis->feeding.changes.busy)
        enter(redis, SC_FEED_LIVE);
}

/* Doubt: begin anew. */
static void doubt(sc_redis *redis, const char *why)
{
    if (redis->conns[SC_CONN_FEED] != NULL)
        sc_conn_break(redis->conns[SC_CONN_FEED], why);
}

/* What was read is no answer to what was asked. A connection on which a reply went missing gives each command the
 * reply of the one before, for ever: a new subscription would begin its walk on it, and doubt again. */
static void doubt_reader(sc_redis *redis, sc_redis_fault fault, const char *why)
{
    bool is_answer = fault == SC_FAULT_DENIED || fault == SC_FAULT_AWAY;
    if (!is_answer && redis->conns[SC_CONN_BULK] != NULL)
        sc_conn_break(redis->conns[SC_CONN_BULK], why);
    if (is_answer)
        redis->feeding.join_at = sc_instant_after_ms(sc_now(), REJOIN_MS);
    doubt(redis, why);
}

/* --- batches --------------------------------------------------------------------------- */

static bool add_to_batch(sc_feed_batch *batch, const sc_digest *id, bool whole)
{
    if (batch->used == batch->room) {
        size_t       room = batch->room == 0 ? BATCH_KEYS : batch->room * 2;
        sc_feed_key *keys = realloc(batch->keys, room * sizeof *keys);
        if (keys == NULL)
            return false;
        batch->keys = keys;
        batch->room = room;
    }
    batch->keys[batch->used++] = (sc_feed_key){*id, whole};
    return true;
}

static void mark_dirty(sc_redis *redis, const sc_digest *id)
{
    if (redis->feeding.dirty.used >= DIRTY_MAX ||
        sc_table_put(&redis->feeding.dirty, id, redis, NULL) != SC_OK)
        doubt(redis, "too many changes at once");
}

static void read_version(sc_redis *redis, const sc_digest *id, const sc_redis_fields *fields)
{
    uint64_t version;

    if (!sc_redis_version_read(fields->version, &version)) {
        sc_redis_foreign(redis);
        tell_gone(redis, id);
    } else if (version == known_version(redis, id)) {
        hold(redis, id, version);
    } else {
        /* Another one lies there: as if never seen, so that it is fetched whole. */
        tell_gone(redis, id);
        mark_dirty(redis, id);
    }
}

static void read_key(sc_redis *redis, const sc_feed_key *key, const redisReply *reply)
{
    size_t          count = key->whole ? SC_REDIS_ALL_FIELDS : 2;
    sc_redis_fields fields;
    bool            absent;

    if (!sc_redis_fields_read(reply, count, &fields, &absent)) {
        sc_redis_foreign(redis);
        tell_gone(redis, &key->id);
    } else if (absent) {
        tell_gone(redis, &key->id);
    } else if (key->whole) {
        tell_entry(redis, &key->id, &fields);
    } else {
        read_version(redis, &key->id, &fields);
    }
}

static void batch_ended(sc_redis *redis, sc_feed_batch *batch)
{
    batch->busy = false;
    if (batch == &redis->feeding.page)
        next_page(redis);
    else
        fetch_changes(redis);
    look_whether_live(redis);
}

/* Whoever owns the slot tells of it. */
static void lose(sc_redis *redis, const sc_digest *id)
{
    tell_gone(redis, id);
    sc_redis_moved(redis);
}

static void on_key(sc_command *command, const redisReply *reply)
{
    sc_feed_batch *batch = SC_CONTAINER(command, sc_feed_batch, command);
    sc_redis      *redis = batch->redis;
    sc_redis_fault fault = sc_redis_fault_of(reply);
    size_t         at = batch->at++;

    if (fault == SC_FAULT_MOVED || fault == SC_FAULT_ASK)
        lose(redis, &batch->keys[at].id);
    else if (fault != SC_FAULT_NONE && fault != SC_FAULT_FOREIGN)
        doubt_reader(redis, fault, "the feed may not read");
    else if (redis->feeding.state != SC_FEED_DOWN)
        read_key(redis, &batch->keys[at], reply);
    if (command->replies == 0)
        batch_ended(redis, batch);
}

static void on_batch_failed(sc_command *command, sc_status status, const char *why)
{
    sc_feed_batch *batch = SC_CONTAINER(command, sc_feed_batch, command);
    (void)status;
    batch->busy = false;
    doubt(batch->redis, why);
}

static void read_batch(sc_redis *redis, sc_feed_batch *batch)
{
    sc_buf *out = sc_redis_scratch(redis);
    char    key[SC_REDIS_KEY_BYTES];

    for (size_t i = 0; i < batch->used; i++) {
        size_t len = sc_redis_schema_key(&redis->schema, &batch->keys[i].id, key);
        sc_redis_hmget(out, (sc_str){key, len}, batch->keys[i].whole ? SC_REDIS_ALL_FIELDS : 2);
    }
    batch->redis = redis;
    batch->at = 0;
    batch->command = (sc_command){.deadline = sc_instant_after_ms(sc_now(), READ_MS),
                                  .replies = batch->used,
                                  .reply = on_key,
                                  .failed = on_batch_failed};
    batch->busy = sc_redis_send(redis, SC_CONN_BULK, &batch->command) == SC_OK;
    if (!batch->busy)
        doubt(redis, "the feed cannot read");
}

/* --- what changed ---------------------------------------------------------------------- */

static void fetch_changes(sc_redis *redis)
{
    sc_feed_batch *batch = &redis->feeding.changes;
    sc_table      *dirty = &redis->feeding.dirty;

    if (batch->busy || dirty->used == 0 || redis->feeding.state == SC_FEED_DOWN)
        return;
    batch->used = 0;
    for (size_t i = 0; i < dirty->room && batch->used < BATCH_KEYS; i++) {
        const sc_digest *id = &dirty->slots[i].key;
        if (dirty->slots[i].value != NULL &&
            !add_to_batch(batch, id, known_version(redis, id) == 0))
            break;
    }
    for (size_t i = 0; i < batch->used; i++)
        sc_table_remove(dirty, &batch->keys[i].id);
    if (batch->used != 0)
        read_batch(redis, batch);
}

static void on_cleared(sc_redis *redis)
{
    if (redis->feeding.state == SC_FEED_LIVE)
        enter(redis, SC_FEED_SYNCING);
    forget_all(redis);
    redis->feed.cleared(redis->feed.context);
    /* A walk under way may still bring what was read before. */
    redis->feeding.sync_again = redis->feeding.syncing;
    if (!redis->feeding.syncing) {
        redis->feeding.resync_at = sc_now();
        sc_feed_tick(redis, redis->feeding.resync_at);
    }
    sc_index_ask(redis);
}

void sc_feed_push(sc_redis *redis, const redisReply *reply)
{
    const redisReply *keys;
    sc_redis_push     push = sc_redis_push_read(reply, &keys);
    sc_digest         id;
    bool              mine;

    if (push == SC_PUSH_OTHER)
        return;
    redis->feeding.messages++;
    if (push == SC_PUSH_CLEARED) {
        on_cleared(redis);
        return;
    }
    for (size_t i = 0; i < keys->elements && redis->feeding.state != SC_FEED_DOWN; i++) {
        sc_str key = {keys->element[i]->str, keys->element[i]->len};
        if (!sc_redis_schema_id(&redis->schema, key, &id, &mine) || !mine)
            continue;
        if (sc_redis_owns(redis, key))
            mark_dirty(redis, &id);
        else
            lose(redis, &id);
    }
    fetch_changes(redis);
}

/* --- walking all keys ------------------------------------------------------------------ */

static bool unseen(const sc_redis *redis, const sc_table_slot *slot)
{
    const held *item = slot->value;
    return item->generation != redis->feeding.generation;
}

static bool not_owned(const sc_redis *redis, const sc_table_slot *slot)
{
    return !sc_redis_owns_id(redis, &slot->key);
}

static bool any(const sc_redis *redis, const sc_table_slot *slot)
{
    (void)redis;
    (void)slot;
    return true;
}

/* Tells of the ids for which it holds, as far as there is memory to list them. */
static void forget_where(sc_redis *redis, bool (*holds)(const sc_redis *, const sc_table_slot *))
{
    const sc_table *table = &redis->feeding.held;
    sc_digest      *gone = malloc(table->used * sizeof *gone + 1);
    size_t          count = 0;

    for (size_t i = 0; gone != NULL && i < table->room; i++)
        if (table->slots[i].value != NULL && holds(redis, &table->slots[i]))
            gone[count++] = table->slots[i].key;
    for (size_t i = 0; i < count; i++)
        tell_gone(redis, &gone[i]);
    free(gone);
}

static void end_walk(sc_redis *redis)
{
    bool polling = redis->feeding.state == SC_FEED_POLLING;

    forget_where(redis, unseen);
    redis->feeding.syncing = false;
    redis->feeding.resyncs++;
    redis->feeding.resync_at =
        sc_instant_after_ms(sc_now(), polling ? RESYNC_POLLING_MS : RESYNC_MS);
    fetch_changes(redis);
    look_whether_live(redis);
}

static void add_page_key(sc_redis *redis, const redisReply *name)
{
    sc_str    key = {name->str, name->len};
    sc_digest id;
    bool      mine;

    if (!sc_redis_schema_id(&redis->schema, key, &id, &mine) || !mine)
        sc_redis_foreign(redis);
    else if (!sc_redis_owns(redis, key))
        return; /* on its way to this master, or left behind */
    else if (!add_to_batch(&redis->feeding.page, &id, known_version(redis, &id) == 0))
        doubt(redis, "no memory");
}

static void on_page(sc_command *command, const redisReply *reply)
{
    sc_feed_batch    *batch = SC_CONTAINER(command, sc_feed_batch, command);
    sc_redis         *redis = batch->redis;
    sc_str            cursor;
    const redisReply *keys = sc_redis_scan_keys(reply, &cursor);

    batch->busy = false;
    if (redis->feeding.state == SC_FEED_DOWN || redis->feeding.sync_again) {
        next_page(redis);
        return;
    }
    if (keys == NULL) {
        doubt_reader(redis, sc_redis_fault_of(reply), "the feed may not walk the keys");
        return;
    }
    memcpy(redis->feeding.cursor, cursor.ptr, cursor.len);
    redis->feeding.cursor[cursor.len] = '\0';
    batch->used = 0;
    for (size_t i = 0; i < keys->elements; i++)
        add_page_key(redis, keys->element[i]);
    if (batch->used == 0)
        next_page(redis);
    else
        read_batch(redis, batch);
}

static void scan(sc_redis *redis)
{
    sc_feed_batch    *batch = &redis->feeding.page;
    const char *const words[] = {
        "SCAN", redis->feeding.cursor, "MATCH", redis->schema.mine, "COUNT", "500", NULL};

    sc_resp_words(sc_redis_scratch(redis), words);
    batch->redis = redis;
    batch->command = (sc_command){.deadline = sc_instant_after_ms(sc_now(), READ_MS),
                                  .replies = 1,
                                  .reply = on_page,
                                  .failed = on_batch_failed};
    batch->busy = sc_redis_send(redis, SC_CONN_BULK, &batch->command) == SC_OK;
    if (!batch->busy)
        doubt(redis, "the feed cannot read");
}

/* A batch from before a broken subscription may still be under way: its end begins the walk. */
static void begin_walk(sc_redis *redis)
{
    redis->feeding.syncing = true;
    redis->feeding.sync_again = redis->feeding.page.busy;
    if (redis->feeding.page.busy)
        return;
    redis->feeding.generation++;
    memcpy(redis->feeding.cursor, "0", 2);
    scan(redis);
}

/* After a page: the next, or the end; what changed meanwhile goes first. */
static void next_page(sc_redis *redis)
{
    if (redis->feeding.state == SC_FEED_DOWN || !redis->feeding.syncing)
        return;
    fetch_changes(redis);
    if (redis->feeding.sync_again)
        begin_walk(redis);
    else if (strcmp(redis->feeding.cursor, "0") != 0)
        scan(redis);
    else
        end_walk(redis);
}

/* --- joining --------------------------------------------------------------------------- */

static void on_join_failed(sc_command *command, sc_status status, const char *why)
{
    sc_redis *redis = SC_CONTAINER(command, sc_redis, feeding.command);
    if (status == SC_TIMEOUT)
        doubt(redis, why);
}

static void send_on_feed(sc_redis *redis, size_t replies,
                         void (*reply)(sc_command *, const redisReply *))
{
    redis->feeding.command = (sc_command){.deadline = sc_instant_after_ms(sc_now(), JOIN_MS),
                                          .replies = replies,
                                          .reply = reply,
                                          .failed = on_join_failed};
    if (sc_redis_send(redis, SC_CONN_FEED, &redis->feeding.command) != SC_OK)
        doubt(redis, "cannot subscribe");
}

static void tell_of_polling(const char *cause)
{
    static sc_log_limit limit;
    int64_t             left_out = 0;
    if (sc_log_allow(&limit, POLLS_TOLD_EVERY_MS, sc_now(), &left_out))
        sc_log(SC_LOG_WARN, "redis.feed_polls", sc_kv_text("cause", cause),
               sc_kv_int("left_out", left_out));
}

static void on_subscribed(sc_command *command, const redisReply *reply)
{
    sc_redis *redis = SC_CONTAINER(command, sc_redis, feeding.command);
    char      text[160];

    if (reply->type == REDIS_REPLY_ERROR && redis->feeding.state == SC_FEED_JOINING) {
        /* Managed services may refuse tracking: then memory is refreshed now and then, never
         * believed. */
        sc_redis_fault_text(reply, text, sizeof text);
        tell_of_polling(text);
        enter(redis, SC_FEED_POLLING);
    }
    if (command->replies != 0)
        return;
    if (redis->feeding.state == SC_FEED_JOINING)
        enter(redis, SC_FEED_SYNCING);
    begin_walk(redis);
}

static void on_client_id(sc_command *command, const redisReply *reply)
{
    sc_redis *redis = SC_CONTAINER(command, sc_redis, feeding.command);
    char      id[24];

    if (reply->type != REDIS_REPLY_INTEGER) {
        doubt(redis, "it was not told its id");
        return;
    }
    snprintf(id, sizeof id, "%lld", reply->integer);
    sc_buf *out = sc_redis_scratch(redis);
    sc_resp_words(out, (const char *const[]){"CLIENT", "TRACKING", "ON", "REDIRECT", id, "BCAST",
                                             "PREFIX", redis->schema.prefix, NULL});
    sc_resp_words(out, (const char *const[]){"SUBSCRIBE", "__redis__:invalidate", NULL});
    send_on_feed(redis, 2, on_subscribed);
}

void sc_feed_up(sc_redis *redis)
{
    if (redis->feeding.state != SC_FEED_DOWN || !sc_redis_is_up(redis, SC_CONN_FEED) ||
        !sc_redis_is_up(redis, SC_CONN_BULK) || sc_instant_before(sc_now(), redis->feeding.join_at))
        return;
    enter(redis, SC_FEED_JOINING);
    redis->feeding.pinged = sc_now();
    sc_resp_words(sc_redis_scratch(redis), (const char *const[]){"CLIENT", "ID", NULL});
    send_on_feed(redis, 1, on_client_id);
}

void sc_feed_down(sc_redis *redis)
{
    enter(redis, SC_FEED_DOWN);
    redis->feeding.syncing = redis->feeding.sync_again = false;
    sc_table_fini(&redis->feeding.dirty);
    /* The subscription alone is of no use, and the walk has to begin after a new one. */
    if (sc_redis_is_up(redis, SC_CONN_FEED))
        doubt(redis, "the connection it reads through was lost");
}

static void keep_alive(sc_redis *redis, sc_instant now)
{
    sc_conn *conn = redis->conns[SC_CONN_FEED];

    if (sc_elapsed_us(redis->feeding.pinged, now) < PING_MS * 1000LL)
        return;
    if (sc_elapsed_us(sc_conn_heard(conn), now) >= SILENCE_MS * 1000LL) {
        doubt(redis, "silent");
        return;
    }
    redis->feeding.pinged = now;
    if (sc_conn_send_blind(conn, SC_STR("*1\r\n$4\r\nPING\r\n")) != SC_OK)
        doubt(redis, "cannot ping");
}

/* A refusal may have been an operator's mistake, mended since. Joining walks, whichever way it ends; a
 * connection that has subscribed takes no other command, so it is made anew. */
static void walk_or_join_again(sc_redis *redis)
{
    if (redis->feeding.state == SC_FEED_POLLING)
        doubt(redis, "tracking may be allowed by now");
    else
        begin_walk(redis);
}

void sc_feed_tick(sc_redis *redis, sc_instant now)
{
    bool listening =
        redis->feeding.state == SC_FEED_SYNCING || redis->feeding.state == SC_FEED_LIVE;

    if (redis->feeding.state == SC_FEED_DOWN)
        sc_feed_up(redis);
    if (listening)
        keep_alive(redis, now);
    if ((redis->feeding.state == SC_FEED_LIVE || redis->feeding.state == SC_FEED_SYNCING ||
         redis->feeding.state == SC_FEED_POLLING) &&
        !redis->feeding.syncing && !redis->feeding.page.busy &&
        !sc_instant_before(now, redis->feeding.resync_at))
        walk_or_join_again(redis);
}

static void walk_now(sc_redis *redis)
{
    redis->feeding.resync_at = sc_now();
    redis->feeding.sync_again = redis->feeding.syncing;
}

void sc_feed_again(sc_redis *redis)
{
    size_t at = 0;
    held  *item;

    while ((item = sc_table_next(&redis->feeding.held, &at)) != NULL)
        item->version = 0;
    walk_now(redis);
}

void sc_feed_assigned(sc_redis *redis, bool gained, bool lost)
{
    if (lost)
        forget_where(redis, not_owned);
    if (gained)
        walk_now(redis);
}

void sc_feed_close(sc_redis *redis)
{
    /* Nobody else would ever take back what this master told. */
    if (redis->is_shard)
        forget_where(redis, any);
    forget_all(redis);
    free(redis->feeding.page.keys);
    free(redis->feeding.changes.keys);
    redis->feeding.page = redis->feeding.changes = (sc_feed_batch){0};
}
