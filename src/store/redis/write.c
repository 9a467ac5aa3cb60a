/* A put is done when EXEC said so. What could not be written because Redis is away is copied and
 * kept, to be written when it is back; its call ends with SC_UNAVAILABLE all the same, since nobody
 * can promise that. The oldest kept entry leaves first: the newest answer is the likeliest to be
 * asked for again. */
#include <stdlib.h>

#include "src/base/log.h"
#include "src/store/redis/inside.h"
#include "src/store/redis/resp.h"

enum { FLYING_MAX = 16 };

/* An entry that waits for Redis. */
typedef struct {
    sc_link        link;
    sc_redis      *redis;
    sc_entry      *entry;
    float         *vector; /* [dim], NULL: none */
    sc_command     command;
    sc_redis_fault fault;
} kept;

static void drop(kept *item)
{
    sc_list_remove(&item->link);
    sc_entry_unref(item->entry);
    free(item->vector);
    free(item);
}

static size_t kept_bytes(const kept *item)
{
    size_t vector = item->vector == NULL ? 0 : item->redis->schema.dim * sizeof *item->vector;
    return sizeof *item + item->entry->held_bytes + vector;
}

/* Takes it out of the waiting line; it is still the caller's to drop. */
static void unqueue(kept *item)
{
    sc_list_remove(&item->link);
    item->redis->writes.entries--;
    item->redis->writes.bytes -= kept_bytes(item);
}

static void make_room(sc_redis *redis)
{
    while (redis->writes.entries > redis->options.waiting_entries_max ||
           redis->writes.bytes > redis->options.waiting_bytes_max) {
        kept *oldest = SC_CONTAINER(redis->writes.waiting.next, kept, link);
        unqueue(oldest);
        drop(oldest);
        redis->writes.dropped++;
    }
}

static void queue(kept *item, bool first)
{
    sc_redis *redis = item->redis;

    if (first)
        sc_list_push_front(&redis->writes.waiting, &item->link);
    else
        sc_list_push_back(&redis->writes.waiting, &item->link);
    redis->writes.entries++;
    redis->writes.bytes += kept_bytes(item);
    make_room(redis);
}

static void keep(sc_redis *redis, const sc_store_put *put)
{
    kept  *item = calloc(1, sizeof *item);
    size_t bytes = redis->schema.dim * sizeof(float);

    if (item != NULL && put->vector != NULL)
        item->vector = malloc(bytes);
    if (item == NULL || (put->vector != NULL && item->vector == NULL)) {
        free(item);
        redis->writes.dropped++;
        return;
    }
    if (put->vector != NULL)
        memcpy(item->vector, put->vector, bytes);
    item->redis = redis;
    item->entry = sc_entry_ref(put->entry);
    queue(item, false);
}

/* Writes the commands that store an entry and note it as just used; gives the number of replies. */
static size_t write_entry(const sc_redis *redis, const sc_entry *entry, const float *vector,
                          sc_buf *out)
{
    char   hex[SC_DIGEST_HEX_BYTES + 1];
    size_t replies = sc_redis_entry_encode(&redis->schema, &entry->f, vector, out);

    sc_hex_encode(entry->f.id.bytes, sizeof entry->f.id.bytes, hex);
    sc_resp_command(out, 5);
    sc_resp_text(out, "ZADD");
    sc_resp_text(out, redis->schema.used);
    sc_resp_text(out, "GT");
    sc_resp_int(out, entry->f.created.ms);
    sc_resp_text(out, hex);
    return replies + 1;
}

/* The last reply but one is EXEC's; ZADD's says nothing about the entry. True: this is the fault. */
static bool note_fault(sc_redis_fault *worst, const sc_command *command, const redisReply *reply)
{
    sc_redis_fault fault = SC_FAULT_NONE;

    if (command->replies == 1)
        fault = sc_redis_exec_fault(reply);
    else if (command->replies > 1)
        fault = sc_redis_fault_of(reply);
    if (*worst != SC_FAULT_NONE)
        return false;
    *worst = fault;
    return fault != SC_FAULT_NONE;
}

/* --- a put ----------------------------------------------------------------------------- */

static bool worth_keeping(sc_status status, sc_redis_fault fault)
{
    if (fault == SC_FAULT_MOVED)
        return false; /* another's to write and to keep */
    return status == SC_UNAVAILABLE || status == SC_TIMEOUT || fault == SC_FAULT_AWAY;
}

static void end_put(sc_op *op, sc_status status, const char *why)
{
    sc_store_put *put = SC_CONTAINER(op->call, sc_store_put, call);
    bool          later = worth_keeping(status, op->fault) && !atomic_load(&op->redis->closing);

    if (later)
        keep(op->redis, put);
    sc_op_finish(op, status, later ? "Redis is away: kept to be written later" : why);
}

static void on_put(sc_command *command, const redisReply *reply)
{
    sc_op *op = SC_CONTAINER(command, sc_op, command);

    if (note_fault(&op->fault, command, reply))
        sc_redis_fault_text(reply, op->why, sizeof op->why);
    if (command->replies != 0)
        return;
    sc_store_put *put = SC_CONTAINER(op->call, sc_store_put, call);
    if (op->fault == SC_FAULT_FOREIGN)
        sc_redis_foreign(op->redis);
    else if (op->fault == SC_FAULT_NONE)
        sc_feed_stored(op->redis, put->entry, put->vector != NULL);
    bool moved = op->fault == SC_FAULT_MOVED;
    end_put(op, sc_redis_fault_status(op->fault), moved ? op->why : "Redis did not take the entry");
}

