/* The Redis store against a real Redis with search. Each test has a server of its own. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/base/random.h"
#include "src/store/redis/redis.h"
#include "tests/support/cmocka.h"
#include "tests/support/redis.h"
#include "tests/support/store/store.h"

enum { DIM = 8 };

typedef struct {
    sc_test_redis *redis;
    sc_test_memory memory;
    sc_store      *store;
} bench;

static sc_redis_options options_for(const sc_test_redis *redis)
{
    return (sc_redis_options){
        .url = sc_test_redis_url(redis),
        .cache_namespace = "test",
        .vector_type = SC_REDIS_FLOAT16,
        .algorithm = SC_REDIS_HNSW,
        .hnsw_m = 16,
        .ef_construction = 64,
        .ef_runtime = 50,
        /* Two shared cores and sanitizers: what is tested is not the speed. */
        .timeout_ms = 1000,
        .search_wait_ms = 1000,
        .calls_max = 1024,
        .waiting_entries_max = 100,
        .waiting_bytes_max = 1 << 20,
        .dim = DIM,
        .embedding_model = "test-model",
    };
}

static sc_store *open_store(const sc_redis_options *options, sc_test_memory *memory)
{
    sc_store_feed feed = {0};
    sc_store     *store;
    sc_error      error = {0};

    if (memory != NULL)
        feed = sc_test_memory_feed(memory);
    if (sc_redis_open(options, memory == NULL ? NULL : &feed, &store, &error) != SC_OK)
        fail_msg("%s", error.text);
    return store;
}

static sc_store_info look(sc_store *store)
{
    sc_store_info info;
    store->ops->look(store, &info);
    return info;
}

static bool index_ready(sc_store *store)
{
    sc_store_info info = look(store);
    return info.connected && strcmp(info.index_state, "ready") == 0;
}

static void set_up_with(bench *on, const char *const *args)
{
    on->redis = sc_test_redis_start(args);
    if (on->redis == NULL)
        skip();
    sc_test_memory_init(&on->memory);
    sc_redis_options options = options_for(on->redis);
    on->store = open_store(&options, &on->memory);
    SC_TEST_UNTIL(index_ready(on->store) && sc_test_memory_live(&on->memory));
}

static void set_up(bench *on)
{
    set_up_with(on, NULL);
}

static void tear_down(bench *on)
{
    sc_test_close(on->store);
    sc_test_memory_fini(&on->memory);
    sc_test_redis_stop(on->redis);
}

/* Puts entry `number` with a vector at that place. */
static sc_entry *put(sc_store *store, unsigned number)
{
    float     vector[DIM];
    sc_entry *entry = sc_test_entry(number);

    sc_test_vector(vector, DIM, number, 0.1);
    assert_int_equal(sc_test_put(store, entry, vector), SC_OK);
    return entry;
}

static sc_entry *put_expiring(sc_store *store, unsigned number, int64_t in_ms)
{
    float           vector[DIM];
    sc_entry_fields fields = sc_test_fields(number);

    fields.expires.ms = sc_wall_now().ms + in_ms;
    sc_entry *entry = sc_entry_make(&fields);
    sc_test_vector(vector, DIM, number, 0.1);
    assert_int_equal(sc_test_put(store, entry, vector), SC_OK);
    return entry;
}

/* What Redis would let go of stays, as when somebody meant well. */
static void persist(const bench *on, const sc_entry *entry)
{
    char hex[SC_DIGEST_HEX_BYTES + 1] = {0};

    sc_hex_encode(entry->f.id.bytes, SC_DIGEST_BYTES, hex);
    redisReply *keys = sc_test_redis_call(on->redis, "KEYS test:v1:*:%s", hex);
    assert_int_equal(keys->elements, 1);
    assert_int_equal(sc_test_redis_integer(on->redis, "PERSIST %s", keys->element[0]->str), 1);
    freeReplyObject(keys);
}

static sc_store_search search_for(const sc_entry *entry, const float *vector, uint32_t k)
{
    return (sc_store_search){
        .scope = entry->f.scope, .guard = entry->f.guard, .vector = vector, .k = k};
}

static void assert_same(const sc_entry_fields *a, const sc_entry_fields *b)
{
    assert_memory_equal(&a->id, &b->id, sizeof a->id);
    assert_memory_equal(&a->scope, &b->scope, sizeof a->scope);
    assert_memory_equal(&a->system_hash, &b->system_hash, sizeof a->system_hash);
    assert_true(a->guard == b->guard && a->version == b->version);
    assert_true(a->created.ms == b->created.ms && a->expires.ms == b->expires.ms);
    assert_true(sc_str_equal(a->tenant, b->tenant) && sc_str_equal(a->model, b->model));
    assert_true(sc_str_equal(a->corpus_version, b->corpus_version));
    assert_true(sc_str_equal(a->prompt, b->prompt) && sc_str_equal(a->canonical, b->canonical));
    assert_true(sc_str_equal(a->answer, b->answer) &&
                sc_str_equal(a->finish_reason, b->finish_reason));
    assert_true(sc_str_equal(a->answered_by, b->answered_by));
    assert_true(a->temperature == b->temperature);
    assert_int_equal(a->prompt_tokens, b->prompt_tokens);
    assert_int_equal(a->completion_tokens, b->completion_tokens);
    assert_int_equal(a->tags_count, b->tags_count);
    for (uint32_t i = 0; i < a->tags_count; i++)
        assert_true(sc_str_equal(a->tags[i], b->tags[i]));
}

/* --- the ordinary life of an entry ----------------------------------------------------- */

/* Anything lost on the way would come back as another answer than was given. */
static void an_entry_comes_back_as_it_was_put(void **state)
{
    bench     on;
    sc_entry *found;
    bool      fresh;
    (void)state;

    set_up(&on);
    sc_entry *entry = put(on.store, 1);
    assert_int_equal(sc_test_get(on.store, &entry->f.id, &found), SC_OK);
    assert_non_null(found);
    assert_same(&found->f, &entry->f);
    assert_int_equal(sc_test_verify(on.store, &entry->f.id, entry->f.version, &fresh), SC_OK);
    assert_true(fresh);
    assert_int_equal(sc_test_verify(on.store, &entry->f.id, entry->f.version + 1, &fresh), SC_OK);
    assert_false(fresh);
    sc_entry_unref(found);
    sc_entry_unref(entry);
    tear_down(&on);
}

static void absence_is_an_ordinary_answer(void **state)
{
    bench     on;
    sc_entry *found;
    (void)state;

    set_up(&on);
    sc_digest id = sc_sha256("nobody", 6);
    assert_int_equal(sc_test_get(on.store, &id, &found), SC_OK);
    assert_null(found);
    tear_down(&on);
}

