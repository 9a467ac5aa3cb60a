/* The store beside a peer that fails, lingers and talks nonsense as no real Redis would when asked. */
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/base/breaker.h"
#include "src/base/random.h"
#include "src/store/redis/redis.h"
#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"
#include "tests/support/store/peer.h"
#include "tests/support/store/store.h"

enum { DIM = 8 };

enum { SANE, FAILS, GARBLES };

/* The peer's part; set by the test, read and counted by the peer. */
typedef struct {
    atomic_int  manner;
    atomic_int  search_ms; /* how long a search takes */
    atomic_int  expired;   /* so many rows of expired entries are what it finds */
    atomic_bool cut_get, cut_search; /* at the next one */
    atomic_uint gets, searches;
    atomic_int  rows[8];   /* that the searches asked for */
} part;

static void say(sc_buf *out, const char *bytes)
{
    sc_buf_str(out, sc_str_of(bytes));
}

static void say_absent(const redisReply *hmget, sc_buf *out)
{
    sc_buf_printf(out, "*%zu\r\n", hmget->elements - 2);
    for (size_t i = 2; i < hmget->elements; i++)
        say(out, "$-1\r\n");
}

/* The word after LIMIT 0. */
static int rows_asked(const redisReply *search)
{
    for (size_t i = 2; i + 2 < search->elements; i++)
        if (strcmp(search->element[i]->str, "LIMIT") == 0)
            return atoi(search->element[i + 2]->str);
    return -1;
}

static void say_rows(part *p, const redisReply *search, sc_buf *out)
{
    int asked = rows_asked(search), found = atomic_load(&p->expired);
    int rows = found < asked ? found : asked;

    unsigned turn = atomic_load(&p->searches) - 1;
    if (turn < sizeof p->rows / sizeof p->rows[0])
        atomic_store(&p->rows[turn], asked);
    usleep((useconds_t)atomic_load(&p->search_ms) * 1000);
    sc_buf_printf(out, "*%d\r\n:%d\r\n", 1 + 2 * rows, rows);
    for (int i = 0; i < rows; i++)
        say(out, "$1\r\nk\r\n$-1\r\n");
}

static void answer_sanely(part *p, const redisReply *command, sc_buf *out)
{
    if (sc_test_peer_is(command, "HMGET")) {
        say_absent(command, out);
    } else if (sc_test_peer_is(command, "FT.SEARCH")) {
        say_rows(p, command, out);
    } else if (sc_test_peer_is(command, "FT.INFO")) {
        say(out, "-ERR not now\r\n");
    } else if (sc_test_peer_is(command, "SCAN")) {
        say(out, "*2\r\n$1\r\n0\r\n*0\r\n");
    } else if (sc_test_peer_is(command, "EXEC")) {
        say(out, "*2\r\n:1\r\n:1\r\n");
    } else {
        say(out, "+OK\r\n");
    }
}

static sc_test_peer_then garble(sc_buf *out)
{
    static const char *const odd[] = {
        ":5\r\n",   "$-1\r\n",        "*-1\r\n",   "+\r\n",      "-\r\n",    "*0\r\n",
        "*1\r\n:3\r\n", "$0\r\n\r\n", "_\r\n",     "*2\r\n*0\r\n*0\r\n",     "$5\r\nab",
        "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nx\r\n",
        "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n",
        "*3\r\n:1\r\n$1\r\nk\r\n*2\r\n$1\r\nd\r\n$3\r\n0.1\r\n", "*1000000\r\n", "OK\r\n"};
    enum { ODD = sizeof odd / sizeof odd[0] };
    int64_t what = sc_random_between(0, ODD + 3);

    if (what < ODD) {
        say(out, odd[what]);
    } else if (what < ODD + 3) {
        for (int64_t i = sc_random_between(1, 64); i > 0; i--)
            sc_buf_byte(out, (char)sc_random_between(0, 255));
    }
    return what == ODD + 3 ? SC_PEER_CUT : SC_PEER_GO_ON;
}

static bool cuts_once(part *p, const redisReply *command)
{
    return (sc_test_peer_is(command, "HMGET") && atomic_exchange(&p->cut_get, false)) ||
           (sc_test_peer_is(command, "FT.SEARCH") && atomic_exchange(&p->cut_search, false));
}

static sc_test_peer_then play(void *context, const redisReply *command, sc_buf *out)
{
    part *p = context;
    int   manner = atomic_load(&p->manner);

    if (sc_test_peer_is(command, "HMGET"))
        atomic_fetch_add(&p->gets, 1);
    if (sc_test_peer_is(command, "FT.SEARCH"))
        atomic_fetch_add(&p->searches, 1);
    if (manner == GARBLES)
        return garble(out);
    if (cuts_once(p, command))
        return SC_PEER_CUT;
    if (manner == FAILS && sc_test_peer_is(command, "HMGET"))
        say(out, "-ERR of no use today\r\n");
    else
        answer_sanely(p, command, out);
    return SC_PEER_GO_ON;
}

