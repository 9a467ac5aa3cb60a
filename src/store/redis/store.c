/* Threads: a caller makes an op, puts it in the inbox and wakes the loop; the I/O thread starts it,
 * and hands it back from a reply, a deadline or a broken connection, whichever comes first, once.
 * A call that has no chance (Redis away, breaker open, too many under way) is refused in the
 * caller's thread, so a dead Redis costs a request two atomic loads. One thread was chosen over one
 * per connection: Redis answers from one thread as well, and what ours does per reply is
 * microseconds. */
#include <assert.h>
#include <stdlib.h>

#include "src/base/log.h"
#include "src/base/random.h"
#include "src/base/thread.h"
#include "src/store/redis/inside.h"
#include "src/store/redis/resp.h"
#include "src/store/redis/vector.h"

enum {
    BREAKER_FAILURES_MAX = 5,
    BREAKER_OPEN_MS = 1000,
    DIAL_MS_MIN = 1000,
    HANG_MS_MIN = 1000,
    TICK_MS = 100,
    CLOSING_TICK_MS = 5,
    USED_TICKS = 10,
    INDEX_TICKS = 10,
    SCRATCH_BYTES_MAX = 64 * 1024 * 1024,
    SEARCH_WORDS_BYTES_MAX = 1024,
    SCRATCH_BYTES_KEPT = 1024 * 1024,
    REPLY_BYTES_MAX = 128 * 1024 * 1024,
    COMMANDS_PER_CALL_MAX = 4, /* connections take more commands than there are calls */
    FOREIGN_LOG_MS = 60000,
};

static const char *const roles[SC_CONN_COUNT] = {"search", "data", "bulk", "feed"};

/* --- ops ------------------------------------------------------------------------------- */

static void set_outcome(sc_store_call *call, sc_status status, const char *text)
{
    call->status = status;
    call->error = (sc_error){0};
    if (status != SC_OK)
        sc_fail(&call->error, status, "%s",
                text != NULL && text[0] != '\0' ? text : sc_status_name(status));
}

/* Only what says something about Redis counts: not a deadline that the caller had set shorter. */
static void tell_breaker(sc_redis *redis, const sc_op *op, sc_status status)
{
    sc_instant now = sc_now();
    bool own_limit = sc_elapsed_us(op->since, now) >= (int64_t)redis->options.timeout_ms * 1000;

    if (status == SC_OK || status == SC_BUSY || status == SC_CORRUPT ||
        op->fault == SC_FAULT_NO_INDEX || op->fault == SC_FAULT_MOVED || op->fault == SC_FAULT_ASK)
        sc_breaker_success(&redis->breaker);
    else if (status == SC_UNAVAILABLE || (status == SC_TIMEOUT && own_limit))
        sc_breaker_failure(&redis->breaker, now);
}

void sc_op_finish(sc_op *op, sc_status status, const char *text)
{
    sc_redis      *redis = op->redis;
    sc_store_call *call = op->call;

    if (op->start != sc_invalidate_start && !op->unsent)
        tell_breaker(redis, op, status);
    if (status != SC_OK)
        atomic_fetch_add_explicit(&redis->failures, 1, memory_order_relaxed);
    atomic_fetch_sub(&redis->calls_under_way, 1);
    set_outcome(call, status, text);
    call->_op = NULL;
    free(op);
    call->done(call);
}

sc_instant sc_op_deadline(const sc_op *op)
{
    sc_instant own = sc_instant_after_ms(op->since, op->redis->options.timeout_ms);
    return sc_instant_earlier(op->call->deadline, own);
}

sc_buf *sc_redis_scratch(sc_redis *redis)
{
    if (redis->scratch.room > SCRATCH_BYTES_KEPT)
        sc_buf_fini(&redis->scratch);
    else
        sc_buf_clear(&redis->scratch);
    return &redis->scratch;
}

sc_status sc_redis_send(sc_redis *redis, sc_conn_role role, sc_command *command)
{
    if (redis->scratch.failed != SC_OK)
        return redis->scratch.failed;
    if (redis->conns[role] == NULL)
        return SC_UNAVAILABLE;
    return sc_conn_send(redis->conns[role], command, sc_buf_view(&redis->scratch));
}

