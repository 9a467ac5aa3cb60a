/* The thread that follows the cluster: CLUSTER SLOTS and CLUSTER INFO of one node, every second and
 * at once when a reply said MOVED. When that node is silent the next is asked: masters first, then
 * what REDIS_URL names. It alone opens masters and closes them.
 *
 * A connection of its own was chosen over asking through a master's store: it works before there is
 * any master, and while the one that was asked dies. */
#include <stdlib.h>

#include "src/base/log.h"
#include "src/base/thread.h"
#include "src/store/cluster/inside.h"
#include "src/store/redis/reply.h"
#include "src/store/redis/resp.h"

enum {
    TICK_MS = 100,
    ASK_MS = 1000,
    ASK_AGAIN_MS = 50, /* however often it is called for */
    REPLY_MS = 1000,
    DIAL_MS = 1000,
    HANG_MS = 3000,
    REPLY_BYTES_MAX = 16 * 1024 * 1024,
    COMMANDS_MAX = 8,
    COMMAND_BYTES_MAX = 256,
    COMPLAIN_MS = 60000,
    SILENCE_MS = 6000, /* without the cluster's word for so long memory is not believed */
};

static sc_cluster *cluster_of(const uv_timer_t *ticker)
{
    return ticker->data;
}

/* --- masters come and go --------------------------------------------------------------- */

static void on_moved(void *context)
{
    const sc_master *master = context;
    sc_cluster_moved(master->cluster);
}

static void on_stray(void *context, sc_entry *entry, const float *vector)
{
    const sc_master *master = context;
    sc_park(master->cluster, entry, vector);
}

static sc_master *open_master(sc_cluster *cluster, const sc_node *node, const sc_slot_set *owned)
{
    sc_master     *master = calloc(1, sizeof *master);
    sc_redis_url   url = cluster->seeds[0];
    sc_redis_shard shard = {
        .url = &url, .owned = *owned, .context = master, .moved = on_moved, .stray = on_stray};
    sc_error error = {0};

    if (master == NULL)
        return NULL;
    master->cluster = cluster;
    master->node = *node;
    memcpy(url.host, node->host, sizeof url.host);
    url.port = node->port;
    sc_store_feed feed = sc_cluster_feed(master);
    if (sc_redis_open_shard(&cluster->options, &shard, feed.put == NULL ? NULL : &feed,
                            &master->store, &error) != SC_OK) {
        sc_log(SC_LOG_ERROR, "redis.master_refused", sc_kv_text("host", node->host),
               sc_kv_int("port", node->port), sc_kv_text("cause", error.text));
        free(master);
        master = NULL;
    }
    explicit_bzero(&url, sizeof url);
    return master;
}

static sc_master *find_master(const sc_cluster *cluster, const sc_node *node)
{
    for (size_t i = 0; i < cluster->masters_count; i++)
        if (sc_node_equal(&cluster->masters[i]->node, node))
            return cluster->masters[i];
    return NULL;
}

static void log_change(const char *event, const sc_node *node)
{
    sc_log(SC_LOG_INFO, event, sc_kv_text("host", node->host), sc_kv_int("port", node->port));
}

static bool is_in(const sc_slot_table *table, const sc_node *node)
{
    size_t at = 0;
    while (at < table->masters && !sc_node_equal(&table->nodes[at], node))
        at++;
    return at < table->masters;
}

/* Takes out the masters that the table does not have; gives their number. Under lock. */
static size_t take_out_gone(sc_cluster *cluster, const sc_slot_table *table, sc_master **gone)
{
    uint8_t place[SC_MASTERS_MAX + 1];
    size_t  kept = 0, left = 0;

    memset(place, SC_OWNER_NONE, sizeof place);
    for (size_t i = 0; i < cluster->masters_count; i++) {
        sc_master *master = cluster->masters[i];
        if (!is_in(table, &master->node)) {
            gone[left++] = master;
            continue;
        }
        place[i] = (uint8_t)kept;
        cluster->masters[kept++] = master;
    }
    cluster->masters_count = kept;
    for (size_t slot = 0; slot < SC_SLOTS && left != 0; slot++)
        if (cluster->owner[slot] != SC_OWNER_NONE)
            cluster->owner[slot] = place[cluster->owner[slot]];
    return left;
}

