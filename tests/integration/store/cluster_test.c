/* The cluster's store against three real masters with search, with the rights that the README
 * names. Two stores stand for two servers that share nothing but the cluster. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/store/cluster/cluster.h"
#include "tests/support/cluster.h"
#include "tests/support/cmocka.h"
#include "tests/support/store/store.h"

enum { DIM = 8, ENTRIES = 60 };

#define ACL                                                                                        \
    "on", ">sesame", "~test:*", "resetchannels", "&__redis__:invalidate", "-@all", "+auth",        \
        "+ping", "+client|id", "+client|setname", "+client|tracking", "+subscribe", "+scan",       \
        "+get", "+set", "+hset", "+hdel", "+hmget", "+touch", "+pexpireat", "+unlink", "+multi",   \
        "+exec", "+zadd", "+zrem", "+zrange", "+zcard", "+ft.create", "+ft.search", "+ft.info",    \
        "+ft.dropindex", "+ft._list", "+cluster|slots", "+cluster|info", "+asking"

static const char *const redis_args[] = {"--user", "semcache", ACL, NULL};

typedef struct {
    sc_test_memory memory;
    sc_store      *store;
} server;

typedef struct {
    sc_test_cluster cluster;
    server          servers[2];
    sc_entry       *entries[ENTRIES];
} bench;

static sc_store_info look(sc_store *store)
{
    sc_store_info info;
    store->ops->look(store, &info);
    return info;
}

static bool is_ready(server *of)
{
    sc_store_info info = look(of->store);
    return info.connected && info.masters == SC_TEST_MASTERS &&
           strcmp(info.index_state, "ready") == 0 && sc_test_memory_live(&of->memory);
}

static void open_server(bench *on, size_t at, const char *url)
{
    server          *of = &on->servers[at];
    sc_redis_options options = {
        .url = url,
        .cache_namespace = "test",
        .vector_type = SC_REDIS_FLOAT16,
        .algorithm = SC_REDIS_HNSW,
        .hnsw_m = 16,
        .ef_construction = 64,
        .ef_runtime = 50,
        /* Two shared cores and sanitizers: what is tested is not the speed. */
        .timeout_ms = 2000,
        .search_wait_ms = 1000,
        .calls_max = 1024,
        .waiting_entries_max = 100,
        .waiting_bytes_max = 1 << 20,
        .dim = DIM,
        .embedding_model = "test-model",
    };
    sc_error error = {0};

    sc_test_memory_init(&of->memory);
    sc_store_feed feed = sc_test_memory_feed(&of->memory);
    if (sc_cluster_open(&options, &feed, &of->store, &error) != SC_OK)
        fail_msg("%s", error.text);
}

static void set_up(bench *on)
{
    char urls[2][128];

    *on = (bench){0};
    if (!sc_test_cluster_start(&on->cluster, redis_args))
        skip();
    /* Each knows another node of the cluster to begin with; the second also one that is not. */
    sc_test_cluster_url(&on->cluster, 0, "semcache:sesame@", urls[0], sizeof urls[0]);
    snprintf(urls[1], sizeof urls[1], "redis://semcache:sesame@127.0.0.1:1,127.0.0.1:%d",
             sc_test_redis_port(on->cluster.masters[2]));
    for (size_t i = 0; i < 2; i++)
        open_server(on, i, urls[i]);
    for (size_t i = 0; i < 2; i++)
        SC_TEST_UNTIL(is_ready(&on->servers[i]));
}

static void tear_down(bench *on)
{
    for (size_t i = 0; i < ENTRIES; i++)
        sc_entry_unref(on->entries[i]);
    for (size_t i = 0; i < 2; i++) {
        sc_test_close(on->servers[i].store);
        sc_test_memory_fini(&on->servers[i].memory);
    }
    sc_test_cluster_stop(&on->cluster);
}

static void vector_of(unsigned number, float *out)
{
    sc_test_vector(out, DIM, number, 0.05);
}

static void put_all(bench *on)
{
    float vector[DIM];

    for (unsigned i = 0; i < ENTRIES; i++) {
        on->entries[i] = sc_test_entry(i);
        vector_of(i, vector);
        assert_int_equal(sc_test_put(on->servers[0].store, on->entries[i], vector), SC_OK);
    }
}

