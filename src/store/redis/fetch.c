/* The second half of a search on a cluster's master: the entries of the rows, by key.
 *
 * Redis 7.4 looks for a key in the slot of the command that is being run, and FT.SEARCH's is its
 * index's. So the module finds none of the documents and gives their names and distances only. One
 * more round trip of .1 ms; the rows that are not needed cost nothing in return. */
#include <stdlib.h>

#include "src/store/redis/inside.h"

enum { ROWS_MAX = 2 * SC_STORE_CANDIDATES_MAX + 2, SPARE_ROWS = 2 };

typedef struct {
    sc_digest id;
    float     distance;
} near;

typedef struct {
    sc_op     *op;
    sc_command command;
    size_t     count, at;
    near       rows[ROWS_MAX]; /* nearest first */
} fetch;

/* --- which ----------------------------------------------------------------------------- */

static void insert(fetch *of, near row)
{
    size_t at = of->count++;

    for (; at > 0 && of->rows[at - 1].distance > row.distance; at--)
        of->rows[at] = of->rows[at - 1];
    of->rows[at] = row;
}

/* A key of another's slot is on its way to this master, or was left behind: nobody could take the
 * entry back. */
static void read_names(fetch *of, const redisReply *reply)
{
    sc_redis    *redis = of->op->redis;
    sc_redis_row row;
    size_t       at = 1;
    sc_digest    id;
    bool         mine;

    while (of->count < ROWS_MAX && sc_redis_next_row(reply, &at, &row)) {
        if (!sc_redis_schema_id(&redis->schema, row.key, &id, &mine) || !mine)
            sc_redis_foreign(redis);
        else if (sc_redis_owns(redis, row.key) && row.distance >= 0)
            insert(of, (near){id, row.distance});
    }
}

/* Where expired entries are kept on, all of the nearest may be such. */
static void leave_out_spares(fetch *of)
{
    const sc_store_search *search = SC_CONTAINER(of->op->call, sc_store_search, call);
    size_t                 most = sc_store_wanted(search) + SPARE_ROWS;

    if (of->op->redis->schema.stale_ms == 0 && of->count > most)
        of->count = most;
}

/* --- reading them ---------------------------------------------------------------------- */

static void end(fetch *of, sc_status status, const char *why)
{
    sc_op           *op = of->op;
    sc_store_search *search = SC_CONTAINER(op->call, sc_store_search, call);

    free(of);
    if (status != SC_OK) {
        sc_candidates_unref(search->found, search->found_count);
        search->found_count = 0;
    }
    sc_turn_end(op, status, why);
}

static void take(fetch *of, const near *row, const redisReply *reply)
{
    sc_redis        *redis = of->op->redis;
    sc_store_search *search = SC_CONTAINER(of->op->call, sc_store_search, call);
    char             key[SC_REDIS_KEY_BYTES];
    size_t           len = sc_redis_schema_key(&redis->schema, &row->id, key);
    sc_redis_row     whole = {.key = {key, len}, .distance = row->distance};
    bool             absent;

    if (search->found_count == sc_store_wanted(search))
        return; /* a spare that was not needed */
    if (!sc_redis_fields_read(reply, SC_REDIS_ENTRY_FIELDS, &whole.fields, &absent)) {
        sc_redis_foreign(redis);
        return;
    }
    sc_entry *entry = absent ? NULL : sc_search_read_row(redis, search, &whole, sc_wall_now());
    if (entry == NULL)
        return;
    search->found[search->found_count++] = (sc_candidate){entry, row->distance};
    sc_feed_lent(redis, &row->id);
}

static void on_entry(sc_command *command, const redisReply *reply)
{
    fetch         *of = SC_CONTAINER(command, fetch, command);
    sc_redis_fault fault = sc_redis_fault_of(reply);
    const near    *row = &of->rows[of->at++];

    if (fault == SC_FAULT_MOVED || fault == SC_FAULT_ASK)
        sc_redis_moved(of->op->redis);
    else if (fault != SC_FAULT_NONE && fault != SC_FAULT_FOREIGN)
        of->op->fault = fault;
    else
        take(of, row, reply);
    if (command->replies == 0)
        end(of, sc_redis_fault_status(of->op->fault), "Redis did not give the entries");
}

static void on_failed(sc_command *command, sc_status status, const char *why)
{
    end(SC_CONTAINER(command, fetch, command), status, why);
}

static void ask(fetch *of)
{
    sc_redis *redis = of->op->redis;
    sc_buf   *out = sc_redis_scratch(redis);
    char      key[SC_REDIS_KEY_BYTES];

    for (size_t i = 0; i < of->count; i++) {
        size_t len = sc_redis_schema_key(&redis->schema, &of->rows[i].id, key);
        sc_redis_hmget(out, (sc_str){key, len}, SC_REDIS_ENTRY_FIELDS);
    }
    of->command = (sc_command){.deadline = sc_op_deadline(of->op),
                               .replies = of->count,
                               .reply = on_entry,
                               .failed = on_failed};
    sc_status status = sc_redis_send(redis, SC_CONN_DATA, &of->command);
    if (status != SC_OK)
        end(of, status, "Redis is away");
}

void sc_search_fetch(sc_op *op, const redisReply *rows)
{
    fetch *of = calloc(1, sizeof *of);

    if (of == NULL) {
        sc_turn_end(op, SC_NO_MEMORY, NULL);
        return;
    }
    of->op = op;
    read_names(of, rows);
    leave_out_spares(of);
    if (of->count == 0)
        end(of, SC_OK, NULL);
    else
        ask(of);
}