static void on_op_failed(sc_command *command, sc_status status, const char *why)
{
    sc_op_finish(SC_CONTAINER(command, sc_op, command), status, why);
}

void sc_op_send(sc_op *op, sc_conn_role role, size_t replies)
{
    op->command.replies = replies;
    op->command.deadline = sc_op_deadline(op);
    if (op->command.failed == NULL)
        op->command.failed = on_op_failed;
    sc_status status = sc_redis_send(op->redis, role, &op->command);
    if (status != SC_OK)
        op->command.failed(&op->command, status, status == SC_UNAVAILABLE ? "Redis is away" : NULL);
}

void sc_redis_hmget(sc_buf *out, sc_str key, size_t fields)
{
    sc_resp_command(out, 2 + fields);
    sc_resp_text(out, "HMGET");
    sc_resp_str(out, key);
    for (size_t i = 0; i < fields; i++)
        sc_resp_text(out, sc_redis_field_names[i]);
}

void sc_redis_foreign(sc_redis *redis)
{
    static sc_log_limit limit;
    int64_t             left_out;

    redis->foreign_values++;
    if (sc_log_allow(&limit, FOREIGN_LOG_MS, sc_now(), &left_out))
        sc_log(SC_LOG_WARN, "redis.foreign_value", sc_kv_text("index", redis->schema.index),
               sc_kv_int("seen", redis->foreign_values));
}

/* --- a cluster's master ---------------------------------------------------------------- */

bool sc_redis_owns(const sc_redis *redis, sc_str key)
{
    return !redis->is_shard || sc_slot_in(&redis->shard.owned, sc_slot_of(key));
}

bool sc_redis_owns_id(const sc_redis *redis, const sc_digest *id)
{
    char key[SC_REDIS_KEY_BYTES];
    return sc_redis_owns(redis, (sc_str){key, sc_redis_schema_key(&redis->schema, id, key)});
}

void sc_redis_moved(sc_redis *redis)
{
    static sc_log_limit limit;
    int64_t             left_out;

    if (redis->is_shard)
        redis->shard.moved(redis->shard.context);
    else if (sc_log_allow(&limit, FOREIGN_LOG_MS, sc_now(), &left_out))
        sc_log(SC_LOG_ERROR, "redis.is_cluster", sc_kv_text("host", redis->url.host),
               sc_kv_text("advice", "set REDIS_CLUSTER"));
}

static bool has_more(const sc_slot_set *of, const sc_slot_set *than)
{
    for (size_t i = 0; i < sizeof of->bits; i++)
        if ((of->bits[i] & ~than->bits[i]) != 0)
            return true;
    return false;
}

static void take_assigned(sc_redis *redis)
{
    pthread_mutex_lock(&redis->inbox_lock);
    bool        anew = redis->assigned_anew;
    bool        again = redis->tell_again;
    sc_slot_set owned = redis->assigned;
    redis->assigned_anew = redis->tell_again = false;
    pthread_mutex_unlock(&redis->inbox_lock);
    if (again && !redis->winding_down)
        sc_feed_again(redis);
    bool gained = anew && has_more(&owned, &redis->shard.owned);
    bool lost = anew && has_more(&redis->shard.owned, &owned);
    if ((!gained && !lost) || redis->winding_down)
        return;
    redis->shard.owned = owned;
    sc_index_assigned(redis);
    sc_feed_assigned(redis, gained, lost);
}

void sc_redis_shard_assign(sc_store *store, const sc_slot_set *owned)
{
    sc_redis *redis = SC_CONTAINER(store, sc_redis, base);

    pthread_mutex_lock(&redis->inbox_lock);
    redis->assigned = *owned;
    redis->assigned_anew = true;
    uv_async_send(&redis->wake);
    pthread_mutex_unlock(&redis->inbox_lock);
}