/* Slot of an entry's key, as Redis says. */
static int slot_of(bench *on, const sc_entry *entry)
{
    char        hex[SC_DIGEST_HEX_BYTES + 1], pattern[128];
    redisReply *reply = NULL;
    int         slot = -1;

    sc_hex_encode(entry->f.id.bytes, SC_DIGEST_BYTES, hex);
    snprintf(pattern, sizeof pattern, "test:v1:*:%s", hex);
    for (size_t i = 0; i < SC_TEST_MASTERS && slot < 0; i++) {
        reply = sc_test_redis_call(on->cluster.masters[i], "SCAN 0 MATCH %s COUNT 10000", pattern);
        if (reply->elements == 2 && reply->element[1]->elements == 1)
            slot = sc_test_cluster_slot(&on->cluster, reply->element[1]->element[0]->str);
        freeReplyObject(reply);
    }
    assert_in_range(slot, 0, SC_TEST_SLOTS - 1);
    return slot;
}

static size_t entries_at(bench *on, size_t master)
{
    redisReply *reply =
        sc_test_redis_call(on->cluster.masters[master], "SCAN 0 MATCH test:v1:* COUNT 100000");
    size_t count = reply->element[1]->elements;
    freeReplyObject(reply);
    return count;
}

/* The nearest entry's number; -1: nothing found. The search may fail only if that is allowed. */
static int nearest(sc_store *store, unsigned number)
{
    float     vector[DIM];
    sc_entry *wanted = sc_test_entry(number);

    vector_of(number, vector);
    sc_store_search search = {
        .scope = wanted->f.scope, .guard = wanted->f.guard, .vector = vector, .k = 3};
    assert_int_equal(sc_test_search(store, &search), SC_OK);
    int found = search.found_count == 0 ? -1 : (int)search.found[0].entry->f.prompt_tokens;
    for (size_t i = 1; i < search.found_count; i++)
        assert_true(search.found[i].distance >= search.found[i - 1].distance);
    sc_candidates_unref(search.found, search.found_count);
    sc_entry_unref(wanted);
    return found;
}

static bool has(sc_store *store, const sc_entry *entry)
{
    sc_entry *found = NULL;
    sc_status status = sc_test_get(store, &entry->f.id, &found);
    bool      there = status == SC_OK && found != NULL && found->f.version == entry->f.version;

    if (found != NULL)
        assert_true(sc_str_equal(found->f.answer, entry->f.answer));
    sc_entry_unref(found);
    return there;
}

static uint64_t invalidate(sc_store *store, const char *model)
{
    sc_store_invalidate call = {
        .filter = {.tenant = SC_STR("tenant"), .model = sc_str_of(model)}};
    assert_int_equal(sc_test_invalidate(store, &call), SC_OK);
    return call.removed;
}

/* One master's memory would be all there is, however many are paid for. */
static void entries_are_spread_and_found_by_all(void **state)
{
    bench on;
    (void)state;
    set_up(&on);
    put_all(&on);
    for (size_t i = 0; i < SC_TEST_MASTERS; i++)
        assert_in_range(entries_at(&on, i), 5, ENTRIES);
    for (unsigned i = 0; i < ENTRIES; i++) {
        assert_true(has(on.servers[1].store, on.entries[i]));
        assert_int_equal(nearest(on.servers[1].store, i), i);
    }
    for (size_t i = 0; i < 2; i++)
        SC_TEST_UNTIL(sc_test_memory_count(&on.servers[i].memory) == ENTRIES);
    bool fresh;
    assert_int_equal(sc_test_verify(on.servers[1].store, &on.entries[7]->f.id,
                                    on.entries[7]->f.version, &fresh),
                     SC_OK);
    assert_true(fresh);
    SC_TEST_UNTIL(look(on.servers[1].store).documents == ENTRIES);
    tear_down(&on);
}