/* The nearest alone would hide the second best, which may be the one that passes the guards. */
static void search_gives_the_k_nearest_in_order(void **state)
{
    bench on;
    float vector[DIM];
    (void)state;

    set_up(&on);
    for (unsigned i = 0; i < 10; i++)
        sc_entry_unref(put(on.store, i));
    sc_entry *like = sc_test_entry(0);
    sc_test_vector(vector, DIM, 4, 0.1);
    sc_store_search search = search_for(like, vector, 3);
    assert_int_equal(sc_test_search(on.store, &search), SC_OK);
    assert_int_equal(search.found_count, 3);
    assert_true(search.found[0].distance < 1e-3);
    sc_entry *nearest = sc_test_entry(4);
    assert_memory_equal(&search.found[0].entry->f.id, &nearest->f.id, sizeof nearest->f.id);
    for (size_t i = 1; i < 3; i++)
        assert_true(fabs(search.found[i].distance - (1 - cos(0.1))) < 1e-3);
    sc_candidates_unref(search.found, search.found_count);
    sc_entry_unref(nearest);
    sc_entry_unref(like);
    tear_down(&on);
}

/* Rule 1. */
static void search_never_leaves_its_scope_and_guard(void **state)
{
    bench           on;
    float           vector[DIM];
    sc_entry_fields fields = sc_test_fields(1);
    (void)state;

    set_up(&on);
    sc_test_vector(vector, DIM, 1, 0.1);
    sc_entry_unref(put(on.store, 1));
    fields.guard = 7;
    fields.id = sc_sha256("guarded", 7);
    sc_entry *guarded = sc_entry_make(&fields);
    assert_int_equal(sc_test_put(on.store, guarded, vector), SC_OK);

    sc_store_search search = search_for(guarded, vector, 5);
    assert_int_equal(sc_test_search(on.store, &search), SC_OK);
    assert_int_equal(search.found_count, 1);
    assert_memory_equal(&search.found[0].entry->f.id, &fields.id, sizeof fields.id);
    sc_candidates_unref(search.found, search.found_count);
    search.scope = sc_sha256("another", 7);
    assert_int_equal(sc_test_search(on.store, &search), SC_OK);
    assert_int_equal(search.found_count, 0);
    sc_entry_unref(guarded);
    tear_down(&on);
}