void sc_redis_shard_tell_again(sc_store *store)
{
    sc_redis *redis = SC_CONTAINER(store, sc_redis, base);

    pthread_mutex_lock(&redis->inbox_lock);
    redis->tell_again = true;
    uv_async_send(&redis->wake);
    pthread_mutex_unlock(&redis->inbox_lock);
}

/* --- doors: any thread ----------------------------------------------------------------- */

static sc_redis *redis_of(sc_store *store)
{
    return SC_CONTAINER(store, sc_redis, base);
}

static void refuse(sc_redis *redis, sc_store_call *call, sc_status status, const char *text)
{
    atomic_fetch_add_explicit(&redis->failures, 1, memory_order_relaxed);
    set_outcome(call, status, text);
    call->done(call);
}

static void post(sc_redis *redis, sc_op *op)
{
    pthread_mutex_lock(&redis->inbox_lock);
    bool first = sc_list_empty(&redis->inbox);
    sc_list_push_back(&redis->inbox, &op->link);
    /* Under the lock: close() waits for it before the loop goes. */
    if (first)
        uv_async_send(&redis->wake);
    pthread_mutex_unlock(&redis->inbox_lock);
}

static void submit(sc_redis *redis, sc_store_call *call, void (*start)(sc_op *op))
{
    sc_op *op;

    atomic_fetch_add_explicit(&redis->calls, 1, memory_order_relaxed);
    if (atomic_load(&redis->closing)) {
        refuse(redis, call, SC_CANCELLED, "the store is closing");
        return;
    }
    if (atomic_fetch_add(&redis->calls_under_way, 1) >= redis->options.calls_max) {
        atomic_fetch_sub(&redis->calls_under_way, 1);
        refuse(redis, call, SC_BUSY, "too many calls to Redis are under way");
        return;
    }
    op = calloc(1, sizeof *op);
    if (op == NULL) {
        atomic_fetch_sub(&redis->calls_under_way, 1);
        refuse(redis, call, SC_NO_MEMORY, NULL);
        return;
    }
    op->redis = redis;
    op->call = call;
    op->start = start;
    op->begun = op->since = sc_now();
    call->_op = op;
    post(redis, op);
}

/* Reads are pointless while nothing can answer; writes are kept for later. */
static bool may_ask(sc_redis *redis, sc_store_call *call)
{
    if (!atomic_load_explicit(&redis->reachable, memory_order_relaxed)) {
        refuse(redis, call, SC_UNAVAILABLE, "Redis is away");
        return false;
    }
    if (!sc_breaker_allow(&redis->breaker, sc_now())) {
        refuse(redis, call, SC_UNAVAILABLE, "Redis keeps failing: its breaker is open");
        return false;
    }
    return true;
}

static void store_get(sc_store *store, sc_store_get *get)
{
    get->found = NULL;
    if (may_ask(redis_of(store), &get->call))
        submit(redis_of(store), &get->call, sc_get_start);
}

static void store_search(sc_store *store, sc_store_search *search)
{
    sc_redis *redis = redis_of(store);

    search->found_count = 0;
    if (search->k == 0 || search->k > SC_STORE_CANDIDATES_MAX ||
        !sc_vector_is_unit(search->vector, store->dim))
        refuse(redis, &search->call, SC_INVALID, "search: k or vector is out of range");
    else if (may_ask(redis, &search->call))
        submit(redis, &search->call, sc_search_start);
}

static void store_verify(sc_store *store, sc_store_verify *verify)
{
    verify->fresh = false;
    if (may_ask(redis_of(store), &verify->call))
        submit(redis_of(store), &verify->call, sc_verify_start);
}

static void store_put(sc_store *store, sc_store_put *put)
{
    sc_redis *redis = redis_of(store);

    if (put->entry->f.version == 0 || put->entry->f.expires.ms <= sc_wall_now().ms ||
        (put->vector != NULL && !sc_vector_is_unit(put->vector, store->dim)))
        refuse(redis, &put->call, SC_INVALID,
               "put: expired, without version, or not a unit vector");
    else
        submit(redis, &put->call, sc_put_start);
}

