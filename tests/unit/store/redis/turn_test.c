/* More searches at a time than Redis has time for: who waits, who is refused, who is not asked about. */
#include <limits.h>
#include <stdatomic.h>
#include <unistd.h>

#include "src/base/breaker.h"
#include "src/store/redis/redis.h"
#include "tests/support/cmocka.h"
#include "tests/support/store/peer.h"
#include "tests/support/store/store.h"

/* FLYING: how many Redis has at a time. Time limits that are not the test's subject are LONG. */
enum { DIM = 8, MANY = 200, FLYING = 32, LONG_MS = 60000 };

/* A Redis that finds nothing, and takes its time to. */
typedef struct {
    atomic_uint searches, ending; /* begun; so many of them may end */
} slow;

static void say(sc_buf *out, const char *bytes)
{
    sc_buf_str(out, sc_str_of(bytes));
}

static void search_slowly(slow *s, sc_buf *out)
{
    unsigned number = atomic_fetch_add(&s->searches, 1);
    while (number >= atomic_load(&s->ending))
        usleep(1000);
    say(out, "*1\r\n:0\r\n");
}

static sc_test_peer_then play(void *context, const redisReply *command, sc_buf *out)
{
    if (sc_test_peer_is(command, "FT.SEARCH"))
        search_slowly(context, out);
    else if (sc_test_peer_is(command, "FT.INFO"))
        say(out, "-ERR not now\r\n");
    else
        say(out, "+OK\r\n");
    return SC_PEER_GO_ON;
}

typedef struct {
    sc_test_peer *peer;
    sc_store     *store;
    slow          s;
} bench;

static sc_store_info look(const bench *on)
{
    sc_store_info info;
    on->store->ops->look(on->store, &info);
    return info;
}

static void set_up(bench *on, uint32_t timeout_ms, uint32_t wait_ms)
{
    sc_error error = {0};
    *on = (bench){0};
    on->peer = sc_test_peer_start(play, &on->s);
    sc_redis_options options = {
        .url = sc_test_peer_url(on->peer),
        .cache_namespace = "test",
        .hnsw_m = 16,
        .ef_construction = 64,
        .ef_runtime = 50,
        .timeout_ms = timeout_ms,
        .search_wait_ms = wait_ms,
        .calls_max = 1024,
        .dim = DIM,
        .embedding_model = "test-model",
    };
    if (sc_redis_open(&options, NULL, &on->store, &error) != SC_OK)
        fail_msg("%s", error.text);
    SC_TEST_UNTIL(look(on).connected);
}

static void tear_down(bench *on)
{
    sc_test_close(on->store);
    sc_test_peer_stop(on->peer);
}

static const float vector[DIM] = {1};

typedef struct {
    sc_store_search search;
    atomic_int      left; /* 1: not back yet */
} asked;

static void came_back(sc_store_call *call)
{
    atomic_store(&SC_CONTAINER(SC_CONTAINER(call, sc_store_search, call), asked, search)->left, 0);
}

static void ask(const bench *on, asked *a, size_t count, const atomic_bool *moot)
{
    for (size_t i = 0; i < count; i++) {
        a[i].search = (sc_store_search){
            .call = {.deadline = sc_instant_after_ms(sc_now(), LONG_MS), .done = came_back},
            .vector = vector,
            .k = 5,
            .wanted = 1,
            .moot = moot};
        atomic_store(&a[i].left, 1);
        on->store->ops->search(on->store, &a[i].search);
    }
}

static bool all_back(asked *a, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (atomic_load(&a[i].left) != 0)
            return false;
    return true;
}

/* Of those that are back. */
static size_t ended_with(asked *a, size_t count, sc_status status)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += atomic_load(&a[i].left) == 0 && a[i].search.call.status == status;
    return found;
}

static bool finds(const bench *on)
{
    sc_store_search search = {.vector = vector, .k = 5};
    return sc_test_search(on->store, &search) == SC_OK;
}

/* A burst whose queue is longer than REDIS_TIMEOUT_MS, at a Redis that answers all the while: taken one
 * by one for dead, all but the first would be asked of the LLM, and paid for. A machine that stands
 * still for a second makes Redis silent indeed; it is given another chance. */