/* What was taken back would go on being served where it lies on another master. */
static void an_invalidation_reaches_every_master_and_server(void **state)
{
    bench on;
    (void)state;
    set_up(&on);
    put_all(&on);
    SC_TEST_UNTIL(sc_test_memory_count(&on.servers[1].memory) == ENTRIES);
    assert_int_equal(invalidate(on.servers[0].store, "another"), 0);
    sc_store_invalidate dry = {.filter = {.tenant = SC_STR("tenant")}, .dry_run = true};
    assert_int_equal(sc_test_invalidate(on.servers[0].store, &dry), SC_OK);
    assert_int_equal(dry.removed, ENTRIES);
    assert_int_equal(dry.examples_count, SC_STORE_EXAMPLES_MAX);
    sc_digest           ids[] = {on.entries[3]->f.id, on.entries[4]->f.id, on.entries[5]->f.id};
    sc_store_invalidate by_id = {
        .filter = {.tenant = SC_STR("tenant"), .ids = ids, .ids_count = 3}};
    assert_int_equal(sc_test_invalidate(on.servers[0].store, &by_id), SC_OK);
    assert_int_equal(by_id.removed, 3);
    assert_int_equal(invalidate(on.servers[0].store, "model"), ENTRIES - 3);
    SC_TEST_UNTIL(sc_test_memory_count(&on.servers[1].memory) == 0);
    assert_int_equal(nearest(on.servers[1].store, 1), -1);
    tear_down(&on);
}

/* A third of the cache lost must not be the whole, nor stay lost. */
static void a_master_that_dies_costs_misses_until_it_is_back(void **state)
{
    enum { DEAD = 1 };
    bench on;
    float vector[DIM];
    (void)state;
    set_up(&on);
    put_all(&on);
    SC_TEST_UNTIL(sc_test_memory_count(&on.servers[1].memory) == ENTRIES);
    bool dead[ENTRIES];
    for (unsigned i = 0; i < ENTRIES; i++)
        dead[i] = sc_test_cluster_owner(slot_of(&on, on.entries[i])) == DEAD;
    sc_test_redis_kill(on.cluster.masters[DEAD]);
    SC_TEST_UNTIL(!sc_test_memory_live(&on.servers[0].memory));
    for (unsigned i = 0; i < ENTRIES; i++) {
        assert_true(has(on.servers[0].store, on.entries[i]) == !dead[i]);
        if (!dead[i])
            assert_int_equal(nearest(on.servers[0].store, i), i);
    }
    sc_store_invalidate call = {.filter = {.tenant = SC_STR("tenant"), .model = SC_STR("other")}};
    assert_int_equal(sc_test_invalidate(on.servers[0].store, &call), SC_UNAVAILABLE);
    /* Kept for the master that is away. */
    for (unsigned i = 0; i < ENTRIES; i++) {
        vector_of(i, vector);
        sc_status status = sc_test_put(on.servers[0].store, on.entries[i], vector);
        assert_int_equal(status, dead[i] ? SC_UNAVAILABLE : SC_OK);
    }
    SC_TEST_UNTIL(look(on.servers[0].store).writes_waiting > 0);
    sc_test_redis_restart(on.cluster.masters[DEAD], true);
    sc_test_cluster_await(&on.cluster);
    for (size_t i = 0; i < 2; i++)
        SC_TEST_UNTIL(is_ready(&on.servers[i]));
    for (unsigned i = 0; i < ENTRIES; i++) {
        SC_TEST_UNTIL(has(on.servers[1].store, on.entries[i]));
        SC_TEST_UNTIL(nearest(on.servers[1].store, i) == (int)i);
    }
    SC_TEST_UNTIL(sc_test_memory_count(&on.servers[1].memory) == ENTRIES);
    tear_down(&on);
}