static void store_invalidate(sc_store *store, sc_store_invalidate *invalidate)
{
    invalidate->removed = 0;
    invalidate->examples_count = 0;
    submit(redis_of(store), &invalidate->call, sc_invalidate_start);
}

static void store_used(sc_store *store, const sc_digest *id, sc_wall when)
{
    sc_used_note(redis_of(store), id, when);
}

static void store_look(sc_store *store, sc_store_info *out)
{
    sc_redis *redis = redis_of(store);

    pthread_mutex_lock(&redis->info_lock);
    *out = redis->info;
    pthread_mutex_unlock(&redis->info_lock);
    out->calls = atomic_load(&redis->calls);
    out->failures = atomic_load(&redis->failures);
    out->connected = atomic_load(&redis->reachable);
    out->masters_connected = out->connected;
    out->breaker_state = (int)sc_breaker_look(&redis->breaker, &out->breaker_opened);
}

/* --- the I/O thread -------------------------------------------------------------------- */

static void publish(sc_redis *redis)
{
    sc_store_info now = {0};

    now.masters = 1;
    now.feed_live = redis->feeding.state == SC_FEED_LIVE;
    now.index_state = sc_index_state_name(redis->index.state);
    memcpy(now.index_name, redis->schema.index, sizeof now.index_name);
    now.documents = redis->index.seen.documents;
    now.index_failures = redis->index.seen.failures;
    now.percent_indexed = redis->index.seen.percent_indexed;
    now.foreign_values = redis->foreign_values;
    now.reconnects = redis->reconnects;
    now.feed_messages = redis->feeding.messages;
    now.resyncs = redis->feeding.resyncs;
    for (size_t i = 0; i < SC_CONN_COUNT; i++)
        now.queue_depth += redis->conns[i] == NULL ? 0 : sc_conn_waiting(redis->conns[i]);
    now.searches_waiting = redis->turns.waiting_count;
    now.searches_refused = redis->turns.refused;
    now.writes_waiting = redis->writes.entries + redis->writes.flying;
    now.writes_dropped = redis->writes.dropped;
    pthread_mutex_lock(&redis->info_lock);
    redis->info = now;
    pthread_mutex_unlock(&redis->info_lock);
}

bool sc_redis_is_up(const sc_redis *redis, sc_conn_role role)
{
    return redis->conns[role] != NULL && sc_conn_is_up(redis->conns[role]);
}

static bool all_up(const sc_redis *redis)
{
    return sc_redis_is_up(redis, SC_CONN_SEARCH) && sc_redis_is_up(redis, SC_CONN_DATA);
}

static void on_up(void *context, sc_conn *conn)
{
    sc_redis *redis = context;

    if (sc_conn_dials(conn) > 1)
        redis->reconnects++;
    if (all_up(redis) && !atomic_load(&redis->reachable)) {
        /* It answers again: what the breaker holds against it is of the past. */
        sc_breaker_success(&redis->breaker);
        atomic_store(&redis->reachable, true);
        sc_log(SC_LOG_INFO, "redis.connected", sc_kv_text("host", redis->url.host),
               sc_kv_int("port", redis->url.port),
               sc_kv_int("writes_waiting", redis->writes.entries));
    }
    if (conn == redis->conns[SC_CONN_SEARCH])
        sc_index_ask(redis);
    if (conn == redis->conns[SC_CONN_FEED] || conn == redis->conns[SC_CONN_BULK])
        sc_feed_up(redis);
    sc_writes_drain(redis);
    publish(redis);
}

static void on_down(void *context, sc_conn *conn)
{
    sc_redis *redis = context;

    if (!all_up(redis) && atomic_exchange(&redis->reachable, false) && !redis->winding_down)
        sc_log(SC_LOG_WARN, "redis.disconnected", sc_kv_text("host", redis->url.host),
               sc_kv_int("port", redis->url.port), sc_kv_text("cause", sc_conn_problem(conn)));
    if (conn == redis->conns[SC_CONN_SEARCH])
        redis->index.state = SC_INDEX_UNKNOWN;
    if (conn == redis->conns[SC_CONN_FEED] || conn == redis->conns[SC_CONN_BULK])
        sc_feed_down(redis);
    publish(redis);
}