/* Who left goes before who comes: it takes back what it told, and its successor tells it again. */
static void close_gone(sc_cluster *cluster, const sc_slot_table *table)
{
    sc_master *gone[SC_MASTERS_MAX];

    pthread_mutex_lock(&cluster->lock);
    size_t count = take_out_gone(cluster, table, gone);
    pthread_mutex_unlock(&cluster->lock);
    sc_cluster_tell_live(cluster);
    for (size_t i = 0; i < count; i++) {
        log_change("redis.master_left", &gone[i]->node);
        sc_master_close(gone[i], sc_now());
    }
}

/* The masters of the table, those that are there already among them; NULL where none could be
 * opened. */
static void gather_masters(sc_cluster *cluster, const sc_slot_table *table, sc_master **out)
{
    for (size_t i = 0; i < table->masters; i++) {
        out[i] = find_master(cluster, &table->nodes[i]);
        if (out[i] != NULL) {
            sc_redis_shard_assign(out[i]->store, &table->owned[i]);
            continue;
        }
        log_change("redis.master_joined", &table->nodes[i]);
        out[i] = open_master(cluster, &table->nodes[i], &table->owned[i]);
    }
}

/* Under lock. */
static void replace_masters(sc_cluster *cluster, const sc_slot_table *table,
                            sc_master *const *masters)
{
    uint8_t place[SC_MASTERS_MAX];
    size_t  used = 0;

    for (size_t i = 0; i < table->masters; i++) {
        place[i] = masters[i] == NULL ? SC_OWNER_NONE : (uint8_t)used;
        if (masters[i] != NULL)
            cluster->masters[used++] = masters[i];
    }
    cluster->masters_count = used;
    for (size_t slot = 0; slot < SC_SLOTS; slot++) {
        uint8_t owner = table->owner[slot];
        cluster->owner[slot] = owner == SC_OWNER_NONE ? SC_OWNER_NONE : place[owner];
    }
}

static void apply(sc_cluster *cluster, const sc_slot_table *table)
{
    sc_master *masters[SC_MASTERS_MAX];

    close_gone(cluster, table);
    gather_masters(cluster, table, masters);
    pthread_mutex_lock(&cluster->lock);
    replace_masters(cluster, table, masters);
    pthread_mutex_unlock(&cluster->lock);
    sc_cluster_tell_live(cluster);
}

/* --- asking ---------------------------------------------------------------------------- */

static void go_to_next(sc_cluster *cluster)
{
    sc_conn_close(cluster->watch.conn);
    cluster->watch.conn = NULL;
    cluster->watch.asking = cluster->watch.useless = false;
    cluster->watch.next++;
}

static void complain(sc_cluster *cluster, const char *cause)
{
    static sc_log_limit limit;
    int64_t             left_out;

    if (sc_log_allow(&limit, COMPLAIN_MS, sc_now(), &left_out))
        sc_log(SC_LOG_WARN, "redis.cluster_unclear", sc_kv_text("host", cluster->watch.url.host),
               sc_kv_int("port", cluster->watch.url.port), sc_kv_text("cause", cause));
}

static void read_slots(sc_cluster *cluster, const redisReply *reply)
{
    sc_watch *watch = &cluster->watch;
    char      text[160];

    sc_redis_fault_text(reply, text, sizeof text);
    watch->read = sc_slot_table_read(reply, watch->url.host, &watch->table) == SC_OK;
    /* A node that knows of no slots is not, or not any more, of the cluster. */
    watch->read = watch->read && watch->table.masters != 0;
    if (!watch->read)
        complain(cluster, text[0] != '\0' ? text : "it tells of no slots");
}