/* Resharding is everyday work for whoever runs a cluster. */
static void a_slot_that_moves_takes_its_entries_along(void **state)
{
    bench on;
    (void)state;
    set_up(&on);
    put_all(&on);
    SC_TEST_UNTIL(sc_test_memory_count(&on.servers[1].memory) == ENTRIES);
    sc_entry *moving = on.entries[9];
    int       slot = slot_of(&on, moving);
    size_t    from = sc_test_cluster_owner(slot), to = (from + 1) % SC_TEST_MASTERS;

    sc_test_cluster_move_begin(&on.cluster, slot, from, to);
    assert_true(has(on.servers[0].store, moving));
    sc_test_cluster_move_keys(&on.cluster, slot, from, to);
    /* On its way it may be missed, but what is found is right. */
    int found = nearest(on.servers[0].store, 9);
    assert_in_range(found, 8, 10);
    assert_false(has(on.servers[0].store, moving));
    bool fresh = true;
    assert_int_equal(
        sc_test_verify(on.servers[0].store, &moving->f.id, moving->f.version, &fresh), SC_OK);
    assert_false(fresh);
    SC_TEST_UNTIL(sc_test_memory_version(&on.servers[1].memory, &moving->f.id) == 0);
    sc_test_cluster_move_end(&on.cluster, slot, from, to);
    for (size_t i = 0; i < 2; i++) {
        assert_true(has(on.servers[i].store, moving));
        SC_TEST_UNTIL(nearest(on.servers[i].store, 9) == 9);
        SC_TEST_UNTIL(sc_test_memory_version(&on.servers[i].memory, &moving->f.id) ==
                      moving->f.version);
    }
    assert_int_equal(invalidate(on.servers[1].store, "model"), ENTRIES);
    assert_false(has(on.servers[0].store, moving));
    SC_TEST_UNTIL(sc_test_memory_count(&on.servers[0].memory) == 0);
    tear_down(&on);
}

/* In the middle of a move an entry is at neither master for a plain look. */
static void an_invalidation_finds_what_is_on_its_way(void **state)
{
    bench on;
    (void)state;
    set_up(&on);
    put_all(&on);
    sc_entry *moving = on.entries[20];
    int       slot = slot_of(&on, moving);
    size_t    from = sc_test_cluster_owner(slot), to = (from + 1) % SC_TEST_MASTERS;

    sc_test_cluster_move_begin(&on.cluster, slot, from, to);
    sc_test_cluster_move_keys(&on.cluster, slot, from, to);
    assert_int_equal(invalidate(on.servers[1].store, "model"), ENTRIES);
    sc_test_cluster_move_end(&on.cluster, slot, from, to);
    SC_TEST_UNTIL(sc_test_memory_count(&on.servers[0].memory) == 0);
    assert_false(has(on.servers[0].store, moving));
    for (size_t i = 0; i < SC_TEST_MASTERS; i++)
        assert_int_equal(entries_at(&on, i), 0);
    tear_down(&on);
}

static size_t indexes_at(bench *on, size_t master)
{
    return (size_t)sc_test_redis_integer(on->cluster.masters[master], "FT._LIST");
}

static void must(redisContext *context, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(context, format, args);
    va_end(args);
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", format, reply == NULL ? "no reply" : reply->str);
    freeReplyObject(reply);
}

/* As the README tells operators. */
static void drop_orphan(bench *on, int slot, size_t at, size_t owner)
{
    sc_test_redis *redis = on->cluster.masters[at];
    redisReply    *id = sc_test_redis_call(on->cluster.masters[owner], "CLUSTER MYID");
    redisReply    *names = sc_test_redis_call(redis, "FT._LIST");
    redisContext  *context = redisConnect("127.0.0.1", sc_test_redis_port(redis));

    assert_int_equal(context->err, 0);
    must(context, "CLUSTER SETSLOT %d IMPORTING %s", slot, id->str);
    for (size_t i = 0; i < names->elements; i++)
        if (sc_test_cluster_slot(&on->cluster, names->element[i]->str) == slot) {
            must(context, "ASKING");
            must(context, "FT.DROPINDEX %s", names->element[i]->str);
        }
    must(context, "CLUSTER SETSLOT %d STABLE", slot);
    redisFree(context);
    freeReplyObject(id);
    freeReplyObject(names);
}

/* The index lies at its name's slot; when that goes, searches would fail for ever. */
static void an_index_whose_slot_moves_is_made_anew(void **state)
{
    bench on;
    (void)state;
    set_up(&on);
    put_all(&on);
    int    slot = sc_test_cluster_slot(&on.cluster, "{0}");
    size_t from = sc_test_cluster_owner(slot), to = (from + 1) % SC_TEST_MASTERS;

    for (size_t i = 0; i < SC_TEST_MASTERS; i++)
        assert_int_equal(indexes_at(&on, i), 1);
    sc_test_cluster_move_begin(&on.cluster, slot, from, to);
    sc_test_cluster_move_keys(&on.cluster, slot, from, to);
    sc_test_cluster_move_end(&on.cluster, slot, from, to);
    SC_TEST_UNTIL(indexes_at(&on, from) == 2);
    for (size_t i = 0; i < 2; i++) {
        SC_TEST_UNTIL(is_ready(&on.servers[i]));
        for (unsigned j = 0; j < ENTRIES; j++)
            SC_TEST_UNTIL(nearest(on.servers[i].store, j) == (int)j);
    }
    drop_orphan(&on, slot, from, to);
    assert_int_equal(indexes_at(&on, from), 1);
    assert_int_equal(nearest(on.servers[0].store, 7), 7);
    tear_down(&on);
}