static void on_push(void *context, sc_conn *conn, const redisReply *reply)
{
    sc_redis *redis = context;
    if (conn == redis->conns[SC_CONN_FEED])
        sc_feed_push(redis, reply);
}

static sc_status open_conn(sc_redis *redis, sc_conn_role role)
{
    int64_t         timeout_ms = redis->options.timeout_ms;
    sc_conn_options options = {
        .loop = &redis->loop,
        .role = roles[role],
        .url = &redis->url,
        .tls = redis->tls,
        /* What the feed and an invalidation look at was not used by anybody. */
        .quiet_reads = role == SC_CONN_BULK,
        .dial_ms_max = 4 * timeout_ms < DIAL_MS_MIN ? DIAL_MS_MIN : 4 * timeout_ms,
        .hang_ms = 4 * timeout_ms < HANG_MS_MIN ? HANG_MS_MIN : 4 * timeout_ms,
        .reply_bytes_max = REPLY_BYTES_MAX,
        .waiting_max = (size_t)redis->options.calls_max * COMMANDS_PER_CALL_MAX,
        .context = redis,
        .up = on_up,
        .down = on_down,
        .push = on_push,
    };
    return sc_conn_open(&options, &redis->conns[role]);
}

static void take_inbox(sc_redis *redis, sc_link *to, sc_instant *close_deadline)
{
    sc_list_init(to);
    pthread_mutex_lock(&redis->inbox_lock);
    sc_list_splice_back(to, &redis->inbox);
    *close_deadline = redis->close_deadline;
    pthread_mutex_unlock(&redis->inbox_lock);
}

/* Fails what is under way; what is left to do afterwards is closing handles. */
static void tear_down(sc_redis *redis)
{
    if (redis->winding_down)
        return;
    redis->winding_down = true;
    sc_turns_close(&redis->turns);
    for (size_t i = SC_CONN_COUNT;
         i-- > 0;) { /* the feed first: without the others it would doubt */
        sc_conn_close(redis->conns[i]);
        redis->conns[i] = NULL;
    }
    sc_feed_close(redis);
    sc_writes_close(redis);
    uv_close((uv_handle_t *)&redis->ticker, NULL);
    uv_close((uv_handle_t *)&redis->wake, NULL);
}

/* What is under way and what waits to be written have until the deadline. */
static void go_on_closing(sc_redis *redis, sc_instant deadline)
{
    bool written = redis->writes.entries == 0 && redis->writes.flying == 0 &&
                   atomic_load(&redis->calls_under_way) == 0 &&
                   sc_conn_waiting(redis->conns[SC_CONN_DATA]) == 0;

    if (written || !sc_instant_before(sc_now(), deadline) || !all_up(redis))
        tear_down(redis);
    else
        sc_writes_drain(redis);
}

static void on_tick(uv_timer_t *ticker);

static void on_wake(uv_async_t *wake)
{
    sc_redis  *redis = wake->data;
    sc_link    ops;
    sc_link   *link;
    sc_instant deadline;

    take_assigned(redis);
    take_inbox(redis, &ops, &deadline);
    bool closing = atomic_load(&redis->closing);
    while ((link = sc_list_pop_front(&ops)) != NULL) {
        sc_op *op = SC_CONTAINER(link, sc_op, link);
        if (closing && op->start != sc_put_start)
            sc_op_finish(op, SC_CANCELLED, "the store is closing");
        else
            op->start(op);
    }
    if (closing && !redis->winding_down) {
        if (uv_timer_get_repeat(&redis->ticker) == TICK_MS) {
            sc_used_flush(redis);
            uv_timer_start(&redis->ticker, on_tick, CLOSING_TICK_MS, CLOSING_TICK_MS);
        }
        go_on_closing(redis, deadline);
    }
}

