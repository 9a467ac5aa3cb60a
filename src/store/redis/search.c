/* The nearest entries of a scope: one FT.SEARCH whose filter is the scope, whose rows carry all
 * that an entry needs, and whose every row is checked again here. KNN and not VECTOR_RANGE: a range
 * query missed up to 15 % of what lay inside its radius with its default epsilon, and its cost has
 * no bound. */
#include <math.h>
#include <stdlib.h>

#include "src/base/log.h"
#include "src/store/redis/inside.h"
#include "src/store/redis/resp.h"
#include "src/store/redis/vector.h"

enum { QUERY_BYTES = 320, SPARE_ROWS = 2, BATCHES_ENTRIES_MIN = 1000, BATCHES_SHARE_MIN = 50 };

/* Expired entries are returned until Redis has deleted them, and take up places. */
static size_t rows_most(const sc_store_search *search)
{
    return 2 * (size_t)search->k + SPARE_ROWS;
}

/* A row costs Redis 7 us and us as much again, and of twelve one is served: 280 us of Redis for all of
 * k = 5 beside 170 us for the nearest alone. Where expired entries are kept on, the nearest is often
 * one of them, and the second round trip that it costs would be the rule. */
static size_t rows_first(const sc_redis *redis, const sc_store_search *search)
{
    bool all = sc_store_wanted(search) == search->k || redis->schema.stale_ms > 0 ||
               redis->is_shard; /* whose rows are names only */
    return all ? rows_most(search) : search->wanted;
}

/* RediSearch compares with every matching entry one by one when it thinks the filter selective, and
 * thinks so too often: 10 000 entries of one scope cost 1.7 ms so, .3 ms by batches from the graph.
 * For a filter that is selective indeed batches are the worse by a factor of 100. */
static bool wants_batches(const sc_redis *redis, const sc_store_search *search)
{
    uint64_t matching = sc_feed_count(redis, &search->scope, search->guard);
    return !redis->schema.flat && matching >= BATCHES_ENTRIES_MIN &&
           matching * BATCHES_SHARE_MIN >= redis->index.seen.documents;
}

static char *put(char *at, const char *text)
{
    size_t len = strlen(text);
    memcpy(at, text, len + 1);
    return at + len;
}

static char *put_number(char *at, uint32_t number)
{
    char digits[SC_RESP_DIGITS_MAX];
    return put(at, sc_resp_digits(number, digits));
}

/* By hand: printf took more time than the rest of the command. */
static void write_query(const sc_redis *redis, const sc_store_search *search, size_t rows,
                        char out[QUERY_BYTES])
{
    char  tag[SC_REDIS_TAG_BYTES];
    char *at = put(out, "(@scope:{");

    sc_redis_tag_digest(&search->scope, tag);
    at = put(at, tag);
    at = put(at, "} @guard:{");
    sc_redis_tag_guard(search->guard, tag);
    at = put(at, tag);
    at = put(at, "})=>[KNN ");
    at = put_number(at, (uint32_t)rows);
    at = put(at, " @v $q");
    if (!redis->schema.flat) {
        at = put(at, " EF_RUNTIME ");
        at = put_number(at, search->ef_runtime != 0 ? search->ef_runtime : redis->options.ef_runtime);
    }
    if (wants_batches(redis, search))
        at = put(at, " HYBRID_POLICY BATCHES");
    put(at, " AS d]");
}

static void put_vector(const sc_redis *redis, const sc_store_search *search, sc_buf *out)
{
    size_t len = sc_vector_bytes(redis->schema.dim, redis->schema.half);
    char  *bytes = malloc(len);

    if (bytes == NULL) {
        out->failed = SC_NO_MEMORY;
        return;
    }
    sc_vector_encode(search->vector, redis->schema.dim, redis->schema.half, bytes);
    sc_resp_str(out, (sc_str){bytes, len});
    free(bytes);
}

/* All but the distance is left out where only keys are wanted: see fetch.c. */
static size_t fields_wanted(const sc_redis *redis)
{
    return redis->is_shard ? 0 : SC_REDIS_ENTRY_FIELDS;
}

enum { COMMON_WORDS = 2 + 1 + 3 }; /* beside the fields */