static sc_redis_options options_for(const char *url)
{
    return (sc_redis_options){
        .url = url,
        .cache_namespace = "test",
        .hnsw_m = 16,
        .ef_construction = 64,
        .ef_runtime = 50,
        .timeout_ms = 1000,
        .search_wait_ms = 1000,
        .calls_max = 64,
        .waiting_entries_max = 16,
        .waiting_bytes_max = 1 << 20,
        .dim = DIM,
        .embedding_model = "test-model",
    };
}

static sc_store *open_store(const sc_redis_options *options, const sc_store_feed *feed)
{
    sc_store *store;
    sc_error  error = {0};
    if (sc_redis_open(options, feed, &store, &error) != SC_OK)
        fail_msg("%s", error.text);
    return store;
}

static sc_store_info look(sc_store *store)
{
    sc_store_info info;
    store->ops->look(store, &info);
    return info;
}

static sc_status get(sc_store *store)
{
    sc_digest id = {{1}};
    sc_entry *found;
    sc_status status = sc_test_get(store, &id, &found);
    assert_null(found);
    return status;
}

static sc_status search(sc_store *store)
{
    float           vector[DIM] = {1};
    sc_store_search call = {.vector = vector, .k = 3};
    sc_status       status = sc_test_search(store, &call);
    assert_int_equal(call.found_count, 0);
    return status;
}

/* A Redis that answers every question with an error would be asked by each request all the same, and
 * one that recovered would never be asked again. */
static void the_breaker_opens_probes_and_closes(void **state)
{
    part             p = {.manner = FAILS};
    sc_test_peer    *peer = sc_test_peer_start(play, &p);
    sc_redis_options options = options_for(sc_test_peer_url(peer));
    sc_store        *store = open_store(&options, NULL);
    (void)state;

    SC_TEST_UNTIL(look(store).connected);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(look(store).breaker_state, SC_BREAKER_CLOSED);
        assert_int_equal(get(store), SC_UNAVAILABLE);
    }
    assert_int_equal(look(store).breaker_state, SC_BREAKER_OPEN);
    assert_int_equal(look(store).breaker_opened, 1);
    assert_true(look(store).connected);
    /* Refused without a word to Redis; one probe after a while, which fails. */
    assert_int_equal(get(store), SC_UNAVAILABLE);
    assert_int_equal(search(store), SC_UNAVAILABLE);
    assert_int_equal(atomic_load(&p.gets), 5);
    assert_int_equal(atomic_load(&p.searches), 0);
    SC_TEST_UNTIL(get(store) == SC_UNAVAILABLE && atomic_load(&p.gets) == 6);
    assert_int_equal(look(store).breaker_state, SC_BREAKER_OPEN);
    assert_int_equal(look(store).breaker_opened, 2);
    assert_int_equal(get(store), SC_UNAVAILABLE);
    assert_int_equal(atomic_load(&p.gets), 6);
    /* The next one succeeds. */
    atomic_store(&p.manner, SANE);
    SC_TEST_UNTIL(get(store) == SC_OK);
    assert_int_equal(look(store).breaker_state, SC_BREAKER_CLOSED);
    assert_int_equal(search(store), SC_OK);
    assert_int_equal(look(store).breaker_opened, 2);
    sc_test_close(store);
    sc_test_peer_stop(peer);
}

/* RediSearch ends a search that takes too long with what it has, without saying so. */
static void a_search_that_used_up_its_time_and_found_nothing_timed_out(void **state)
{
    part             p = {.search_ms = 850};
    sc_test_peer    *peer = sc_test_peer_start(play, &p);
    sc_redis_options options = options_for(sc_test_peer_url(peer));
    sc_store        *store = open_store(&options, NULL);
    (void)state;

    SC_TEST_UNTIL(look(store).connected);
    uint64_t failures = look(store).failures;
    assert_int_equal(search(store), SC_TIMEOUT);
    assert_int_equal(look(store).failures, failures + 1);
    atomic_store(&p.search_ms, 0);
    assert_int_equal(search(store), SC_OK);
    sc_test_close(store);
    sc_test_peer_stop(peer);
}

/* Each row costs Redis and us; the second round trip is for when the first row is of no use, and a
 * third is for nobody: a Redis full of expired entries must not be asked for ever. */
