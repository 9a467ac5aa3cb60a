#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/store/redis/inside.h"
#include "src/store/redis/resp.h"

/* --- get ------------------------------------------------------------------------------- */

/* Gives an entry with a reference, or NULL for one that is absent, expired or not ours. */
static sc_status read_found(sc_redis *redis, const redisReply *reply, const sc_digest *id,
                            sc_entry **out)
{
    sc_redis_fields fields;
    bool            absent;

    *out = NULL;
    if (!sc_redis_fields_read(reply, SC_REDIS_ENTRY_FIELDS, &fields, &absent)) {
        sc_redis_foreign(redis);
        return SC_OK;
    }
    if (absent)
        return SC_OK;
    sc_status status = sc_redis_entry_decode(&fields, id, out);
    if (status == SC_CORRUPT) {
        sc_redis_foreign(redis);
        return SC_OK;
    }
    if (*out != NULL && (*out)->f.expires.ms <= sc_wall_now().ms) {
        sc_entry_unref(*out);
        *out = NULL;
    }
    return status;
}

static void finish_with_error(sc_op *op, const redisReply *reply)
{
    char text[SC_ERROR_TEXT_BYTES];

    op->fault = sc_redis_fault_of(reply);
    sc_redis_fault_text(reply, text, sizeof text);
    sc_op_finish(op, sc_redis_fault_status(sc_redis_fault_of(reply)), text);
}

static void on_get(sc_command *command, const redisReply *reply)
{
    sc_op         *op = SC_CONTAINER(command, sc_op, command);
    sc_store_get  *get = SC_CONTAINER(op->call, sc_store_get, call);
    sc_redis_fault fault = sc_redis_fault_of(reply);

    if (fault == SC_FAULT_FOREIGN) {
        sc_redis_foreign(op->redis);
        sc_op_finish(op, SC_OK, NULL);
    } else if (fault == SC_FAULT_ASK) {
        /* Following it would save a question now and then, while a slot moves. */
        sc_redis_moved(op->redis);
        sc_op_finish(op, SC_OK, NULL);
    } else if (fault != SC_FAULT_NONE) {
        finish_with_error(op, reply);
    } else {
        sc_status status = read_found(op->redis, reply, &get->id, &get->found);
        if (get->found != NULL)
            sc_feed_lent(op->redis, &get->id);
        sc_op_finish(op, status, NULL);
    }
}

/* Beside its search it costs no write, no read and no turn of the loop of its own. Not where searches
 * queue: the entry, if it is there, makes the search unnecessary. */
void sc_get_start(sc_op *op)
{
    sc_store_get *get = SC_CONTAINER(op->call, sc_store_get, call);
    char          key[SC_REDIS_KEY_BYTES];
    size_t        len = sc_redis_schema_key(&op->redis->schema, &get->id, key);
    bool          beside = get->with_search && sc_turn_is_free(op->redis);

    sc_redis_hmget(sc_redis_scratch(op->redis), (sc_str){key, len}, SC_REDIS_ENTRY_FIELDS);
    op->command.reply = on_get;
    sc_op_send(op, beside ? SC_CONN_SEARCH : SC_CONN_DATA, 1);
}

/* --- verify ---------------------------------------------------------------------------- */

static void on_verify(sc_command *command, const redisReply *reply)
{
    sc_op           *op = SC_CONTAINER(command, sc_op, command);
    sc_store_verify *verify = SC_CONTAINER(op->call, sc_store_verify, call);
    sc_redis_fault   fault = sc_redis_fault_of(reply);
    sc_redis_fields  fields;
    bool             absent;
    uint64_t         version;
    sc_wall          expires;

    if (fault != SC_FAULT_NONE && fault != SC_FAULT_FOREIGN && fault != SC_FAULT_ASK) {
        finish_with_error(op, reply);
        return;
    }
    verify->fresh = sc_redis_fields_read(reply, 2, &fields, &absent) &&
                    sc_redis_version_read(fields.version, &version) && version == verify->version &&
                    sc_redis_expires_read(fields.expires, &expires) &&
                    expires.ms > sc_wall_now().ms;
    sc_op_finish(op, SC_OK, NULL);
}