/* What stands in every search alike, from RETURN to the vector's name. */
static void write_common(size_t fields, sc_buf *out)
{
    sc_resp_text(out, "RETURN");
    sc_resp_int(out, 1 + (int64_t)fields);
    sc_resp_text(out, "d");
    for (size_t i = 0; i < fields; i++)
        sc_resp_text(out, sc_redis_field_names[i]);
    sc_resp_text(out, "PARAMS");
    sc_resp_text(out, "2");
    sc_resp_text(out, "q");
}

/* No SORTBY: rows as many as KNN asks for are all there are, and are put in order here. */
static void write_search(sc_redis *redis, const sc_store_search *search, size_t rows,
                         int64_t wait_ms, sc_buf *out)
{
    char   query[QUERY_BYTES];
    size_t fields = fields_wanted(redis);

    if (redis->search_words.len == 0)
        write_common(fields, &redis->search_words);
    if (redis->search_words.failed != SC_OK) {
        out->failed = SC_NO_MEMORY;
        sc_buf_clear(&redis->search_words);
    }
    write_query(redis, search, rows, query);
    sc_resp_command(out, 3 + COMMON_WORDS + fields + 1 + 3 + 2 + 2);
    sc_resp_text(out, "FT.SEARCH");
    sc_resp_text(out, redis->schema.index);
    sc_resp_text(out, query);
    sc_buf_str(out, sc_buf_view(&redis->search_words));
    put_vector(redis, search, out);
    sc_resp_text(out, "LIMIT");
    sc_resp_text(out, "0");
    sc_resp_int(out, (int64_t)rows);
    sc_resp_text(out, "TIMEOUT");
    sc_resp_int(out, wait_ms);
    sc_resp_text(out, "DIALECT");
    sc_resp_text(out, "2");
}

sc_entry *sc_search_read_row(sc_redis *redis, const sc_store_search *search,
                             const sc_redis_row *row, sc_wall now)
{
    sc_entry *entry = NULL;
    sc_digest id;
    bool      mine;

    if (row->fields.meta.ptr == NULL && row->fields.version.ptr == NULL && isnan(row->distance))
        return NULL; /* only a key: expired */
    if (isnan(row->distance) || !sc_redis_schema_id(&redis->schema, row->key, &id, &mine) ||
        !mine || sc_redis_entry_decode(&row->fields, &id, &entry) != SC_OK ||
        !sc_digest_equal(&entry->f.scope, &search->scope) || entry->f.guard != search->guard) {
        sc_redis_foreign(redis);
        sc_entry_unref(entry);
        return NULL;
    }
    if (entry->f.expires.ms > now.ms)
        return entry;
    sc_entry_unref(entry);
    return NULL;
}

/* Rows come sorted, but not from every server: an insertion keeps the promise everywhere. */
static void keep_nearest(sc_store_search *search, sc_entry *entry, float distance)
{
    size_t at = search->found_count, wanted = sc_store_wanted(search);

    if (at == wanted)
        sc_entry_unref(search->found[--at].entry);
    for (; at > 0 && search->found[at - 1].distance > distance; at--)
        search->found[at] = search->found[at - 1];
    search->found[at] = (sc_candidate){entry, distance};
    if (search->found_count < wanted)
        search->found_count++;
}

static void read_rows(sc_redis *redis, sc_store_search *search, const redisReply *reply)
{
    sc_wall      now = sc_wall_now();
    sc_redis_row row;
    size_t       at = 1, wanted = sc_store_wanted(search);

    while (sc_redis_next_row(reply, &at, &row)) {
        bool full = search->found_count == wanted;
        if (full && row.distance >= search->found[wanted - 1].distance)
            continue; /* spares that were not needed */
        sc_entry *entry = sc_search_read_row(redis, search, &row, now);
        if (entry != NULL)
            keep_nearest(search, entry, row.distance);
    }
}

/* Redis gives up before we do: what it has found by then still arrives in time. */
static int64_t search_ms(sc_instant from, const sc_op *op)
{
    int64_t ms = sc_remaining_ms(from, sc_op_deadline(op));
    return ms < 4 ? 1 : ms - ms / 4;
}