/* Servers that knew the cluster at different times may each have made one; each costs every write. */
static void an_index_too_many_is_dropped(void **state)
{
    bench on;
    char  name[128];
    (void)state;
    set_up(&on);
    put_all(&on);
    snprintf(name, sizeof name, "%s", look(on.servers[0].store).index_name);
    *strchr(name, '{') = '\0';
    for (int tag = 10; tag < 20; tag++) {
        char         more[160];
        redisReply  *reply;
        snprintf(more, sizeof more, "%s{%d}", name, tag);
        size_t owner = sc_test_cluster_owner(sc_test_cluster_slot(&on.cluster, more));
        reply = sc_test_redis_call(on.cluster.masters[owner],
                                   "FT.CREATE %s ON HASH PREFIX 1 test:v1: SCHEMA scope TAG", more);
        assert_int_equal(reply->type, REDIS_REPLY_STATUS);
        freeReplyObject(reply);
    }
    for (size_t i = 0; i < SC_TEST_MASTERS; i++)
        SC_TEST_UNTIL(indexes_at(&on, i) == 1);
    assert_int_equal(nearest(on.servers[1].store, 7), 7);
    tear_down(&on);
}

/* An operator empties one master; what the others have must come back to memory by itself. */
static void a_flush_of_one_master_leaves_the_others_entries(void **state)
{
    bench on;
    (void)state;
    set_up(&on);
    put_all(&on);
    for (size_t i = 0; i < 2; i++)
        SC_TEST_UNTIL(sc_test_memory_count(&on.servers[i].memory) == ENTRIES);
    size_t left = ENTRIES - entries_at(&on, 1);
    freeReplyObject(sc_test_redis_call(on.cluster.masters[1], "FLUSHALL"));
    for (size_t i = 0; i < 2; i++) {
        SC_TEST_UNTIL(sc_test_memory_clears(&on.servers[i].memory) == 1);
        SC_TEST_UNTIL(sc_test_memory_count(&on.servers[i].memory) == left);
        SC_TEST_UNTIL(is_ready(&on.servers[i]));
    }
    size_t found = 0;
    for (unsigned i = 0; i < ENTRIES; i++)
        found += has(on.servers[0].store, on.entries[i]);
    assert_int_equal(found, left);
    tear_down(&on);
}

/* A new question of a slot that is just moving would be paid for twice. */
static void an_entry_that_waits_follows_its_slot(void **state)
{
    bench on;
    float vector[DIM];
    (void)state;
    set_up(&on);
    put_all(&on);
    sc_entry           *entry = on.entries[30];
    int                 slot = slot_of(&on, entry);
    size_t              from = sc_test_cluster_owner(slot), to = (from + 1) % SC_TEST_MASTERS;
    sc_store_invalidate by_id = {
        .filter = {.tenant = SC_STR("tenant"), .ids = &entry->f.id, .ids_count = 1}};
    assert_int_equal(sc_test_invalidate(on.servers[0].store, &by_id), SC_OK);
    sc_test_cluster_move_begin(&on.cluster, slot, from, to);
    vector_of(30, vector);
    assert_int_equal(sc_test_put(on.servers[0].store, entry, vector), SC_UNAVAILABLE);
    sc_test_cluster_move_keys(&on.cluster, slot, from, to);
    sc_test_cluster_move_end(&on.cluster, slot, from, to);
    SC_TEST_UNTIL(has(on.servers[1].store, entry));
    SC_TEST_UNTIL(nearest(on.servers[1].store, 30) == 30);
    SC_TEST_UNTIL(look(on.servers[0].store).writes_waiting == 0);
    tear_down(&on);
}