static void on_tick(uv_timer_t *ticker)
{
    sc_redis  *redis = ticker->data;
    sc_instant now = sc_now();

    redis->ticks++;
    if (atomic_load(&redis->closing)) {
        on_wake(&redis->wake);
        return;
    }
    if (redis->ticks % USED_TICKS == 0)
        sc_used_flush(redis);
    if (redis->ticks % INDEX_TICKS == 0)
        sc_index_ask(redis);
    sc_writes_drain(redis);
    sc_feed_tick(redis, now);
    sc_sweep_tick(redis, now);
    publish(redis);
}

static void *run(void *argument)
{
    sc_redis *redis = argument;

    sc_thread_name("sc-redis");
    sc_thread_prompt();
    uv_run(&redis->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* --- open and close -------------------------------------------------------------------- */

static void free_redis(sc_redis *redis)
{
    for (size_t i = 0; i < SC_USED_SHARDS; i++) {
        pthread_mutex_destroy(&redis->used[i].lock);
        sc_table_fini(&redis->used[i].when);
    }
    sc_breaker_fini(&redis->breaker);
    pthread_mutex_destroy(&redis->inbox_lock);
    pthread_mutex_destroy(&redis->info_lock);
    sc_buf_fini(&redis->scratch);
    sc_buf_fini(&redis->search_words);
    sc_tls_close(redis->tls);
    /* The password does not stay behind in freed memory. */
    explicit_bzero(&redis->url, sizeof redis->url);
    free(redis);
}

static void store_close(sc_store *store, sc_instant deadline)
{
    sc_redis *redis = redis_of(store);

    pthread_mutex_lock(&redis->inbox_lock);
    redis->close_deadline = deadline;
    atomic_store(&redis->closing, true);
    uv_async_send(&redis->wake);
    pthread_mutex_unlock(&redis->inbox_lock);
    pthread_join(redis->thread, NULL);
    /* Calls that passed the door before it closed, and came after the loop's last look. */
    sc_link *link;
    while ((link = sc_list_pop_front(&redis->inbox)) != NULL)
        sc_op_finish(SC_CONTAINER(link, sc_op, link), SC_CANCELLED, "the store is closing");
    uv_loop_close(&redis->loop);
    free_redis(redis);
}

static const sc_store_ops redis_ops = {
    .get = store_get,
    .search = store_search,
    .verify = store_verify,
    .put = store_put,
    .invalidate = store_invalidate,
    .used = store_used,
    .look = store_look,
    .close = store_close,
};

static sc_status check_number(sc_error *error, const char *name, uint64_t value, uint64_t least,
                              uint64_t most)
{
    if (value >= least && value <= most)
        return SC_OK;
    return sc_fail(error, SC_INVALID, "%s: %llu must be %llu to %llu", name,
                   (unsigned long long)value, (unsigned long long)least, (unsigned long long)most);
}

sc_status sc_redis_options_check(const sc_redis_options *options, sc_error *error)
{
    sc_status status = check_number(error, "REDIS_TIMEOUT_MS", options->timeout_ms, 1, 60000);
    if (status == SC_OK)
        status = check_number(error, "REDIS_SEARCH_WAIT_MS", options->search_wait_ms, 0, 60000);
    if (status == SC_OK)
        status = check_number(error, "HNSW_M", options->hnsw_m, 4, 128);
    if (status == SC_OK)
        status = check_number(error, "HNSW_EF_CONSTRUCTION", options->ef_construction, 8, 1000);
    if (status == SC_OK)
        status = check_number(error, "EF_RUNTIME", options->ef_runtime, 1, 4096);
    if (status == SC_OK)
        status = check_number(error, "STORE_CALLS_MAX", options->calls_max, 16, 1048576);
    return status;
}

static void init_fields(sc_redis *redis, const sc_redis_options *options,
                        const sc_redis_shard *shard, const sc_store_feed *feed)
{
    uint64_t me[2] = {sc_random_u64(), sc_random_u64()};

    redis->base = (sc_store){&redis_ops, options->dim};
    redis->options = *options;
    redis->options.url = redis->options.ca_file = redis->options.cache_namespace = NULL;
    redis->options.embedding_model = NULL;
    redis->is_shard = shard != NULL;
    redis->index.surplus = -1;
    if (shard != NULL) {
        redis->shard = *shard;
        redis->shard.url = NULL;
        redis->index.usable = shard->owned;
    }
    if (feed != NULL)
        redis->feed = *feed;
    sc_breaker_init(&redis->breaker, BREAKER_FAILURES_MAX, BREAKER_OPEN_MS);
    for (size_t i = 0; i < SC_USED_SHARDS; i++)
        pthread_mutex_init(&redis->used[i].lock, NULL);
    pthread_mutex_init(&redis->inbox_lock, NULL);
    pthread_mutex_init(&redis->info_lock, NULL);
    sc_list_init(&redis->inbox);
    sc_list_init(&redis->writes.waiting);
    sc_turns_init(&redis->turns);
    sc_buf_init(&redis->scratch, SCRATCH_BYTES_MAX);
    sc_buf_init(&redis->search_words, SEARCH_WORDS_BYTES_MAX);
    sc_hex_encode(me, sizeof me, redis->sweep.me);
}

static sc_status open_loop(sc_redis *redis, sc_error *error)
{
    sc_status status = SC_OK;

    if (uv_loop_init(&redis->loop) != 0)
        return sc_fail(error, SC_UNAVAILABLE, "no event loop for Redis");
    uv_async_init(&redis->loop, &redis->wake, on_wake);
    uv_timer_init(&redis->loop, &redis->ticker);
    redis->wake.data = redis->ticker.data = redis;
    uv_timer_start(&redis->ticker, on_tick, TICK_MS, TICK_MS);
    size_t conns = redis->feed.put == NULL ? SC_CONN_FEED : SC_CONN_COUNT;
    for (size_t i = 0; i < conns && status == SC_OK; i++)
        status = open_conn(redis, (sc_conn_role)i);
    publish(redis);
    if (status == SC_OK && sc_thread_start(&redis->thread, run, redis) != 0)
        status = SC_UNAVAILABLE;
    if (status == SC_OK)
        return SC_OK;
    tear_down(redis);
    uv_run(&redis->loop, UV_RUN_DEFAULT);
    uv_loop_close(&redis->loop);
    return sc_fail(error, status, "no thread or memory for Redis connections");
}

static sc_status read_url(sc_redis *redis, const sc_redis_options *options,
                          const sc_redis_shard *shard, sc_error *error)
{
    if (shard != NULL) {
        redis->url = *shard->url;
        return SC_OK;
    }
    if (options->url == NULL)
        return sc_fail(error, SC_INVALID, "REDIS_URL: is absent");
    return sc_redis_url_parse(sc_str_of(options->url), &redis->url, error);
}

sc_status sc_redis_open_shard(const sc_redis_options *options, const sc_redis_shard *shard,
                              const sc_store_feed *feed, sc_store **out, sc_error *error)
{
    sc_redis *redis = calloc(1, sizeof *redis);

    *out = NULL;
    if (redis == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory for a store");
    init_fields(redis, options, shard, feed);
    sc_status status = sc_redis_options_check(options, error);
    if (status == SC_OK)
        status = read_url(redis, options, shard, error);
    if (status == SC_OK)
        status = sc_redis_schema_make(options, &redis->schema, error);
    if (status == SC_OK && shard != NULL)
        sc_redis_schema_retag(&redis->schema, sc_slot_tag(&shard->owned));
    if (status == SC_OK && redis->url.tls)
        status = sc_tls_open(options->ca_file, &redis->tls, error);
    if (status == SC_OK)
        status = open_loop(redis, error);
    if (status == SC_OK)
        *out = &redis->base;
    else
        free_redis(redis);
    return status;
}

sc_status sc_redis_open(const sc_redis_options *options, const sc_store_feed *feed, sc_store **out,
                        sc_error *error)
{
    return sc_redis_open_shard(options, NULL, feed, out, error);
}