void sc_verify_start(sc_op *op)
{
    sc_store_verify *verify = SC_CONTAINER(op->call, sc_store_verify, call);
    char             key[SC_REDIS_KEY_BYTES];
    size_t           len = sc_redis_schema_key(&op->redis->schema, &verify->id, key);

    /* HMGET, other than FT.SEARCH, counts as a use for Redis' own eviction. */
    sc_redis_hmget(sc_redis_scratch(op->redis), (sc_str){key, len}, 2);
    op->command.reply = on_verify;
    sc_op_send(op, SC_CONN_DATA, 1);
}

/* --- used ------------------------------------------------------------------------------ */

enum { USED_PER_COMMAND = 128, USED_PER_FLUSH_MAX = 4096 };

void sc_used_note(sc_redis *redis, const sc_digest *id, sc_wall when)
{
    sc_used_shard *shard = &redis->used[id->bytes[SC_DIGEST_BYTES - 1] % SC_USED_SHARDS];

    if (when.ms <= 0)
        return;
    pthread_mutex_lock(&shard->lock);
    /* A use that does not fit, or finds no memory, is lost: it only orders the pruning. */
    if (shard->when.used < SC_USED_PER_SHARD_MAX || sc_table_get(&shard->when, id) != NULL) {
        sc_status ignored = sc_table_put(&shard->when, id, (void *)(uintptr_t)when.ms, NULL);
        (void)ignored;
    }
    pthread_mutex_unlock(&shard->lock);
}

/* Told and forgotten: a lost one costs a little order. */
typedef struct {
    sc_command command;
} told;

static void on_told(sc_command *command, const redisReply *reply)
{
    (void)reply;
    if (command->replies == 0)
        free(SC_CONTAINER(command, told, command));
}

static void on_told_failed(sc_command *command, sc_status status, const char *why)
{
    (void)status;
    (void)why;
    free(SC_CONTAINER(command, told, command));
}

static void tell(sc_redis *redis, const sc_table_slot *uses, size_t count)
{
    told   *telling = calloc(1, sizeof *telling);
    sc_buf *out = sc_redis_scratch(redis);
    char    text[SC_REDIS_KEY_BYTES];

    if (telling == NULL)
        return;
    sc_resp_command(out, 3 + 2 * count);
    sc_resp_text(out, "ZADD");
    sc_resp_text(out, redis->schema.used);
    sc_resp_text(out, "GT");
    for (size_t i = 0; i < count; i++) {
        sc_resp_int(out, (int64_t)(uintptr_t)uses[i].value);
        sc_hex_encode(uses[i].key.bytes, SC_DIGEST_BYTES, text);
        sc_resp_str(out, (sc_str){text, SC_DIGEST_HEX_BYTES});
    }
    /* One key per command, here and elsewhere: a cluster takes no others. */
    for (size_t i = 0; i < count; i++) {
        size_t len = sc_redis_schema_key(&redis->schema, &uses[i].key, text);
        sc_resp_key_command(out, "TOUCH", (sc_str){text, len});
    }
    telling->command =
        (sc_command){.deadline = sc_instant_after_ms(sc_now(), redis->options.timeout_ms),
                     .replies = 1 + count,
                     .reply = on_told,
                     .failed = on_told_failed};
    if (sc_redis_send(redis, SC_CONN_DATA, &telling->command) != SC_OK)
        free(telling);
}

/* Takes a shard's table away, so that hits wait for a swap only. */
static void flush_shard(sc_redis *redis, sc_used_shard *shard)
{
    sc_table      uses = {0};
    sc_table_slot batch[USED_PER_COMMAND];
    size_t        batched = 0;

    pthread_mutex_lock(&shard->lock);
    if (shard->when.used != 0) {
        uses = shard->when;
        shard->when = (sc_table){0};
    }
    pthread_mutex_unlock(&shard->lock);
    for (size_t i = 0; i < uses.room; i++) {
        if (uses.slots[i].value == NULL)
            continue;
        batch[batched++] = uses.slots[i];
        if (batched == USED_PER_COMMAND) {
            tell(redis, batch, batched);
            batched = 0;
        }
    }
    if (batched != 0)
        tell(redis, batch, batched);
    sc_table_fini(&uses);
}

void sc_used_flush(sc_redis *redis)
{
    if (!sc_redis_is_up(redis, SC_CONN_DATA))
        return;
    for (size_t i = 0; i < SC_USED_SHARDS; i++)
        flush_shard(redis, &redis->used[i]);
}
