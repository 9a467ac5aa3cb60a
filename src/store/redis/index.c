/* FT.INFO first; FT.CREATE when there is nothing. Two servers may create at once, so "already
 * exists" is as good as success, and the next FT.INFO says whether what exists is what we meant. An
 * index that differs is never dropped here: its name is the hash of our settings, so somebody made
 * it by hand. */
#include <stdlib.h>

#include "src/base/log.h"
#include "src/store/redis/inside.h"
#include "src/store/redis/resp.h"

enum { ASK_MS_MAX = 10000 }; /* FT.CREATE and FT.INFO wait behind a busy main thread */

const char *sc_index_state_name(sc_index_state state)
{
    static const char *const names[] = {"unknown", "missing", "indexing",
                                        "ready",   "drifted", "none"};
    return names[state];
}

static void enter(sc_redis *redis, sc_index_state state)
{
    if (redis->index.state == state)
        return;
    redis->index.state = state;
    sc_log(state == SC_INDEX_DRIFTED || state == SC_INDEX_NONE ? SC_LOG_ERROR : SC_LOG_INFO,
           "redis.index", sc_kv_text("state", sc_index_state_name(state)),
           sc_kv_text("index", redis->schema.index),
           sc_kv_int("documents", redis->index.seen.documents),
           sc_kv_text("problem", redis->index.seen.problem));
}

static void ask(sc_redis *redis, bool create);

static void on_info(sc_redis *redis, const redisReply *reply)
{
    sc_redis_index *seen = &redis->index.seen;
    sc_redis_fault  fault = sc_redis_fault_of(reply);

    if (fault == SC_FAULT_NO_INDEX) {
        *seen = (sc_redis_index){0};
        enter(redis, SC_INDEX_MISSING);
        ask(redis, true);
    } else if (fault == SC_FAULT_UNKNOWN_COMMAND) {
        enter(redis, SC_INDEX_NONE);
    } else if (fault != SC_FAULT_NONE ||
               sc_redis_schema_check(&redis->schema, reply, seen) != SC_OK) {
        enter(redis, SC_INDEX_UNKNOWN);
    } else if (!seen->fits) {
        enter(redis, SC_INDEX_DRIFTED);
    } else {
        enter(redis, seen->percent_indexed < 1 ? SC_INDEX_BUILDING : SC_INDEX_READY);
    }
}

static void on_created(sc_redis *redis, const redisReply *reply)
{
    char text[160];

    if (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "already exists") == NULL) {
        sc_redis_fault_text(reply, text, sizeof text);
        sc_log(SC_LOG_WARN, "redis.index_refused", sc_kv_text("index", redis->schema.index),
               sc_kv_text("cause", text));
        return; /* the next tick asks again */
    }
    ask(redis, false);
}

static void on_reply(sc_command *command, const redisReply *reply)
{
    sc_redis *redis = SC_CONTAINER(command, sc_redis, index.command);

    redis->index.asking = false;
    if (redis->index.creating)
        on_created(redis, reply);
    else
        on_info(redis, reply);
}

static void on_failed(sc_command *command, sc_status status, const char *why)
{
    sc_redis *redis = SC_CONTAINER(command, sc_redis, index.command);
    (void)status;
    (void)why;
    redis->index.asking = false;
}

static void ask(sc_redis *redis, bool create)
{
    sc_buf *out = sc_redis_scratch(redis);

    if (create)
        sc_redis_schema_create(&redis->schema, out);
    else
        sc_resp_words(out, (const char *const[]){"FT.INFO", redis->schema.index, NULL});
    redis->index.creating = create;
    redis->index.command = (sc_command){.deadline = sc_instant_after_ms(sc_now(), ASK_MS_MAX),
                                        .replies = 1,
                                        .reply = on_reply,
                                        .failed = on_failed};
    redis->index.asking = sc_redis_send(redis, SC_CONN_SEARCH, &redis->index.command) == SC_OK;
}

void sc_index_ask(sc_redis *redis)
{
    if (!redis->index.asking && sc_redis_is_up(redis, SC_CONN_SEARCH))
        ask(redis, false);
}
