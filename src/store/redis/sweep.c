/* Pruning beyond STORE_ENTRIES_MAX: one server at a time, elected by a lock that expires, removes
 * the least recently used entries by the ZSET of uses. Redis' own eviction stays a safety net for
 * memory: it cannot know a hit that was served from a server's memory, and under allkeys-* it would
 * throw out the ZSET. Few at a time: each removal repairs the index on Redis' main thread. */
#include <stdlib.h>

#include "src/base/log.h"
#include "src/store/redis/inside.h"
#include "src/store/redis/resp.h"

enum {
    SWEEP_MS = 2000,
    LOCK_MS = 15000,
    WAIT_MS = 10000,
    BATCH = 16,
    BATCHES_MAX = 1024, /* per sweep; the next goes on */
};

static void next_batch(sc_redis *redis);

static void on_failed(sc_command *command, sc_status status, const char *why)
{
    (void)status;
    (void)why;
    SC_CONTAINER(command, sc_redis, sweep.command)->sweep.busy = false;
}

static void ask(sc_redis *redis, size_t replies, void (*reply)(sc_command *, const redisReply *))
{
    redis->sweep.command = (sc_command){.deadline = sc_instant_after_ms(sc_now(), WAIT_MS),
                                        .replies = replies,
                                        .reply = reply,
                                        .failed = on_failed};
    redis->sweep.busy = sc_redis_send(redis, SC_CONN_BULK, &redis->sweep.command) == SC_OK;
}

static void end(sc_redis *redis)
{
    redis->sweep.busy = false;
    if (redis->sweep.removed != 0)
        sc_log(SC_LOG_INFO, "redis.swept", sc_kv_int("entries", redis->sweep.removed));
    /* What FT.INFO counted before is no measure any more. */
    sc_index_ask(redis);
}

static void on_removed(sc_command *command, const redisReply *reply)
{
    sc_redis *redis = SC_CONTAINER(command, sc_redis, sweep.command);

    if (command->replies != 0) {
        /* Members whose entry had expired are tidied away and do not count. */
        if (reply->type == REDIS_REPLY_INTEGER && reply->integer > 0) {
            redis->sweep.removed += (uint64_t)reply->integer;
            redis->sweep.excess -= reply->integer;
        }
        return;
    }
    next_batch(redis);
}

/* Gives the number of ids among the members of the ZSET. */
static size_t read_members(const redisReply *reply, sc_digest *ids)
{
    size_t count = 0;

    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements && count < BATCH;
         i++) {
        const redisReply *member = reply->element[i];
        if (member->type == REDIS_REPLY_STRING &&
            sc_hex_decode((sc_str){member->str, member->len}, ids[count].bytes, SC_DIGEST_BYTES))
            count++;
    }
    return count;
}

static void on_oldest(sc_command *command, const redisReply *reply)
{
    sc_redis *redis = SC_CONTAINER(command, sc_redis, sweep.command);
    sc_digest ids[BATCH];
    size_t    count = read_members(reply, ids);
    sc_buf   *out = sc_redis_scratch(redis);
    char      text[SC_REDIS_KEY_BYTES];

    if (count == 0) {
        end(redis);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        size_t len = sc_redis_schema_key(&redis->schema, &ids[i], text);
        sc_resp_key_command(out, "UNLINK", (sc_str){text, len});
    }
    sc_resp_command(out, 2 + count);
    sc_resp_text(out, "ZREM");
    sc_resp_text(out, redis->schema.used);
    for (size_t i = 0; i < count; i++) {
        sc_hex_encode(ids[i].bytes, SC_DIGEST_BYTES, text);
        sc_resp_text(out, text);
    }
    ask(redis, count + 1, on_removed);
}

static void next_batch(sc_redis *redis)
{
    int64_t count = redis->sweep.excess < BATCH ? redis->sweep.excess : BATCH;

    if (count <= 0 || redis->sweep.batches++ >= BATCHES_MAX) {
        end(redis);
        return;
    }
    sc_buf *out = sc_redis_scratch(redis);
    sc_resp_command(out, 4);
    sc_resp_text(out, "ZRANGE");
    sc_resp_text(out, redis->schema.used);
    sc_resp_text(out, "0");
    sc_resp_int(out, count - 1);
    ask(redis, 1, on_oldest);
}

static bool lock_is_mine(const sc_redis *redis, const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING && strcmp(reply->str, redis->sweep.me) == 0;
}

static void on_election(sc_command *command, const redisReply *reply)
{
    sc_redis *redis = SC_CONTAINER(command, sc_redis, sweep.command);

    if (command->replies != 0)
        return; /* SET's: what GET finds decides */
    if (!lock_is_mine(redis, reply)) {
        redis->sweep.busy = false;
        return;
    }
    redis->sweep.removed = 0;
    redis->sweep.batches = 0;
    next_batch(redis);
}

static void stand_for_election(sc_redis *redis)
{
    sc_buf *out = sc_redis_scratch(redis);

    sc_resp_command(out, 6);
    sc_resp_text(out, "SET");
    sc_resp_text(out, redis->schema.sweeper);
    sc_resp_text(out, redis->sweep.me);
    sc_resp_text(out, "NX");
    sc_resp_text(out, "PX");
    sc_resp_int(out, LOCK_MS);
    sc_resp_words(out, (const char *const[]){"GET", redis->schema.sweeper, NULL});
    ask(redis, 2, on_election);
}

/* Keys spread evenly over a cluster's slots. */
static int64_t entries_max(const sc_redis *redis)
{
    double share = !redis->is_shard ? 1 : (double)sc_slot_count(&redis->shard.owned) / SC_SLOTS;
    return (int64_t)((double)redis->options.entries_max * share);
}

void sc_sweep_tick(sc_redis *redis, sc_instant now)
{
    int64_t excess = (int64_t)redis->index.seen.documents - entries_max(redis);

    if (redis->options.entries_max == 0 || redis->index.state != SC_INDEX_READY || excess <= 0 ||
        redis->sweep.busy || sc_instant_before(now, redis->sweep.next))
        return;
    redis->sweep.next = sc_instant_after_ms(now, SWEEP_MS);
    redis->sweep.excess = excess;
    stand_for_election(redis);
}
