/* FT.INFO first; FT.CREATE when there is nothing. Two servers may create at once, so "already
 * exists" is as good as success, and the next FT.INFO says whether what exists is what we meant. An
 * index that differs is never dropped here: its name is the hash of our settings, so somebody made
 * it by hand.
 *
 * In a cluster every master has an index over what it holds. To FT.* its name is a key, so the name
 * has a tag whose slot that master owns. FT._LIST comes first then: servers that know the cluster
 * from different times would else make one each, and each costs every write. When the tag's slot
 * leaves, or is about to, the index is made anew under another tag. */
#include <stdio.h>
#include <stdlib.h>

#include "src/base/log.h"
#include "src/store/redis/inside.h"
#include "src/store/redis/resp.h"

enum {
    ASK_MS_MAX = 10000, /* FT.CREATE and FT.INFO wait behind a busy main thread */
    FORGIVE_MS = 10000,
    ORPHAN_LOG_MS = 600000,
};

typedef enum { LIST, INFO, CREATE, DROP } step;

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

static void ask(sc_redis *redis, step what);

/* --- a cluster's master: which tag ----------------------------------------------------------- */

void sc_index_assigned(sc_redis *redis)
{
    redis->index.usable = redis->shard.owned;
}

/* A slot that is being moved away is ours still, and refuses what is not there as a key. */
static void avoid_tag(sc_redis *redis)
{
    char text[16];
    int  len = snprintf(text, sizeof text, "%d", redis->schema.tag);

    sc_redis_moved(redis);
    if (!redis->is_shard)
        return;
    sc_slot_remove(&redis->index.usable, sc_slot_of((sc_str){text, (size_t)len}));
    redis->index.forgive = sc_instant_after_ms(sc_now(), FORGIVE_MS);
    ask(redis, LIST);
}

static void forgive(sc_redis *redis)
{
    if (redis->index.forgive.ns == 0 || sc_instant_before(sc_now(), redis->index.forgive))
        return;
    redis->index.usable = redis->shard.owned;
    redis->index.forgive = (sc_instant){0};
}

/* Its name's slot has left, so that no command can reach it where it is; see the README. */
static void log_orphan(const redisReply *name)
{
    static sc_log_limit limit;
    int64_t             left_out;

    if (sc_log_allow(&limit, ORPHAN_LOG_MS, sc_now(), &left_out))
        sc_log(SC_LOG_WARN, "redis.index_orphan",
               sc_kv_str("index", ((sc_str){name->str, name->len})),
               sc_kv_text("advice", "it costs every write: drop it as the README says"));
}

/* The least usable tag in the list, and *surplus: the greatest if there are two; else -1. */
static int listed_tag(const sc_redis *redis, const redisReply *list, int *surplus)
{
    int least = -1, greatest = -1;

    for (size_t i = 0; list->type == REDIS_REPLY_ARRAY && i < list->elements; i++) {
        const redisReply *name = list->element[i];
        bool text = name->type == REDIS_REPLY_STRING || name->type == REDIS_REPLY_STATUS;
        int  tag = !text ? -1
                         : sc_redis_schema_tag_of(&redis->schema, (sc_str){name->str, name->len});
        if (tag >= 0 && !sc_slot_tag_in(&redis->shard.owned, tag))
            log_orphan(name);
        if (tag < 0 || !sc_slot_tag_in(&redis->index.usable, tag))
            continue;
        least = least < 0 || tag < least ? tag : least;
        greatest = tag > greatest ? tag : greatest;
    }
    *surplus = greatest > least ? greatest : -1;
    return least;
}

static void on_list(sc_redis *redis, const redisReply *list)
{
    int tag = listed_tag(redis, list, &redis->index.surplus);

    if (tag < 0)
        tag = sc_slot_tag(&redis->index.usable);
    if (tag < 0)
        return; /* the next tick asks again */
    if (tag != redis->schema.tag)
        sc_redis_schema_retag(&redis->schema, tag);
    ask(redis, INFO);
}

/* --- looking and making ---------------------------------------------------------------------- */