static void a_burst_waits_as_long_as_redis_answers(void **state)
{
    enum { TIMEOUT_MS = 3000, STEP_MS = 500, TRIES = 5 };
    bool waited = false;
    (void)state;

    for (int i = 0; i < TRIES && !waited; i++) {
        bench on;
        asked a[MANY];
        set_up(&on, TIMEOUT_MS, LONG_MS);
        ask(&on, a, MANY, NULL);
        for (unsigned ending = FLYING; !all_back(a, MANY); ending += FLYING) {
            usleep(STEP_MS * 1000);
            atomic_store(&on.s.ending, ending);
        }
        waited = ended_with(a, MANY, SC_OK) == MANY;
        assert_int_equal(look(&on).searches_refused, 0);
        tear_down(&on);
    }
    assert_true(waited);
}

/* More than Redis can do, for longer than anyone should wait: the excess is refused, the others are
 * served, and Redis works for nobody who has gone. */
static void the_excess_is_refused_and_the_others_are_served(void **state)
{
    enum { WAIT_MS = 50 };
    bench on;
    asked a[MANY];
    (void)state;

    set_up(&on, LONG_MS, WAIT_MS);
    ask(&on, a, MANY, NULL);
    usleep(2 * WAIT_MS * 1000);
    atomic_store(&on.s.ending, UINT_MAX);
    SC_TEST_UNTIL(all_back(a, MANY));
    assert_int_equal(ended_with(a, MANY, SC_OK), FLYING);
    assert_int_equal(ended_with(a, MANY, SC_BUSY), MANY - FLYING);
    assert_int_equal(atomic_load(&on.s.searches), FLYING);
    SC_TEST_UNTIL(look(&on).searches_refused == MANY - FLYING);
    assert_int_equal(look(&on).breaker_state, SC_BREAKER_CLOSED);
    /* How slow it is, is known now: who would wait too long is told so before anything is answered. */
    atomic_store(&on.s.ending, 0);
    ask(&on, a, MANY, NULL);
    SC_TEST_UNTIL(ended_with(a, MANY, SC_BUSY) > 0);
    atomic_store(&on.s.ending, UINT_MAX);
    SC_TEST_UNTIL(all_back(a, MANY));
    assert_true(ended_with(a, MANY, SC_OK) >= FLYING);
    tear_down(&on);
}

/* Callers give up sooner than we do, and an exact hit may have answered: nobody would use it. */
static void what_nobody_waits_for_is_not_asked(void **state)
{
    bench       on;
    asked       a[MANY];
    atomic_bool moot = false;
    (void)state;

    set_up(&on, LONG_MS, LONG_MS);
    ask(&on, a, FLYING, NULL);
    ask(&on, a + FLYING, MANY - FLYING, &moot);
    atomic_store(&moot, true);
    atomic_store(&on.s.ending, UINT_MAX);
    SC_TEST_UNTIL(all_back(a, MANY));
    assert_int_equal(ended_with(a, FLYING, SC_OK), FLYING);
    assert_int_equal(ended_with(a, MANY, SC_CANCELLED), MANY - FLYING);
    assert_int_equal(atomic_load(&on.s.searches), FLYING);
    tear_down(&on);
}

/* Silence is no queue: those who wait go on without Redis when their time is over, like those whom it
 * has, and Redis is asked again when it is back. */
static void a_redis_that_falls_silent_keeps_nobody_waiting(void **state)
{
    bench on;
    asked a[MANY];
    (void)state;

    set_up(&on, 200, LONG_MS);
    ask(&on, a, MANY, NULL);
    SC_TEST_UNTIL(all_back(a, MANY));
    assert_int_equal(ended_with(a, MANY, SC_OK), 0);
    assert_int_equal(look(&on).breaker_state, SC_BREAKER_OPEN);
    atomic_store(&on.s.ending, UINT_MAX);
    SC_TEST_UNTIL(finds(&on));
    tear_down(&on);
}

static void closing_ends_those_that_wait(void **state)
{
    bench on;
    asked a[MANY];
    (void)state;

    set_up(&on, LONG_MS, LONG_MS);
    ask(&on, a, MANY, NULL);
    SC_TEST_UNTIL(atomic_load(&on.s.searches) != 0);
    on.store->ops->close(on.store, sc_now());
    assert_true(all_back(a, MANY));
    assert_int_equal(ended_with(a, MANY, SC_CANCELLED), MANY);
    atomic_store(&on.s.ending, UINT_MAX);
    sc_test_peer_stop(on.peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_waits_as_long_as_redis_answers),
        cmocka_unit_test(the_excess_is_refused_and_the_others_are_served),
        cmocka_unit_test(what_nobody_waits_for_is_not_asked),
        cmocka_unit_test(a_redis_that_falls_silent_keeps_nobody_waiting),
        cmocka_unit_test(closing_ends_those_that_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