/* A search that ran out of time ends with what it has, and says so to nobody. No rows after all that
 * time is no finding. */
static bool ran_out_of_time(const sc_op *op, const redisReply *reply)
{
    bool empty = reply->type == REDIS_REPLY_ARRAY && reply->elements <= 1;
    return empty && sc_elapsed_us(op->since, sc_now()) >= search_ms(op->since, op) * 1000;
}

static void on_rows(sc_command *command, const redisReply *reply);
static void on_all_rows(sc_command *command, const redisReply *reply);

static void on_search_failed(sc_command *command, sc_status status, const char *why)
{
    sc_turn_end(SC_CONTAINER(command, sc_op, command), status, why);
}

static void ask(sc_op *op, size_t rows)
{
    const sc_store_search *search = SC_CONTAINER(op->call, sc_store_search, call);

    write_search(op->redis, search, rows, search_ms(sc_now(), op), sc_redis_scratch(op->redis));
    op->command.reply = rows == rows_most(search) ? on_all_rows : on_rows;
    op->command.failed = on_search_failed;
    sc_op_send(op, SC_CONN_SEARCH, 1);
}

static void end_with_fault(sc_op *op, const redisReply *reply, sc_redis_fault fault)
{
    char text[160];

    op->fault = fault;
    if (fault == SC_FAULT_NO_INDEX || fault == SC_FAULT_MOVED || fault == SC_FAULT_ASK)
        sc_index_ask(op->redis);
    sc_redis_fault_text(reply, text, sizeof text);
    sc_turn_end(op, sc_redis_fault_status(fault), text);
}

static void lend(sc_op *op)
{
    const sc_store_search *search = SC_CONTAINER(op->call, sc_store_search, call);
    for (size_t i = 0; i < search->found_count; i++)
        sc_feed_lent(op->redis, &search->found[i].entry->f.id);
    sc_turn_end(op, SC_OK, NULL);
}

/* Takes what may be served into the call. False: the op has ended already, with an error, or its
 * entries are fetched. */
static bool take_rows(sc_op *op, const redisReply *reply)
{
    sc_redis_fault fault = sc_redis_fault_of(reply);
    bool           late = fault == SC_FAULT_NONE && ran_out_of_time(op, reply);
    bool           names_only = op->redis->is_shard;

    sc_turn_answered(op);
    if (fault != SC_FAULT_NONE)
        end_with_fault(op, reply, fault);
    else if (late)
        sc_turn_end(op, SC_TIMEOUT, "the search ran out of time");
    else if (names_only)
        sc_search_fetch(op, reply);
    else
        read_rows(op->redis, SC_CONTAINER(op->call, sc_store_search, call), reply);
    return fault == SC_FAULT_NONE && !late && !names_only;
}

static void on_all_rows(sc_command *command, const redisReply *reply)
{
    sc_op *op = SC_CONTAINER(command, sc_op, command);

    if (take_rows(op, reply))
        lend(op);
}

static void let_go(sc_store_search *search)
{
    sc_candidates_unref(search->found, search->found_count);
    search->found_count = 0;
}

/* The nearest may have expired, or be another program's; what is behind them is looked at then. */
static void on_rows(sc_command *command, const redisReply *reply)
{
    sc_op           *op = SC_CONTAINER(command, sc_op, command);
    sc_store_search *search = SC_CONTAINER(op->call, sc_store_search, call);

    if (!take_rows(op, reply))
        return;
    if (search->found_count == sc_store_wanted(search) ||
        sc_redis_rows_found(reply) < rows_first(op->redis, search)) {
        lend(op);
        return;
    }
    let_go(search);
    ask(op, rows_most(search));
}

void sc_search_send(sc_op *op)
{
    ask(op, rows_first(op->redis, SC_CONTAINER(op->call, sc_store_search, call)));
}

void sc_search_start(sc_op *op)
{
    if (op->redis->index.state == SC_INDEX_DRIFTED || op->redis->index.state == SC_INDEX_NONE)
        sc_op_finish(op, SC_UNAVAILABLE, "there is no usable index");
    else
        sc_turn_take(op);
}