static void the_nearest_is_asked_for_first_and_more_once_if_it_has_expired(void **state)
{
    part             p = {0};
    sc_test_peer    *peer = sc_test_peer_start(play, &p);
    sc_redis_options options = options_for(sc_test_peer_url(peer));
    sc_store        *store = open_store(&options, NULL);
    float            vector[DIM] = {1};
    sc_store_search  call = {.vector = vector, .k = 3, .wanted = 1};
    (void)state;

    SC_TEST_UNTIL(look(store).connected);
    assert_int_equal(sc_test_search(store, &call), SC_OK);
    assert_int_equal(atomic_load(&p.searches), 1);
    assert_int_equal(atomic_load(&p.rows[0]), 1);
    atomic_store(&p.expired, 100);
    assert_int_equal(sc_test_search(store, &call), SC_OK);
    assert_int_equal(call.found_count, 0);
    assert_int_equal(atomic_load(&p.searches), 3);
    assert_int_equal(atomic_load(&p.rows[1]), 1);
    assert_int_equal(atomic_load(&p.rows[2]), 8);
    sc_test_close(store);
    /* Where expired entries are kept on, the nearest often is one. */
    options.stale_seconds = 60;
    store = open_store(&options, NULL);
    SC_TEST_UNTIL(look(store).connected);
    assert_int_equal(sc_test_search(store, &call), SC_OK);
    assert_int_equal(atomic_load(&p.searches), 4);
    assert_int_equal(atomic_load(&p.rows[3]), 8);
    sc_test_close(store);
    sc_test_peer_stop(peer);
}

/* Bytes that are no replies, replies to other questions, and cut connections: no entry comes of it,
 * each call ends, and all is well when the peer is. */
static void nonsense_is_never_taken_for_an_entry(void **state)
{
    enum { ROUNDS = 150 };
    part             p = {.manner = SANE};
    sc_test_peer    *peer = sc_test_peer_start(play, &p);
    sc_redis_options options = options_for(sc_test_peer_url(peer));
    sc_test_memory   memory;
    float            vector[DIM] = {1};
    (void)state;

    sc_test_memory_init(&memory);
    sc_store_feed feed = sc_test_memory_feed(&memory);
    options.timeout_ms = 50;
    sc_store *store = open_store(&options, &feed);
    /* A connection that is up has more to lose: greetings alone could fail all through the test. */
    SC_TEST_UNTIL(look(store).connected);
    atomic_store(&p.manner, GARBLES);
    for (unsigned i = 0; i < ROUNDS; i++) {
        sc_digest           id = {{(uint8_t)i}};
        bool                fresh = true;
        sc_entry           *entry = sc_test_entry(i);
        sc_store_invalidate call = {.filter = {.any_tenant = true, .ids = &id, .ids_count = 1}};
        get(store);
        search(store);
        sc_test_verify(store, &id, 7, &fresh);
        assert_false(fresh);
        sc_test_put(store, entry, vector);
        sc_test_invalidate(store, &call);
        sc_entry_unref(entry);
        usleep(2000);
    }
    assert_int_equal(sc_test_memory_count(&memory), 0);
    /* A million elements may have been announced last; sane replies would be taken for them. */
    atomic_store(&p.cut_get, true);
    atomic_store(&p.cut_search, true);
    atomic_store(&p.manner, SANE);
    SC_TEST_UNTIL(get(store) == SC_OK && search(store) == SC_OK);
    assert_true(look(store).reconnects >= 1);
    sc_test_close(store);
    sc_test_memory_fini(&memory);
    sc_test_peer_stop(peer);
}

static bool open_and_close(void *context)
{
    const sc_redis_options *options = context;
    sc_store_feed           feed = {0};
    sc_store               *store;
    sc_error                error = {0};
    sc_test_memory          memory;

    sc_test_memory_init(&memory);
    feed = sc_test_memory_feed(&memory);
    sc_status status = sc_redis_open(options, &feed, &store, &error);
    if (status == SC_OK) {
        sc_test_close(store);
    } else {
        assert_null(store);
        assert_int_equal(status, SC_NO_MEMORY);
        assert_true(error.text[0] != '\0');
    }
    sc_test_memory_fini(&memory);
    return status == SC_OK;
}

static void opening_survives_each_failing_allocation(void **state)
{
    sc_redis_options options = options_for("redis://user:word@127.0.0.1:1/0");
    (void)state;
    /* The store and its four connections. */
    assert_true(sc_fail_malloc_each(open_and_close, &options) >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_breaker_opens_probes_and_closes),
        cmocka_unit_test(a_search_that_used_up_its_time_and_found_nothing_timed_out),
        cmocka_unit_test(the_nearest_is_asked_for_first_and_more_once_if_it_has_expired),
        cmocka_unit_test(nonsense_is_never_taken_for_an_entry),
        cmocka_unit_test(opening_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