static void on_info(sc_redis *redis, const redisReply *reply)
{
    sc_redis_index *seen = &redis->index.seen;
    sc_redis_fault  fault = sc_redis_fault_of(reply);

    if (fault == SC_FAULT_NO_INDEX) {
        *seen = (sc_redis_index){0};
        enter(redis, SC_INDEX_MISSING);
        ask(redis, CREATE);
    } else if (fault == SC_FAULT_MOVED || fault == SC_FAULT_ASK) {
        enter(redis, SC_INDEX_UNKNOWN);
        avoid_tag(redis);
    } else if (fault == SC_FAULT_UNKNOWN_COMMAND) {
        enter(redis, SC_INDEX_NONE);
    } else if (fault != SC_FAULT_NONE ||
               sc_redis_schema_check(&redis->schema, reply, seen) != SC_OK) {
        enter(redis, SC_INDEX_UNKNOWN);
    } else if (!seen->fits) {
        enter(redis, SC_INDEX_DRIFTED);
    } else {
        enter(redis, seen->percent_indexed < 1 ? SC_INDEX_BUILDING : SC_INDEX_READY);
        if (redis->index.state == SC_INDEX_READY && redis->index.surplus >= 0)
            ask(redis, DROP);
    }
}

static void on_created(sc_redis *redis, const redisReply *reply)
{
    sc_redis_fault fault = sc_redis_fault_of(reply);
    char           text[160];

    if (fault == SC_FAULT_MOVED || fault == SC_FAULT_ASK) {
        avoid_tag(redis);
        return;
    }
    if (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "already exists") == NULL) {
        sc_redis_fault_text(reply, text, sizeof text);
        sc_log(SC_LOG_WARN, "redis.index_refused", sc_kv_text("index", redis->schema.index),
               sc_kv_text("cause", text));
        return; /* the next tick asks again */
    }
    ask(redis, INFO);
}

static void on_reply(sc_command *command, const redisReply *reply)
{
    sc_redis *redis = SC_CONTAINER(command, sc_redis, index.command);
    step      done = (step)redis->index.step;

    redis->index.asking = false;
    if (done == LIST)
        on_list(redis, reply);
    else if (done == INFO)
        on_info(redis, reply);
    else if (done == CREATE)
        on_created(redis, reply);
}

static void on_failed(sc_command *command, sc_status status, const char *why)
{
    sc_redis *redis = SC_CONTAINER(command, sc_redis, index.command);
    (void)status;
    (void)why;
    redis->index.asking = false;
}

static void write_drop(const sc_redis *redis, sc_buf *out)
{
    sc_redis_schema surplus = redis->schema;

    sc_redis_schema_retag(&surplus, redis->index.surplus);
    sc_log(SC_LOG_INFO, "redis.index_surplus", sc_kv_text("index", surplus.index));
    sc_resp_words(out, (const char *const[]){"FT.DROPINDEX", surplus.index, NULL});
}

static void write_step(const sc_redis *redis, step what, sc_buf *out)
{
    if (what == LIST)
        sc_resp_words(out, (const char *const[]){"FT._LIST", NULL});
    else if (what == INFO)
        sc_resp_words(out, (const char *const[]){"FT.INFO", redis->schema.index, NULL});
    else if (what == CREATE)
        sc_redis_schema_create(&redis->schema, out);
    else
        write_drop(redis, out);
}

static void ask(sc_redis *redis, step what)
{
    write_step(redis, what, sc_redis_scratch(redis));
    redis->index.step = what;
    redis->index.command = (sc_command){.deadline = sc_instant_after_ms(sc_now(), ASK_MS_MAX),
                                        .replies = 1,
                                        .reply = on_reply,
                                        .failed = on_failed};
    redis->index.asking = sc_redis_send(redis, SC_CONN_SEARCH, &redis->index.command) == SC_OK;
}

void sc_index_ask(sc_redis *redis)
{
    if (redis->index.asking || !sc_redis_is_up(redis, SC_CONN_SEARCH))
        return;
    if (redis->is_shard)
        forgive(redis);
    ask(redis, redis->is_shard ? LIST : INFO);
}
