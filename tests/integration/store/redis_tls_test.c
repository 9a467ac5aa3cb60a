/* rediss://: what is carried, and which servers are not believed. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/store/redis/redis.h"
#include "tests/support/cmocka.h"
#include "tests/support/redis.h"
#include "tests/support/store/store.h"
#include "tests/support/tls_front/tls_front.h"

enum { DIM = 8, ANSWER_BYTES = 1000000 };

typedef struct {
    sc_test_redis *redis;
    sc_test_tls   *tls;
} bench;

static void set_up(bench *on)
{
    on->redis = sc_test_redis_start(NULL);
    if (on->redis == NULL)
        skip();
    on->tls = sc_test_tls_start(sc_test_redis_port(on->redis));
}

static void tear_down(bench *on)
{
    sc_test_tls_stop(on->tls);
    sc_test_redis_stop(on->redis);
}

static sc_store *open_store(const char *scheme_and_host, int port, const char *ca_file,
                            sc_test_memory *memory)
{
    char             url[128];
    sc_store        *store;
    sc_error         error = {0};
    sc_store_feed    feed = {0};
    sc_redis_options options = {.url = url,
                                .cache_namespace = "test",
                                .ca_file = ca_file,
                                .hnsw_m = 16,
                                .ef_construction = 64,
                                .ef_runtime = 50,
                                .timeout_ms = 1000,
        .search_wait_ms = 1000,
                                .calls_max = 1024,
                                .waiting_entries_max = 100,
                                .waiting_bytes_max = 1 << 20,
                                .dim = DIM,
                                .embedding_model = "test-model"};

    snprintf(url, sizeof url, "%s:%d", scheme_and_host, port);
    if (memory != NULL)
        feed = sc_test_memory_feed(memory);
    if (sc_redis_open(&options, &feed, &store, &error) != SC_OK)
        fail_msg("%s", error.text);
    return store;
}

static bool connected(sc_store *store)
{
    sc_store_info info;
    store->ops->look(store, &info);
    return info.connected;
}

static bool index_ready(sc_store *store)
{
    sc_store_info info;
    store->ops->look(store, &info);
    return info.connected && strcmp(info.index_state, "ready") == 0;
}

/* Large enough for many TLS records and for writes that the socket takes in parts. */
static void everything_works_over_tls(void **state)
{
    bench           on;
    sc_test_memory  memory;
    sc_entry_fields fields = sc_test_fields(1);
    char           *answer = malloc(ANSWER_BYTES);
    sc_entry       *found;
    float           vector[DIM];
    (void)state;

    set_up(&on);
    sc_test_memory_init(&memory);
    sc_store *store = open_store("rediss://localhost", sc_test_tls_port(on.tls),
                                 sc_test_tls_ca_file(on.tls), &memory);
    SC_TEST_UNTIL(index_ready(store) && sc_test_memory_live(&memory));
    for (size_t i = 0; i < ANSWER_BYTES; i++)
        answer[i] = (char)('a' + i % 23);
    fields.answer = (sc_str){answer, ANSWER_BYTES};
    sc_entry *entry = sc_entry_make(&fields);
    sc_test_vector(vector, DIM, 1, 0.1);
    assert_int_equal(sc_test_put(store, entry, vector), SC_OK);
    assert_int_equal(sc_test_get(store, &fields.id, &found), SC_OK);
    assert_non_null(found);
    assert_true(sc_str_equal(found->f.answer, fields.answer));
    sc_entry_unref(found);
    SC_TEST_UNTIL(sc_test_memory_version(&memory, &fields.id) == fields.version);
    sc_store_search search = {.scope = fields.scope, .vector = vector, .k = 1};
    assert_int_equal(sc_test_search(store, &search), SC_OK);
    assert_int_equal(search.found_count, 1);
    sc_candidates_unref(search.found, 1);

    sc_test_redis_kill(on.redis);
    SC_TEST_UNTIL(!connected(store));
    sc_test_redis_restart(on.redis, true);
    SC_TEST_UNTIL(index_ready(store));
    sc_test_close(store);
    sc_test_memory_fini(&memory);
    sc_entry_unref(entry);
    free(answer);
    tear_down(&on);
}

static void assert_never_connects(const char *scheme_and_host, int port, const char *ca_file)
{
    sc_store *store = open_store(scheme_and_host, port, ca_file, NULL);
    for (int i = 0; i < 30; i++) {
        assert_false(connected(store));
        usleep(10000);
    }
    sc_test_close(store);
}

static void a_server_that_cannot_prove_itself_is_refused(void **state)
{
    bench        on;
    sc_test_tls *other;
    (void)state;

    set_up(&on);
    other = sc_test_tls_start(sc_test_redis_port(on.redis));
    /* Signed by nobody we trust; by nobody the system trusts; for another name, for another
     * address. */
    assert_never_connects("rediss://localhost", sc_test_tls_port(on.tls),
                          sc_test_tls_ca_file(other));
    assert_never_connects("rediss://localhost", sc_test_tls_port(on.tls), NULL);
    assert_never_connects("rediss://127.1", sc_test_tls_port(on.tls), sc_test_tls_ca_file(on.tls));
    assert_never_connects("rediss://127.0.0.1", sc_test_tls_port(on.tls),
                          sc_test_tls_ca_file(on.tls));
    /* Never plain where TLS was asked for, nor the other way round. */
    assert_never_connects("rediss://localhost", sc_test_redis_port(on.redis),
                          sc_test_tls_ca_file(on.tls));
    assert_never_connects("redis://localhost", sc_test_tls_port(on.tls), NULL);
    sc_test_tls_stop(other);
    tear_down(&on);
}

static void a_missing_ca_file_is_told_at_once(void **state)
{
    sc_store        *store;
    sc_error         error = {0};
    sc_redis_options options = {.url = "rediss://:hush@localhost",
                                .cache_namespace = "test",
                                .ca_file = "/nowhere/ca.pem",
                                .hnsw_m = 16,
                                .ef_construction = 64,
                                .ef_runtime = 50,
                                .timeout_ms = 1000,
        .search_wait_ms = 1000,
                                .calls_max = 1024,
                                .dim = DIM,
                                .embedding_model = "m"};
    (void)state;

    assert_int_equal(sc_redis_open(&options, NULL, &store, &error), SC_INVALID);
    assert_non_null(strstr(error.text, "REDIS_CA_FILE"));
    assert_null(strstr(error.text, "hush"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_works_over_tls),
        cmocka_unit_test(a_server_that_cannot_prove_itself_is_refused),
        cmocka_unit_test(a_missing_ca_file_is_told_at_once),
    };
    sc_log_set_level(SC_LOG_OFF);
    /* The front's threads write to clients that have gone. (The store blocks it in its own thread.)
     */
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
    return cmocka_run_group_tests_name("store_redis_tls", tests, NULL, NULL);
}