/* The dead master's slots, and its entries, are another's from then on. */
static void a_replica_takes_over(void **state)
{
    enum { DEAD = 2 };
    bench on;
    float vector[DIM];
    (void)state;
    set_up(&on);
    put_all(&on);
    sc_test_cluster_replicate(&on.cluster, DEAD, redis_args);
    SC_TEST_UNTIL(sc_test_memory_count(&on.servers[1].memory) == ENTRIES);
    sc_test_redis_kill(on.cluster.masters[DEAD]);
    SC_TEST_UNTIL(!sc_test_memory_live(&on.servers[1].memory));
    /* Some of these wait for the dead, and go to its successor. */
    sc_entry *late[ENTRIES];
    for (unsigned i = 0; i < ENTRIES; i++) {
        late[i] = sc_test_entry(2000 + i);
        sc_status status = sc_test_put(on.servers[1].store, late[i], NULL);
        assert_true(status == SC_OK || status == SC_UNAVAILABLE);
    }
    sc_test_cluster_fail_over(&on.cluster, DEAD);
    for (unsigned i = 0; i < ENTRIES; i++) {
        SC_TEST_UNTIL(has(on.servers[0].store, late[i]));
        sc_entry_unref(late[i]);
    }
    for (size_t i = 0; i < 2; i++)
        SC_TEST_UNTIL(is_ready(&on.servers[i]));
    for (unsigned i = 0; i < ENTRIES; i++) {
        assert_true(has(on.servers[0].store, on.entries[i]));
        assert_int_equal(nearest(on.servers[1].store, i), i);
    }
    SC_TEST_UNTIL(sc_test_memory_count(&on.servers[1].memory) == 2 * ENTRIES);
    sc_entry *another = sc_test_entry(1000);
    vector_of(1000, vector);
    assert_int_equal(sc_test_put(on.servers[1].store, another, vector), SC_OK);
    assert_true(has(on.servers[0].store, another));
    sc_entry_unref(another);
    assert_int_equal(invalidate(on.servers[0].store, "model"), 2 * ENTRIES + 1);
    SC_TEST_UNTIL(sc_test_memory_count(&on.servers[1].memory) == 0);
    tear_down(&on);
}

/* Answers of the time without any Redis would be paid for again. */
static void entries_wait_for_the_first_contact(void **state)
{
    bench on = {0};
    char  url[128];
    (void)state;
    if (!sc_test_cluster_start(&on.cluster, redis_args))
        skip();
    sc_test_cluster_url(&on.cluster, 0, "semcache:sesame@", url, sizeof url);
    for (size_t i = 0; i < SC_TEST_MASTERS; i++)
        sc_test_redis_kill(on.cluster.masters[i]);
    open_server(&on, 0, url);
    sc_entry *entry = sc_test_entry(1);
    float     vector[DIM];
    vector_of(1, vector);
    assert_int_equal(sc_test_put(on.servers[0].store, entry, vector), SC_UNAVAILABLE);
    assert_int_equal(look(on.servers[0].store).writes_waiting, 1);
    for (size_t i = 0; i < SC_TEST_MASTERS; i++)
        sc_test_redis_restart(on.cluster.masters[i], true);
    sc_test_cluster_await(&on.cluster);
    SC_TEST_UNTIL(has(on.servers[0].store, entry));
    SC_TEST_UNTIL(look(on.servers[0].store).writes_waiting == 0);
    sc_entry_unref(entry);
    sc_test_close(on.servers[0].store);
    sc_test_memory_fini(&on.servers[0].memory);
    sc_test_cluster_stop(&on.cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_spread_and_found_by_all),
        cmocka_unit_test(an_invalidation_reaches_every_master_and_server),
        cmocka_unit_test(a_master_that_dies_costs_misses_until_it_is_back),
        cmocka_unit_test(a_slot_that_moves_takes_its_entries_along),
        cmocka_unit_test(an_invalidation_finds_what_is_on_its_way),
        cmocka_unit_test(an_index_whose_slot_moves_is_made_anew),
        cmocka_unit_test(an_index_too_many_is_dropped),
        cmocka_unit_test(a_flush_of_one_master_leaves_the_others_entries),
        cmocka_unit_test(an_entry_that_waits_follows_its_slot),
        cmocka_unit_test(a_replica_takes_over),
        cmocka_unit_test(entries_wait_for_the_first_contact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