static bool says_ok(sc_cluster *cluster, const redisReply *reply)
{
    static const char ok[] = "cluster_state:ok";
    char              text[160];

    sc_redis_fault_text(reply, text, sizeof text);
    if (text[0] != '\0')
        complain(cluster, text);
    return reply->type == REDIS_REPLY_STRING &&
           memmem(reply->str, reply->len, ok, sizeof ok - 1) != NULL;
}

static void on_reply(sc_command *command, const redisReply *reply)
{
    sc_watch   *watch = SC_CONTAINER(command, sc_watch, command);
    sc_cluster *cluster = SC_CONTAINER(watch, sc_cluster, watch);

    if (command->replies != 0) {
        read_slots(cluster, reply);
        return;
    }
    watch->asking = false;
    watch->ask_at = sc_instant_after_ms(sc_now(), ASK_MS);
    watch->useless = !watch->read;
    if (watch->useless)
        return;
    watch->heard = sc_now();
    atomic_store(&cluster->healthy, says_ok(cluster, reply));
    apply(cluster, &watch->table);
}

static void on_failed(sc_command *command, sc_status status, const char *why)
{
    sc_watch *watch = SC_CONTAINER(command, sc_watch, command);
    (void)status;
    (void)why;
    watch->asking = false;
    watch->useless = true;
}

static void ask(sc_cluster *cluster)
{
    sc_watch *watch = &cluster->watch;
    sc_buf    out;

    atomic_store(&cluster->refresh, false);
    watch->asked = sc_now();
    sc_buf_init(&out, COMMAND_BYTES_MAX);
    sc_resp_words(&out, (const char *const[]){"CLUSTER", "SLOTS", NULL});
    sc_resp_words(&out, (const char *const[]){"CLUSTER", "INFO", NULL});
    watch->command = (sc_command){.deadline = sc_instant_after_ms(sc_now(), REPLY_MS),
                                  .replies = 2,
                                  .reply = on_reply,
                                  .failed = on_failed};
    watch->asking = sc_conn_send(watch->conn, &watch->command, sc_buf_view(&out)) == SC_OK;
    sc_buf_fini(&out);
}

/* --- the node that is asked ------------------------------------------------------------ */

static void nothing(void *context, sc_conn *conn)
{
    (void)context;
    (void)conn;
}

static void on_up(void *context, sc_conn *conn)
{
    (void)conn;
    ask(context);
}

static void dial(sc_cluster *cluster)
{
    sc_watch *watch = &cluster->watch;
    size_t    at = watch->next % (cluster->masters_count + cluster->seeds_count);

    watch->url = cluster->seeds[0];
    if (at < cluster->masters_count) {
        memcpy(watch->url.host, cluster->masters[at]->node.host, sizeof watch->url.host);
        watch->url.port = cluster->masters[at]->node.port;
    } else {
        watch->url = cluster->seeds[at - cluster->masters_count];
    }
    watch->dialled = sc_now();
    sc_conn_options options = {.loop = &watch->loop,
                               .role = "cluster",
                               .url = &watch->url,
                               .tls = watch->tls,
                               .dial_ms_max = DIAL_MS,
                               .hang_ms = HANG_MS,
                               .reply_bytes_max = REPLY_BYTES_MAX,
                               .waiting_max = COMMANDS_MAX,
                               .context = cluster,
                               .up = on_up,
                               .down = nothing};
    if (sc_conn_open(&options, &watch->conn) != SC_OK)
        watch->conn = NULL;
}