static void an_entry_without_vector_is_found_by_its_key_only(void **state)
{
    bench     on;
    sc_entry *found, *entry = sc_test_entry(1);
    float     vector[DIM];
    (void)state;

    set_up(&on);
    assert_int_equal(sc_test_put(on.store, entry, NULL), SC_OK);
    assert_int_equal(sc_test_get(on.store, &entry->f.id, &found), SC_OK);
    assert_non_null(found);
    sc_test_vector(vector, DIM, 1, 0.1);
    sc_store_search search = search_for(entry, vector, 5);
    assert_int_equal(sc_test_search(on.store, &search), SC_OK);
    assert_int_equal(search.found_count, 0);
    SC_TEST_UNTIL(look(on.store).documents == 1);
    assert_int_equal(look(on.store).index_failures, 0);
    sc_entry_unref(found);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* A vector that stayed behind would answer for another text. */
static void putting_without_vector_takes_the_old_one_away(void **state)
{
    bench     on;
    sc_entry *entry;
    float     vector[DIM];
    (void)state;

    set_up(&on);
    entry = put(on.store, 1);
    assert_int_equal(sc_test_put(on.store, entry, NULL), SC_OK);
    sc_test_vector(vector, DIM, 1, 0.1);
    sc_store_search search = search_for(entry, vector, 5);
    assert_int_equal(sc_test_search(on.store, &search), SC_OK);
    assert_int_equal(search.found_count, 0);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* RediSearch returns documents that have expired until Redis gets round to deleting them. */
static void expired_entries_are_never_found(void **state)
{
    bench           on;
    sc_entry_fields fields = sc_test_fields(1);
    sc_entry       *found;
    float           vector[DIM];
    (void)state;

    set_up(&on);
    freeReplyObject(sc_test_redis_call(on.redis, "DEBUG SET-ACTIVE-EXPIRE 0"));
    fields.expires.ms = sc_wall_now().ms + 300;
    sc_entry *entry = sc_entry_make(&fields);
    sc_test_vector(vector, DIM, 1, 0.1);
    assert_int_equal(sc_test_put(on.store, entry, vector), SC_OK);
    sc_store_search search = search_for(entry, vector, 5);
    assert_int_equal(sc_test_search(on.store, &search), SC_OK);
    assert_int_equal(search.found_count, 1);
    sc_candidates_unref(search.found, search.found_count);
    usleep(350000);
    assert_int_equal(sc_test_search(on.store, &search), SC_OK);
    assert_int_equal(search.found_count, 0);
    assert_int_equal(sc_test_get(on.store, &entry->f.id, &found), SC_OK);
    assert_null(found);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* Clocks differ, and somebody may PERSIST a key: what the entry says counts. */
static void the_entry_itself_says_when_it_expires(void **state)
{
    bench           on;
    sc_entry_fields fields = sc_test_fields(1);
    sc_entry       *found;
    float           vector[DIM];
    bool            fresh;
    (void)state;

    set_up(&on);
    fields.expires.ms = sc_wall_now().ms + 2000; /* a busy machine is slow to get there */
    sc_entry *entry = sc_entry_make(&fields);
    sc_test_vector(vector, DIM, 1, 0.1);
    assert_int_equal(sc_test_put(on.store, entry, vector), SC_OK);
    redisReply *keys = sc_test_redis_call(on.redis, "KEYS test:v1:*");
    assert_int_equal(sc_test_redis_integer(on.redis, "PERSIST %s", keys->element[0]->str), 1);
    freeReplyObject(keys);
    while (sc_wall_now().ms <= fields.expires.ms)
        usleep(10000);
    assert_int_equal(sc_test_get(on.store, &entry->f.id, &found), SC_OK);
    assert_null(found);
    assert_int_equal(sc_test_verify(on.store, &entry->f.id, fields.version, &fresh), SC_OK);
    assert_false(fresh);
    sc_store_search search = search_for(entry, vector, 5);
    assert_int_equal(sc_test_search(on.store, &search), SC_OK);
    assert_int_equal(search.found_count, 0);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* Entries whose time is over stand in front of one that lives: asked for the nearest alone, the store
 * must look behind them, else what is stored would be asked of the LLM. One is gone for Redis too, the
 * other was kept on by somebody. */
static void expired_entries_do_not_hide_the_next(void **state)
{
    bench on;
    float vector[DIM];
    (void)state;

    set_up(&on);
    freeReplyObject(sc_test_redis_call(on.redis, "DEBUG SET-ACTIVE-EXPIRE 0"));
    sc_test_vector(vector, DIM, 0, 0.1);
    sc_entry *lives = put(on.store, 3);
    for (unsigned i = 1; i < 3; i++) {
        sc_entry *expires = put_expiring(on.store, i, 300);
        if (i == 2)
            persist(&on, expires);
        sc_entry_unref(expires);
    }
    sc_store_search search = search_for(lives, vector, 5);
    search.wanted = 1;
    assert_int_equal(sc_test_search(on.store, &search), SC_OK);
    assert_int_equal(search.found_count, 1);
    assert_true(search.found[0].distance < 1 - cos(0.15));
    sc_candidates_unref(search.found, search.found_count);
    usleep(350000);
    assert_int_equal(sc_test_search(on.store, &search), SC_OK);
    assert_int_equal(search.found_count, 1);
    assert_memory_equal(&search.found[0].entry->f.id, &lives->f.id, sizeof lives->f.id);
    sc_candidates_unref(search.found, search.found_count);
    sc_entry_unref(lives);
    tear_down(&on);
}

/* --- more searches than Redis has time for --------------------------------------------- */

typedef struct {
    int         port;
    atomic_bool stop;
} other_work;

/* Another client's commands, each of which Redis takes a while for. */
static void *work(void *argument)
{
    other_work   *other = argument;
    redisContext *redis = redisConnect("127.0.0.1", other->port);

    while (redis != NULL && redis->err == 0 && !atomic_load(&other->stop))
        freeReplyObject(redisCommand(redis, "DEBUG SLEEP 0.08"));
    redisFree(redis);
    return NULL;
}

typedef struct {
    sc_store_search search;
    atomic_int      left; /* 1: not back yet */
} asked;

static void came_back(sc_store_call *call)
{
    atomic_store(&SC_CONTAINER(SC_CONTAINER(call, sc_store_search, call), asked, search)->left, 0);
}

/* Gives how many found the entry. */
static size_t search_at_once(sc_store *store, const sc_entry *entry, asked *a, size_t count)
{
    float  vector[DIM];
    size_t found = 0;

    sc_test_vector(vector, DIM, 1, 0.1);
    for (size_t i = 0; i < count; i++) {
        a[i].search = search_for(entry, vector, 5);
        a[i].search.wanted = 1;
        a[i].search.call = (sc_store_call){.deadline = SC_INSTANT_NEVER, .done = came_back};
        atomic_store(&a[i].left, 1);
        store->ops->search(store, &a[i].search);
    }
    for (size_t i = 0; i < count; i++) {
        while (atomic_load(&a[i].left) != 0)
            usleep(1000);
        found += a[i].search.call.status == SC_OK && a[i].search.found_count == 1;
        sc_candidates_unref(a[i].search.found, a[i].search.found_count);
    }
    return found;
}

/* Most of them wait for their turn, at a Redis that has other work in between: each is a hit, and none a
 * question to the LLM. A machine that stands still for a second is given another chance. */
static void a_burst_of_searches_is_found_by_a_redis_that_is_busy(void **state)
{
    enum { BURST = 700, TRIES = 4 };
    static asked     a[BURST];
    bench            on;
    pthread_t        thread;
    size_t           found = 0;
    (void)state;

    set_up(&on);
    sc_entry        *entry = put(on.store, 1);
    sc_redis_options options = options_for(on.redis);
    options.search_wait_ms = 60000;
    sc_store  *store = open_store(&options, NULL);
    other_work other = {.port = sc_test_redis_port(on.redis)};
    SC_TEST_UNTIL(look(store).connected);
    assert_int_equal(pthread_create(&thread, NULL, work, &other), 0);
    for (int i = 0; i < TRIES && found != BURST; i++)
        found = search_at_once(store, entry, a, BURST);
    atomic_store(&other.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(found, BURST);
    sc_test_close(store);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* --- invalidation
 * ------------------------------------------------------------------------------------ */

static void note_removing(void *context, const sc_digest *id)
{
    (void)id;
    ++*(unsigned *)context;
}

static void invalidation_removes_what_matches_and_nothing_else(void **state)
{
    bench           on;
    sc_entry_fields fields = sc_test_fields(100);
    unsigned        removing = 0;
    sc_entry       *found;
    (void)state;

    set_up(&on);
    for (unsigned i = 0; i < 40; i++)
        sc_entry_unref(put(on.store, i));
    fields.tenant = SC_STR("other");
    sc_entry *other = sc_entry_make(&fields);
    assert_int_equal(sc_test_put(on.store, other, NULL), SC_OK);

    sc_store_invalidate call = {.filter = {.tenant = SC_STR("tenant"), .model = SC_STR("model")},
                                .dry_run = true,
                                .removing = note_removing,
                                .removing_context = &removing};
    assert_int_equal(sc_test_invalidate(on.store, &call), SC_OK);
    assert_int_equal(call.removed, 40);
    assert_int_equal(call.examples_count, SC_STORE_EXAMPLES_MAX);
    assert_int_equal(removing, 0);
    call.dry_run = false;
    assert_int_equal(sc_test_invalidate(on.store, &call), SC_OK);
    assert_int_equal(call.removed, 40);
    assert_int_equal(removing, 40);
    assert_int_equal(sc_test_get(on.store, &other->f.id, &found), SC_OK);
    assert_non_null(found);
    sc_entry_unref(found);
    sc_entry_unref(other);
    SC_TEST_UNTIL(sc_test_memory_count(&on.memory) == 1);
    tear_down(&on);
}

/* When most of the index is to go it is made anew, and has to hold what stayed. */
static void invalidating_most_rebuilds_the_index(void **state)
{
    enum { MANY = 1200 };
    bench           on;
    float           vector[DIM];
    unsigned        removing = 0;
    sc_entry_fields fields = sc_test_fields(MANY);
    (void)state;

    set_up(&on);
    for (unsigned i = 0; i < MANY; i++)
        sc_entry_unref(put(on.store, i));
    fields.tenant = SC_STR("other");
    sc_entry *other = sc_entry_make(&fields);
    sc_test_vector(vector, DIM, MANY, 0.1);
    assert_int_equal(sc_test_put(on.store, other, vector), SC_OK);
    sc_store_invalidate call = {.filter = {.tenant = SC_STR("tenant")},
                                .removing = note_removing,
                                .removing_context = &removing};
    assert_int_equal(sc_test_invalidate(on.store, &call), SC_OK);
    assert_int_equal(call.removed, MANY);
    assert_int_equal(removing, MANY);
    SC_TEST_UNTIL(sc_test_memory_count(&on.memory) == 1);
    sc_store_search search = search_for(other, vector, 5);
    SC_TEST_UNTIL(sc_test_search(on.store, &search) == SC_OK && search.found_count == 1);
    sc_candidates_unref(search.found, search.found_count);
    sc_entry_unref(other);
    tear_down(&on);
}

static void invalidation_by_meaning_and_by_id(void **state)
{
    bench     on;
    float     vector[DIM];
    sc_entry *third;
    (void)state;

    set_up(&on);
    for (unsigned i = 0; i < 10; i++)
        sc_entry_unref(put(on.store, i));
    sc_test_vector(vector, DIM, 9, 0.1);
    sc_store_invalidate call = {.filter = {.any_tenant = true,
                                           .near = vector,
                                           .near_distance_max = (float)(1 - cos(0.15))}};
    assert_int_equal(sc_test_invalidate(on.store, &call), SC_OK);
    assert_int_equal(call.removed, 2);
    third = sc_test_entry(3);
    call = (sc_store_invalidate){
        .filter = {.tenant = SC_STR("stranger"), .ids = &third->f.id, .ids_count = 1}};
    assert_int_equal(sc_test_invalidate(on.store, &call), SC_OK);
    assert_int_equal(call.removed, 0);
    call.filter.tenant = SC_STR("tenant");
    assert_int_equal(sc_test_invalidate(on.store, &call), SC_OK);
    assert_int_equal(call.removed, 1);
    assert_int_equal(sc_test_redis_integer(on.redis, "DBSIZE"), 7 + 1); /* and the ZSET of uses */
    sc_entry_unref(third);
    tear_down(&on);
}

/* --- what others do
 * -------------------------------------------------------------------------------- */

/* Issue: what one server answered, the other serves; what one invalidates, the other stops serving.
 */
static void another_server_learns_of_writes_and_removals(void **state)
{
    bench          on;
    sc_test_memory second;
    (void)state;

    set_up(&on);
    sc_redis_options options = options_for(on.redis);
    sc_entry        *before = put(on.store, 1);
    sc_test_memory_init(&second);
    sc_store *other = open_store(&options, &second);
    SC_TEST_UNTIL(sc_test_memory_live(&second));
    assert_true(sc_test_memory_version(&second, &before->f.id) == before->f.version);

    sc_instant start = sc_now();
    sc_entry  *entry = put(on.store, 2);
    SC_TEST_UNTIL(sc_test_memory_version(&second, &entry->f.id) == entry->f.version);
    int64_t written_us = sc_elapsed_us(start, sc_now());
    assert_true(written_us < 1000000);

    start = sc_now();
    sc_store_invalidate call = {.filter = {.any_tenant = true}};
    assert_int_equal(sc_test_invalidate(on.store, &call), SC_OK);
    SC_TEST_UNTIL(sc_test_memory_count(&second) == 0);
    int64_t removed_us = sc_elapsed_us(start, sc_now());
    print_message("seen by another server: a write after %lld us, an invalidation after %lld us\n",
                  (long long)written_us, (long long)removed_us);
    sc_entry_unref(before);
    sc_entry_unref(entry);
    sc_test_close(other);
    sc_test_memory_fini(&second);
    tear_down(&on);
}

/* Redis tells of expiry by itself. */
static void memory_hears_of_expiry(void **state)
{
    bench           on;
    sc_entry_fields fields = sc_test_fields(1);
    (void)state;

    set_up(&on);
    fields.expires.ms = sc_wall_now().ms + 400;
    sc_entry *entry = sc_entry_make(&fields);
    assert_int_equal(sc_test_put(on.store, entry, NULL), SC_OK);
    SC_TEST_UNTIL(sc_test_memory_count(&on.memory) == 1);
    SC_TEST_UNTIL(sc_test_memory_count(&on.memory) == 0);
    sc_entry_unref(entry);
    tear_down(&on);
}

static unsigned removals(bench *on)
{
    pthread_mutex_lock(&on->memory.lock);
    unsigned count = on->memory.removals;
    pthread_mutex_unlock(&on->memory.lock);
    return count;
}

/* What a caller read while the feed was down goes into memory, and would be believed once it is up,
 * although it was taken back in between. */
static void what_was_read_without_a_feed_is_taken_back_by_it(void **state)
{
    bench            on;
    sc_redis_options options;
    sc_entry        *found;
    (void)state;

    on.redis = sc_test_redis_start(NULL);
    if (on.redis == NULL)
        skip();
    sc_test_memory_init(&on.memory);
    options = options_for(on.redis);
    freeReplyObject(sc_test_redis_call(on.redis, "ACL SETUSER default -subscribe"));
    on.store = open_store(&options, &on.memory);
    SC_TEST_UNTIL(look(on.store).resyncs == 1); /* the feed polls now, every 15 s */
    sc_store *another = open_store(&options, NULL);
    SC_TEST_UNTIL(index_ready(on.store) && index_ready(another));
    sc_entry *entry = put(another, 1);
    assert_int_equal(sc_test_get(on.store, &entry->f.id, &found), SC_OK);
    assert_non_null(found);
    sc_store_invalidate all = {.filter = {.tenant = SC_STR("tenant")}};
    assert_int_equal(sc_test_invalidate(another, &all), SC_OK);
    assert_int_equal(all.removed, 1);
    assert_int_equal(removals(&on), 0);
    freeReplyObject(sc_test_redis_call(on.redis, "ACL SETUSER default +subscribe"));
    freeReplyObject(sc_test_redis_call(on.redis, "CLIENT KILL TYPE normal"));
    SC_TEST_UNTIL(sc_test_memory_live(&on.memory));
    assert_int_equal(removals(&on), 1);
    sc_entry_unref(found);
    sc_entry_unref(entry);
    sc_test_close(another);
    tear_down(&on);
}

static void a_flush_clears_memory_and_the_index_is_made_anew(void **state)
{
    bench on;
    float vector[DIM];
    (void)state;

    set_up(&on);
    sc_entry_unref(put(on.store, 1));
    SC_TEST_UNTIL(sc_test_memory_count(&on.memory) == 1);
    freeReplyObject(sc_test_redis_call(on.redis, "FLUSHALL"));
    SC_TEST_UNTIL(sc_test_memory_count(&on.memory) == 0 && sc_test_memory_clears(&on.memory) == 1);
    SC_TEST_UNTIL(sc_test_redis_integer(on.redis, "FT._LIST") == 1);
    SC_TEST_UNTIL(index_ready(on.store) && sc_test_memory_live(&on.memory));
    sc_entry *entry = put(on.store, 2);
    sc_test_vector(vector, DIM, 2, 0.1);
    sc_store_search search = search_for(entry, vector, 1);
    assert_int_equal(sc_test_search(on.store, &search), SC_OK);
    assert_int_equal(search.found_count, 1);
    sc_candidates_unref(search.found, search.found_count);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* Not flushed, but dropped by hand: nothing tells us, so the search itself has to. */
static void a_dropped_index_is_made_anew(void **state)
{
    bench     on;
    float     vector[DIM];
    sc_status status;
    (void)state;

    set_up(&on);
    sc_entry *entry = put(on.store, 1);
    freeReplyObject(sc_test_redis_call(on.redis, "FT.DROPINDEX %s", look(on.store).index_name));
    sc_test_vector(vector, DIM, 1, 0.1);
    sc_store_search search = search_for(entry, vector, 1);
    SC_TEST_UNTIL((status = sc_test_search(on.store, &search)) == SC_OK && search.found_count == 1);
    sc_candidates_unref(search.found, search.found_count);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* Another program's values under our prefix: ignored, counted, never served. */
static void foreign_values_are_ignored_and_counted(void **state)
{
    bench     on;
    sc_entry *found;
    float     vector[DIM];
    char      key[256];
    (void)state;

    set_up(&on);
    sc_entry   *entry = put(on.store, 1);
    redisReply *keys = sc_test_redis_call(on.redis, "KEYS test:v1:*");
    assert_int_equal(keys->elements, 1);
    snprintf(key, sizeof key, "%s", keys->element[0]->str);
    freeReplyObject(keys);
    size_t hex = strlen(key) - SC_DIGEST_HEX_BYTES;

    freeReplyObject(sc_test_redis_call(on.redis, "HSET %s meta nonsense", key));
    assert_int_equal(sc_test_get(on.store, &entry->f.id, &found), SC_OK);
    assert_null(found);
    sc_test_vector(vector, DIM, 1, 0.1);
    sc_store_search search = search_for(entry, vector, 5);
    assert_int_equal(sc_test_search(on.store, &search), SC_OK);
    assert_int_equal(search.found_count, 0);
    /* Copied to another key: all fields are ours, but the answer belongs to another question. */
    sc_entry_unref(put(on.store, 1));
    key[hex] = key[hex] == 'a' ? 'b' : 'a';
    sc_digest other;
    assert_true(
        sc_hex_decode((sc_str){key + hex, SC_DIGEST_HEX_BYTES}, other.bytes, sizeof other.bytes));
    keys = sc_test_redis_call(on.redis, "KEYS test:v1:*");
    freeReplyObject(sc_test_redis_call(on.redis, "COPY %s %s", keys->element[0]->str, key));
    freeReplyObject(keys);
    assert_int_equal(sc_test_get(on.store, &other, &found), SC_OK);
    assert_null(found);
    /* Another type, and names that are none of ours. */
    freeReplyObject(sc_test_redis_call(on.redis, "SET %s text", key));
    assert_int_equal(sc_test_get(on.store, &other, &found), SC_OK);
    assert_null(found);
    freeReplyObject(sc_test_redis_call(on.redis, "SET test:v1:short text"));
    sc_store_invalidate call = {.filter = {.any_tenant = true}};
    assert_int_equal(sc_test_invalidate(on.store, &call), SC_OK);
    assert_int_equal(call.removed, 1);
    SC_TEST_UNTIL(look(on.store).foreign_values >= 5);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* --- faults
 * --------------------------------------------------------------------------------------- */

static void opening_does_not_need_redis(void **state)
{
    sc_redis_options options = {.url = "redis://127.0.0.1:1",
                                .cache_namespace = "test",
                                .hnsw_m = 16,
                                .ef_construction = 64,
                                .ef_runtime = 50,
                                .timeout_ms = 50,
                                .calls_max = 16,
                                .dim = DIM,
                                .embedding_model = "m"};
    sc_store        *store = open_store(&options, NULL);
    sc_digest        id = {{0}};
    sc_entry        *found;
    sc_instant       start = sc_now();
    (void)state;

    assert_int_equal(sc_test_get(store, &id, &found), SC_UNAVAILABLE);
    assert_true(sc_elapsed_us(start, sc_now()) < 100000);
    assert_false(look(store).connected);
    sc_test_close(store);
}

/* Issue 9.6: what was written while Redis was away is there when it is back. */
static void entries_written_while_redis_is_away_are_written_later(void **state)
{
    bench     on;
    float     vector[DIM];
    sc_entry *found = NULL;
    (void)state;

    set_up(&on);
    sc_test_redis_kill(on.redis);
    SC_TEST_UNTIL(!look(on.store).connected);
    SC_TEST_UNTIL(!sc_test_memory_live(&on.memory));
    sc_entry *entry = sc_test_entry(1);
    sc_test_vector(vector, DIM, 1, 0.1);
    assert_int_equal(sc_test_put(on.store, entry, vector), SC_UNAVAILABLE);
    SC_TEST_UNTIL(look(on.store).writes_waiting == 1);

    sc_test_redis_restart(on.redis, true);
    SC_TEST_UNTIL(sc_test_get(on.store, &entry->f.id, &found) == SC_OK && found != NULL);
    sc_entry_unref(found);
    SC_TEST_UNTIL(index_ready(on.store) && sc_test_memory_live(&on.memory));
    sc_store_search search = search_for(entry, vector, 1);
    SC_TEST_UNTIL(sc_test_search(on.store, &search) == SC_OK && search.found_count == 1);
    sc_candidates_unref(search.found, search.found_count);
    assert_int_equal(look(on.store).writes_dropped, 0);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* What Redis lost must not live on in memory as believed. */
static void a_redis_that_comes_back_empty_empties_memory(void **state)
{
    bench on;
    (void)state;

    set_up(&on);
    for (unsigned i = 0; i < 20; i++)
        sc_entry_unref(put(on.store, i));
    SC_TEST_UNTIL(sc_test_memory_count(&on.memory) == 20);
    sc_test_redis_restart(on.redis, true);
    SC_TEST_UNTIL(sc_test_memory_lives(&on.memory) >= 2 && sc_test_memory_count(&on.memory) == 0);
    tear_down(&on);
}

static void the_oldest_waiting_write_is_dropped_first(void **state)
{
    bench     on;
    sc_entry *found = NULL;
    (void)state;

    set_up(&on);
    sc_test_redis_kill(on.redis);
    SC_TEST_UNTIL(!look(on.store).connected);
    for (unsigned i = 0; i < 101; i++) {
        sc_entry *entry = sc_test_entry(i);
        assert_int_equal(sc_test_put(on.store, entry, NULL), SC_UNAVAILABLE);
        sc_entry_unref(entry);
    }
    SC_TEST_UNTIL(look(on.store).writes_waiting == 100 && look(on.store).writes_dropped == 1);
    sc_test_redis_restart(on.redis, true);
    SC_TEST_UNTIL(look(on.store).writes_waiting == 0 &&
                  sc_test_redis_integer(on.redis, "KEYS test:v1:*") == 100);
    sc_entry *first = sc_test_entry(0);
    SC_TEST_UNTIL(sc_test_get(on.store, &first->f.id, &found) == SC_OK);
    assert_null(found);
    sc_entry_unref(first);
    tear_down(&on);
}

/* An invalidation while writes wait must catch them too. */
static void waiting_writes_can_be_invalidated(void **state)
{
    bench    on;
    unsigned removing = 0;
    (void)state;

    set_up(&on);
    sc_test_redis_kill(on.redis);
    SC_TEST_UNTIL(!look(on.store).connected);
    sc_entry *entry = sc_test_entry(1);
    assert_int_equal(sc_test_put(on.store, entry, NULL), SC_UNAVAILABLE);
    sc_store_invalidate call = {
        .filter = {.any_tenant = true}, .removing = note_removing, .removing_context = &removing};
    assert_int_equal(sc_test_invalidate(on.store, &call), SC_UNAVAILABLE);
    assert_int_equal(removing, 1);
    SC_TEST_UNTIL(look(on.store).writes_waiting == 0);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* A stopped Redis keeps its connections: only time tells. */
static void a_hung_redis_costs_no_more_than_the_time_limit(void **state)
{
    bench     on;
    sc_entry *found;
    sc_digest id = {{1}};
    (void)state;

    set_up(&on);
    sc_test_redis_pause(on.redis);
    sc_instant start = sc_now();
    assert_int_equal(sc_test_get(on.store, &id, &found), SC_TIMEOUT);
    int64_t waited_us = sc_elapsed_us(start, sc_now());
    assert_true(waited_us >= 990000);
    assert_true(waited_us < 4000000); /* its own limit of 1 s, and not the connection's end after four */
    SC_TEST_UNTIL(!look(on.store).connected && !sc_test_memory_live(&on.memory));
    assert_int_equal(sc_test_get(on.store, &id, &found), SC_UNAVAILABLE);
    sc_test_redis_resume(on.redis);
    SC_TEST_UNTIL(sc_test_get(on.store, &id, &found) == SC_OK && sc_test_memory_live(&on.memory));
    tear_down(&on);
}

/* A reply that comes late must not be taken for the next command's. */
static void a_late_reply_is_not_mistaken_for_the_next(void **state)
{
    bench     on;
    sc_entry *found;
    (void)state;

    set_up(&on);
    sc_entry *first = put(on.store, 1), *second = put(on.store, 2);
    sc_test_redis_pause(on.redis);
    assert_int_equal(sc_test_get(on.store, &first->f.id, &found), SC_TIMEOUT);
    sc_test_redis_resume(on.redis);
    SC_TEST_UNTIL(sc_test_get(on.store, &second->f.id, &found) == SC_OK);
    assert_non_null(found);
    assert_memory_equal(&found->f.id, &second->f.id, sizeof second->f.id);
    sc_entry_unref(found);
    sc_entry_unref(first);
    sc_entry_unref(second);
    tear_down(&on);
}

static void a_redis_without_memory_loses_the_entry_only(void **state)
{
    bench     on;
    sc_entry *found, *entry = sc_test_entry(2);
    (void)state;

    set_up(&on);
    sc_entry *before = put(on.store, 1);
    freeReplyObject(sc_test_redis_call(on.redis, "CONFIG SET maxmemory 1"));
    assert_int_equal(sc_test_put(on.store, entry, NULL), SC_BUSY);
    assert_int_equal(look(on.store).writes_waiting, 0);
    assert_int_equal(sc_test_get(on.store, &before->f.id, &found), SC_OK);
    assert_non_null(found);
    sc_entry_unref(found);
    sc_entry_unref(before);
    sc_entry_unref(entry);
    tear_down(&on);
}

static void an_index_of_another_shape_is_reported_and_not_used(void **state)
{
    bench on;
    char  name[96];
    float vector[DIM];
    (void)state;

    set_up(&on);
    sc_entry *entry = put(on.store, 1);
    snprintf(name, sizeof name, "%s", look(on.store).index_name);
    freeReplyObject(sc_test_redis_call(on.redis, "FT.DROPINDEX %s", name));
    redisReply *reply =
        sc_test_redis_call(on.redis, "FT.CREATE %s PREFIX 1 elsewhere: SCHEMA scope TAG", name);
    freeReplyObject(reply);
    SC_TEST_UNTIL(strcmp(look(on.store).index_state, "drifted") == 0);
    sc_test_vector(vector, DIM, 1, 0.1);
    sc_store_search search = search_for(entry, vector, 1);
    assert_int_equal(sc_test_search(on.store, &search), SC_UNAVAILABLE);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* Uses are told in batches, outside the entry: writing to an entry would insert its vector anew. */
static void uses_are_told_without_touching_the_entry(void **state)
{
    bench on;
    (void)state;

    set_up(&on);
    sc_entry *entry = put(on.store, 1);
    SC_TEST_UNTIL(look(on.store).feed_messages == 1);
    sc_wall when = {sc_wall_now().ms + 5000};
    on.store->ops->used(on.store, &entry->f.id, when);
    redisReply *names = sc_test_redis_call(on.redis, "KEYS test:used:*");
    assert_int_equal(names->elements, 1);
    SC_TEST_UNTIL(sc_test_redis_integer(on.redis, "ZRANGEBYSCORE %s %lld +inf",
                                        names->element[0]->str, (long long)when.ms) == 1);
    freeReplyObject(names);
    usleep(200000);
    assert_int_equal(look(on.store).feed_messages, 1);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* Beyond the limit the least recently used go: not the oldest, when somebody asks for it. */
static void the_sweeper_removes_the_least_recently_used(void **state)
{
    bench     on;
    sc_entry *found;
    (void)state;

    set_up(&on);
    sc_redis_options options = options_for(on.redis);
    options.entries_max = 50;
    sc_store *sweeping = open_store(&options, NULL);
    sc_entry *first = put(on.store, 0), *second = put(on.store, 1);
    on.store->ops->used(on.store, &first->f.id, (sc_wall){sc_wall_now().ms + 60000});
    usleep(1200000); /* uses are told once a second */
    for (unsigned i = 2; i < 120; i++)
        sc_entry_unref(put(on.store, i));
    SC_TEST_UNTIL(sc_test_redis_integer(on.redis, "KEYS test:v1:*") == 50);
    assert_int_equal(sc_test_get(on.store, &first->f.id, &found), SC_OK);
    assert_non_null(found);
    sc_entry_unref(found);
    assert_int_equal(sc_test_get(on.store, &second->f.id, &found), SC_OK);
    assert_null(found);
    sc_entry_unref(first);
    sc_entry_unref(second);
    sc_test_close(sweeping);
    tear_down(&on);
}

/* A fail-over: the old master takes no writes for a while. */
static void a_read_only_redis_gets_its_writes_later(void **state)
{
    bench     on;
    sc_entry *found = NULL, *entry = sc_test_entry(1);
    (void)state;

    set_up(&on);
    freeReplyObject(sc_test_redis_call(on.redis, "REPLICAOF 127.0.0.1 1"));
    assert_int_equal(sc_test_put(on.store, entry, NULL), SC_UNAVAILABLE);
    SC_TEST_UNTIL(look(on.store).writes_waiting == 1);
    freeReplyObject(sc_test_redis_call(on.redis, "REPLICAOF NO ONE"));
    SC_TEST_UNTIL(sc_test_get(on.store, &entry->f.id, &found) == SC_OK && found != NULL);
    assert_int_equal(look(on.store).writes_dropped, 0);
    sc_entry_unref(found);
    sc_entry_unref(entry);
    tear_down(&on);
}

static void *reload(void *argument)
{
    freeReplyObject(sc_test_redis_call(argument, "DEBUG RELOAD"));
    return NULL;
}

/* After a restart Redis answers -LOADING for as long as the index is rebuilt, which may be minutes.
 */
static void a_loading_redis_is_an_absent_one(void **state)
{
    bench     on;
    pthread_t thread;
    sc_entry *found = NULL;
    sc_status status = SC_OK;
    (void)state;

    set_up(&on);
    sc_entry *entry = put(on.store, 0);
    for (unsigned i = 1; i < 100; i++)
        sc_entry_unref(put(on.store, i));
    freeReplyObject(sc_test_redis_call(on.redis, "CONFIG SET key-load-delay 10000 "
                                                 "loading-process-events-interval-bytes 1024"));
    assert_int_equal(pthread_create(&thread, NULL, reload, on.redis), 0);
    SC_TEST_UNTIL((status = sc_test_get(on.store, &entry->f.id, &found)) == SC_UNAVAILABLE ||
                  (sc_entry_unref(found), false));
    pthread_join(thread, NULL);
    SC_TEST_UNTIL(sc_test_get(on.store, &entry->f.id, &found) == SC_OK && found != NULL);
    SC_TEST_UNTIL(index_ready(on.store) && look(on.store).documents == 100);
    sc_entry_unref(found);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* The line that the README gives operators. */
static void the_least_privileged_user_can_do_everything(void **state)
{
    static const char *const args[] = {"--user",
                                       "cache",
                                       "on",
                                       ">p@ss/word",
                                       "~test:*",
                                       "resetchannels",
                                       "&__redis__:invalidate",
                                       "-@all",
                                       "+auth",
                                       "+ping",
                                       "+info",
                                       "+client|id",
                                       "+client|tracking",
                                       "+client|setname",
                                       "+client|no-touch",
                                       "+subscribe",
                                       "+scan",
                                       "+hset",
                                       "+hdel",
                                       "+hmget",
                                       "+touch",
                                       "+pexpireat",
                                       "+unlink",
                                       "+multi",
                                       "+exec",
                                       "+zadd",
                                       "+zrem",
                                       "+zrange",
                                       "+set",
                                       "+get",
                                       "+ft.create",
                                       "+ft.search",
                                       "+ft.dropindex",
                                       "+ft.info",
                                       NULL};
    bench                    on;
    char                     url[128];
    float                    vector[DIM];
    (void)state;

    on.redis = sc_test_redis_start(args);
    if (on.redis == NULL)
        skip();
    sc_test_memory_init(&on.memory);
    sc_redis_options options = options_for(on.redis);
    snprintf(url, sizeof url, "redis://cache:p%%40ss%%2Fword@127.0.0.1:%d",
             sc_test_redis_port(on.redis));
    options.url = url;
    options.entries_max = 2;
    on.store = open_store(&options, &on.memory);
    SC_TEST_UNTIL(index_ready(on.store) && sc_test_memory_live(&on.memory));
    sc_entry *entry = put(on.store, 1);
    sc_entry_unref(put(on.store, 2));
    sc_entry_unref(put(on.store, 3));
    on.store->ops->used(on.store, &entry->f.id, (sc_wall){sc_wall_now().ms + 60000});
    SC_TEST_UNTIL(sc_test_redis_integer(on.redis, "KEYS test:v1:*") == 2);
    SC_TEST_UNTIL(sc_test_memory_count(&on.memory) == 2);
    sc_test_vector(vector, DIM, 1, 0.1);
    sc_store_search search = search_for(entry, vector, 3);
    assert_int_equal(sc_test_search(on.store, &search), SC_OK);
    assert_int_equal(search.found_count, 2);
    sc_candidates_unref(search.found, search.found_count);
    sc_store_invalidate call = {.filter = {.any_tenant = true}};
    assert_int_equal(sc_test_invalidate(on.store, &call), SC_OK);
    assert_int_equal(call.removed, 2);
    sc_entry_unref(entry);
    tear_down(&on);
}

/* Managed services may forbid tracking. Then memory is filled by walking all keys, and never believed. */
static void without_tracking_memory_is_filled_but_not_believed(void **state)
{
    static const char *const args[] = {"--user", "cache",    "on",    ">word",
                                       "~test:*", "&*", "+@all", "-client|tracking", NULL};
    sc_test_memory           tracked, polled;
    char                     url[128];
    (void)state;

    sc_test_redis *redis = sc_test_redis_start(args);
    if (redis == NULL)
        skip();
    sc_test_memory_init(&tracked);
    sc_test_memory_init(&polled);
    sc_redis_options options = options_for(redis);
    sc_store        *writer = open_store(&options, &tracked);
    SC_TEST_UNTIL(index_ready(writer) && sc_test_memory_live(&tracked));
    sc_entry *first = put(writer, 1);
    snprintf(url, sizeof url, "redis://cache:word@127.0.0.1:%d", sc_test_redis_port(redis));
    options.url = url;
    sc_store *reader = open_store(&options, &polled);
    SC_TEST_UNTIL(sc_test_memory_version(&polled, &first->f.id) == first->f.version);
    SC_TEST_UNTIL(look(reader).resyncs >= 1);
    assert_false(look(reader).feed_live);
    assert_int_equal(sc_test_memory_lives(&polled), 0);
    /* All else works: what it asks itself is true. */
    bool      fresh;
    sc_entry *found;
    sc_entry *second = put(writer, 2);
    assert_int_equal(sc_test_get(reader, &second->f.id, &found), SC_OK);
    assert_non_null(found);
    assert_int_equal(sc_test_verify(reader, &first->f.id, first->f.version, &fresh), SC_OK);
    assert_true(fresh);
    sc_entry_unref(put(reader, 1));
    assert_int_equal(sc_test_verify(reader, &first->f.id, first->f.version, &fresh), SC_OK);
    assert_false(fresh);
    /* Once it is allowed, memory is believed without a restart. */
    freeReplyObject(sc_test_redis_call(redis, "ACL SETUSER cache +client|tracking"));
    for (int waited_ms = 0; waited_ms < 40000 && !sc_test_memory_live(&polled); waited_ms += 10)
        usleep(10000);
    assert_true(sc_test_memory_live(&polled));
    sc_entry_unref(found);
    sc_entry_unref(first);
    sc_entry_unref(second);
    sc_test_close(reader);
    sc_test_close(writer);
    sc_test_memory_fini(&tracked);
    sc_test_memory_fini(&polled);
    sc_test_redis_stop(redis);
}

/* Without a right password nothing works, nothing crashes, and Redis is not asked in a storm. */
static void a_wrong_password_is_an_absent_redis(void **state)
{
    static const char *const args[] = {"--requirepass", "right", NULL};
    char                     url[128];
    sc_digest                id = {{1}};
    sc_entry                *found;
    (void)state;

    sc_test_redis *redis = sc_test_redis_start(args);
    if (redis == NULL)
        skip();
    sc_redis_options options = options_for(redis);
    snprintf(url, sizeof url, "redis://:wrong@127.0.0.1:%d", sc_test_redis_port(redis));
    options.url = url;
    sc_store *store = open_store(&options, NULL);
    usleep(300000);
    assert_int_equal(sc_test_get(store, &id, &found), SC_UNAVAILABLE);
    assert_false(look(store).connected);
    sc_test_close(store);
    snprintf(url, sizeof url, "redis://:right@127.0.0.1:%d", sc_test_redis_port(redis));
    store = open_store(&options, NULL);
    SC_TEST_UNTIL(index_ready(store));
    sc_test_close(store);
    sc_test_redis_stop(redis);
}

/* Each kind of vectors has keys of its own: one of another length would drop an entry from the
 * index. */
static void float32_and_flat_find_the_same(void **state)
{
    bench     on;
    float     vector[DIM];
    const int types[] = {SC_REDIS_FLOAT16, SC_REDIS_FLOAT32};
    const int algorithms[] = {SC_REDIS_HNSW, SC_REDIS_FLAT};
    (void)state;

    set_up(&on);
    for (size_t i = 0; i < 4; i++) {
        sc_redis_options options = options_for(on.redis);
        options.vector_type = types[i / 2];
        options.algorithm = algorithms[i % 2];
        sc_store *store = open_store(&options, NULL);
        SC_TEST_UNTIL(index_ready(store));
        sc_entry *entry = put(store, (unsigned)i + 1);
        sc_test_vector(vector, DIM, (unsigned)i + 1, 0.1);
        sc_store_search search = search_for(entry, vector, 1);
        assert_int_equal(sc_test_search(store, &search), SC_OK);
        assert_int_equal(search.found_count, 1);
        assert_memory_equal(&search.found[0].entry->f.id, &entry->f.id, sizeof entry->f.id);
        sc_candidates_unref(search.found, 1);
        sc_entry_unref(entry);
        sc_test_close(store);
    }
    tear_down(&on);
}

static void *get_often(void *argument)
{
    sc_store *store = argument;
    sc_digest id = {{1}};
    sc_entry *found;
    sc_status status = SC_OK;

    for (int i = 0; i < 200; i++)
        status = sc_test_get(store, &id, &found);
    (void)status;
    return NULL;
}

static void many_threads_may_ask_at_once(void **state)
{
    bench     on;
    pthread_t threads[8];
    (void)state;

    set_up(&on);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_often, on.store), 0);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    sc_store_info info = look(on.store);
    assert_true(info.calls >= 1600);
    assert_int_equal(info.failures, 0);
    tear_down(&on);
}

int main(void)
{
    sc_log_set_level(SC_LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_comes_back_as_it_was_put),
        cmocka_unit_test(absence_is_an_ordinary_answer),
        cmocka_unit_test(search_gives_the_k_nearest_in_order),
        cmocka_unit_test(search_never_leaves_its_scope_and_guard),
        cmocka_unit_test(an_entry_without_vector_is_found_by_its_key_only),
        cmocka_unit_test(putting_without_vector_takes_the_old_one_away),
        cmocka_unit_test(expired_entries_are_never_found),
        cmocka_unit_test(the_entry_itself_says_when_it_expires),
        cmocka_unit_test(expired_entries_do_not_hide_the_next),
        cmocka_unit_test(a_burst_of_searches_is_found_by_a_redis_that_is_busy),
        cmocka_unit_test(a_redis_that_comes_back_empty_empties_memory),
        cmocka_unit_test(invalidation_removes_what_matches_and_nothing_else),
        cmocka_unit_test(invalidating_most_rebuilds_the_index),
        cmocka_unit_test(invalidation_by_meaning_and_by_id),
        cmocka_unit_test(another_server_learns_of_writes_and_removals),
        cmocka_unit_test(memory_hears_of_expiry),
        cmocka_unit_test(what_was_read_without_a_feed_is_taken_back_by_it),
        cmocka_unit_test(a_flush_clears_memory_and_the_index_is_made_anew),
        cmocka_unit_test(a_dropped_index_is_made_anew),
        cmocka_unit_test(foreign_values_are_ignored_and_counted),
        cmocka_unit_test(opening_does_not_need_redis),
        cmocka_unit_test(entries_written_while_redis_is_away_are_written_later),
        cmocka_unit_test(the_oldest_waiting_write_is_dropped_first),
        cmocka_unit_test(waiting_writes_can_be_invalidated),
        cmocka_unit_test(a_hung_redis_costs_no_more_than_the_time_limit),
        cmocka_unit_test(a_late_reply_is_not_mistaken_for_the_next),
        cmocka_unit_test(a_redis_without_memory_loses_the_entry_only),
        cmocka_unit_test(an_index_of_another_shape_is_reported_and_not_used),
        cmocka_unit_test(uses_are_told_without_touching_the_entry),
        cmocka_unit_test(the_sweeper_removes_the_least_recently_used),
        cmocka_unit_test(a_read_only_redis_gets_its_writes_later),
        cmocka_unit_test(a_loading_redis_is_an_absent_one),
        cmocka_unit_test(the_least_privileged_user_can_do_everything),
        cmocka_unit_test(without_tracking_memory_is_filled_but_not_believed),
        cmocka_unit_test(a_wrong_password_is_an_absent_redis),
        cmocka_unit_test(float32_and_flat_find_the_same),
        cmocka_unit_test(many_threads_may_ask_at_once),
    };
    return cmocka_run_group_tests_name("store_redis", tests, NULL, NULL);
}