static void on_put_failed(sc_command *command, sc_status status, const char *why)
{
    end_put(SC_CONTAINER(command, sc_op, command), status, why);
}

/* An older version that still waits must not overwrite this one later. */
static void forget_older(sc_redis *redis, const sc_digest *id)
{
    SC_LIST_EACH_SAFE (link, after, &redis->writes.waiting) {
        kept *item = SC_CONTAINER(link, kept, link);
        if (!sc_digest_equal(&item->entry->f.id, id))
            continue;
        unqueue(item);
        drop(item);
    }
}

void sc_put_start(sc_op *op)
{
    sc_store_put *put = SC_CONTAINER(op->call, sc_store_put, call);

    forget_older(op->redis, &put->entry->f.id);
    size_t replies = write_entry(op->redis, put->entry, put->vector, sc_redis_scratch(op->redis));

    op->command.reply = on_put;
    op->command.failed = on_put_failed;
    sc_op_send(op, SC_CONN_DATA, replies);
}

/* --- what waited ----------------------------------------------------------------------- */

/* What waits for the end of its slot's move shall not stand in front of others. */
static void land(kept *item, bool again)
{
    sc_redis *redis = item->redis;

    redis->writes.flying--;
    if (again)
        queue(item, item->fault != SC_FAULT_ASK);
    else
        drop(item);
    if (!again)
        sc_writes_drain(redis);
}

static void send_away(const kept *item)
{
    const sc_redis *redis = item->redis;
    if (redis->is_shard)
        redis->shard.stray(redis->shard.context, item->entry, item->vector);
}

static bool is_passing(sc_redis_fault fault)
{
    return fault == SC_FAULT_AWAY || fault == SC_FAULT_ASK;
}

static void on_late(sc_command *command, const redisReply *reply)
{
    kept *item = SC_CONTAINER(command, kept, command);

    note_fault(&item->fault, command, reply);
    if (command->replies != 0)
        return;
    if (item->fault == SC_FAULT_NONE)
        sc_feed_stored(item->redis, item->entry, item->vector != NULL);
    else if (item->fault == SC_FAULT_MOVED)
        send_away(item);
    else if (!is_passing(item->fault))
        item->redis->writes.dropped++;
    land(item, is_passing(item->fault));
}

static void on_late_failed(sc_command *command, sc_status status, const char *why)
{
    kept *item = SC_CONTAINER(command, kept, command);
    (void)why;
    /* A master that leaves its cluster leaves them to its successor. */
    land(item, status != SC_CANCELLED || item->redis->is_shard);
}

static bool write_late(kept *item)
{
    sc_redis *redis = item->redis;

    item->fault = SC_FAULT_NONE;
    item->command = (sc_command){
        .deadline = sc_instant_after_ms(sc_now(), 4 * (int64_t)redis->options.timeout_ms),
        .replies = write_entry(redis, item->entry, item->vector, sc_redis_scratch(redis)),
        .reply = on_late,
        .failed = on_late_failed};
    return sc_redis_send(redis, SC_CONN_BULK, &item->command) == SC_OK;
}

void sc_writes_drain(sc_redis *redis)
{
    int64_t now_ms = sc_wall_now().ms;

    if (!sc_redis_is_up(redis, SC_CONN_BULK))
        return;
    while (redis->writes.flying < FLYING_MAX && !sc_list_empty(&redis->writes.waiting)) {
        kept *item = SC_CONTAINER(redis->writes.waiting.next, kept, link);
        unqueue(item);
        if (item->entry->f.expires.ms <= now_ms) {
            drop(item);
            continue;
        }
        if (!write_late(item)) {
            queue(item, true);
            return;
        }
        redis->writes.flying++;
    }
}

void sc_writes_forget(sc_redis *redis, sc_store_invalidate *call)
{
    SC_LIST_EACH_SAFE (link, after, &redis->writes.waiting) {
        kept *item = SC_CONTAINER(link, kept, link);
        float distance;
        if (!sc_store_filter_matches(&call->filter, &item->entry->f, item->vector,
                                     redis->schema.dim, &distance))
            continue;
        call->removed++;
        if (call->examples_count < SC_STORE_EXAMPLES_MAX)
            call->examples[call->examples_count++] =
                (sc_candidate){sc_entry_ref(item->entry), distance};
        if (call->dry_run)
            continue;
        if (call->removing != NULL)
            call->removing(call->removing_context, &item->entry->f.id);
        unqueue(item);
        drop(item);
    }
}

void sc_writes_close(sc_redis *redis)
{
    redis->writes.dropped += redis->is_shard ? 0 : redis->writes.entries;
    if (redis->writes.entries != 0 && !redis->is_shard)
        sc_log(SC_LOG_WARN, "redis.writes_lost", sc_kv_int("entries", redis->writes.entries));
    while (!sc_list_empty(&redis->writes.waiting)) {
        kept *item = SC_CONTAINER(redis->writes.waiting.next, kept, link);
        unqueue(item);
        send_away(item);
        drop(item);
    }
}