static void look_after(sc_cluster *cluster, sc_instant now)
{
    sc_watch *watch = &cluster->watch;
    bool      called = atomic_load(&cluster->refresh) &&
                  sc_elapsed_us(watch->asked, now) >= ASK_AGAIN_MS * 1000;

    if (watch->conn != NULL && watch->useless)
        go_to_next(cluster);
    else if (watch->conn == NULL)
        dial(cluster);
    else if (sc_conn_is_up(watch->conn) && !watch->asking &&
             (called || !sc_instant_before(now, watch->ask_at)))
        ask(cluster);
    else if (!sc_conn_is_up(watch->conn) &&
             sc_elapsed_us(watch->dialled, now) >= DIAL_MS * 1000)
        go_to_next(cluster);
}

static void doubt_after_silence(sc_cluster *cluster, sc_instant now)
{
    if (sc_elapsed_us(cluster->watch.heard, now) < SILENCE_MS * 1000LL ||
        !atomic_exchange(&cluster->healthy, false))
        return;
    sc_cluster_tell_live(cluster);
}

/* --- the thread ------------------------------------------------------------------------ */

static void end(sc_cluster *cluster)
{
    sc_watch *watch = &cluster->watch;

    sc_conn_close(watch->conn);
    watch->conn = NULL;
    pthread_mutex_lock(&cluster->lock);
    cluster->watching = false;
    pthread_mutex_unlock(&cluster->lock);
    uv_close((uv_handle_t *)&watch->ticker, NULL);
    uv_close((uv_handle_t *)&cluster->wake, NULL);
}

static void on_tick(uv_timer_t *ticker)
{
    sc_cluster *cluster = cluster_of(ticker);

    if (uv_is_closing((uv_handle_t *)ticker))
        return;
    if (atomic_load(&cluster->closing)) {
        end(cluster);
        return;
    }
    look_after(cluster, sc_now());
    doubt_after_silence(cluster, sc_now());
    if (cluster->masters_count != 0)
        sc_parked_go(cluster);
}

static void on_wake(uv_async_t *wake)
{
    sc_cluster *cluster = wake->data;
    on_tick(&cluster->watch.ticker);
}

static void *run(void *argument)
{
    sc_cluster *cluster = argument;

    sc_thread_name("sc-cluster");
    uv_run(&cluster->watch.loop, UV_RUN_DEFAULT);
    return NULL;
}

void sc_watch_refresh(sc_cluster *cluster)
{
    if (atomic_exchange(&cluster->refresh, true))
        return;
    pthread_mutex_lock(&cluster->lock);
    if (cluster->watching)
        uv_async_send(&cluster->wake);
    pthread_mutex_unlock(&cluster->lock);
}

sc_status sc_watch_open(sc_cluster *cluster, sc_error *error)
{
    sc_watch *watch = &cluster->watch;

    if (cluster->seeds[0].tls) {
        sc_status status = sc_tls_open(cluster->options.ca_file, &watch->tls, error);
        if (status != SC_OK)
            return status;
    }
    if (uv_loop_init(&watch->loop) != 0) {
        sc_tls_close(watch->tls);
        return sc_fail(error, SC_UNAVAILABLE, "no event loop for the cluster");
    }
    uv_async_init(&watch->loop, &cluster->wake, on_wake);
    uv_timer_init(&watch->loop, &watch->ticker);
    cluster->wake.data = watch->ticker.data = cluster;
    uv_timer_start(&watch->ticker, on_tick, 0, TICK_MS);
    cluster->watching = true;
    if (sc_thread_start(&cluster->thread, run, cluster) == 0)
        return SC_OK;
    end(cluster);
    uv_run(&watch->loop, UV_RUN_DEFAULT);
    uv_loop_close(&watch->loop);
    sc_tls_close(watch->tls);
    return sc_fail(error, SC_UNAVAILABLE, "no thread for the cluster");
}

void sc_watch_close(sc_cluster *cluster)
{
    pthread_mutex_lock(&cluster->lock);
    if (cluster->watching)
        uv_async_send(&cluster->wake);
    pthread_mutex_unlock(&cluster->lock);
    pthread_join(cluster->thread, NULL);
    uv_loop_close(&cluster->watch.loop);
    sc_tls_close(cluster->watch.tls);
}
