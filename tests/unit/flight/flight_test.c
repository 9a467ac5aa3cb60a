/* What does the work here is a counter; what waits, a number. */
#include "src/flight/flight.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"

typedef struct {
    sc_flight flight;
    int       published;
} work;

typedef struct {
    sc_waiter  waiter;
    int        number;
    atomic_int taken, left;
} caller;

static atomic_int made, released;
static bool       refuse_to_make;

static sc_flight *make(void *context, sc_waiter *first)
{
    assert_non_null(first);
    (void)context;
    work *w = refuse_to_make ? NULL : calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    atomic_fetch_add(&made, 1);
    return &w->flight;
}

static void release(sc_flight *flight)
{
    atomic_fetch_add(&released, 1);
    free(SC_CONTAINER(flight, work, flight));
}

static sc_flights *open_flights(void)
{
    sc_flights        *flights = NULL;
    sc_flights_options options = {NULL, make, release};
    atomic_store(&made, 0);
    atomic_store(&released, 0);
    refuse_to_make = false;
    assert_int_equal(sc_flights_open(&options, &flights), SC_OK);
    return flights;
}

/* Every flight that was made has been released, and the module says so. */
static void close_flights(sc_flights *flights)
{
    assert_int_equal(sc_flights_count(flights), 0);
    assert_int_equal(atomic_load(&made), atomic_load(&released));
    sc_flights_close(flights);
}

static sc_digest key_of(unsigned number)
{
    return sc_sha256(&number, sizeof number);
}

static sc_flight *join(sc_flights *flights, unsigned key_number, caller *c, bool *first)
{
    sc_digest  key = key_of(key_number);
    sc_flight *flight = NULL;
    assert_int_equal(sc_flights_join(flights, &key, &c->waiter, &flight, first), SC_OK);
    assert_non_null(flight);
    return flight;
}

static size_t count(const sc_link *list)
{
    size_t n = 0;
    SC_LIST_EACH (link, list)
        n++;
    return n;
}

static void take_all(sc_flights *flights, sc_flight *flight, size_t expected)
{
    sc_link all;
    sc_list_init(&all);
    assert_int_equal(sc_flights_take(flights, flight, NULL, NULL, &all), 0);
    assert_int_equal(count(&all), expected);
}

static void the_first_makes_the_flight_and_the_others_join_it(void **state)
{
    (void)state;
    sc_flights *flights = open_flights();
    caller      a = {0}, b = {0}, other = {0};
    bool        first;
    sc_flight  *flight = join(flights, 1, &a, &first);
    assert_true(first);
    assert_ptr_equal(join(flights, 1, &b, &first), flight);
    assert_false(first);
    sc_flight *another = join(flights, 2, &other, &first);
    assert_true(first);
    assert_ptr_not_equal(another, flight);
    assert_int_equal(sc_flights_count(flights), 2);

    take_all(flights, flight, 2);
    take_all(flights, another, 1);
    assert_int_equal(atomic_load(&released), 0);
    sc_flight_unref(flights, flight);
    sc_flight_unref(flights, flight);
    sc_flight_unref(flights, another);
    close_flights(flights);
}

/* Otherwise a caller could be put on a flight that nobody works on, and wait for ever. */
static void nobody_joins_a_flight_that_was_emptied(void **state)
{
    (void)state;
    sc_flights *flights = open_flights();
    caller      a = {0}, b = {0};
    bool        first;
    sc_flight  *flight = join(flights, 1, &a, &first);
    take_all(flights, flight, 1);
    assert_true(atomic_load(&flight->landed));
    sc_flight *next = join(flights, 1, &b, &first);
    assert_true(first);
    assert_ptr_not_equal(next, flight);

    /* The old one's end does not take the new one's place away. */
    take_all(flights, flight, 0);
    sc_flight_unref(flights, flight);
    caller     c = {0};
    sc_flight *same = join(flights, 1, &c, &first);
    assert_false(first);
    assert_ptr_equal(same, next);
    take_all(flights, next, 2);
    sc_flight_unref(flights, next);
    sc_flight_unref(flights, next);
    close_flights(flights);
}

static void leaving_tells_the_last_from_the_others(void **state)
{
    (void)state;
    sc_flights *flights = open_flights();
    caller      a = {0}, b = {0};
    bool        first;
    sc_flight  *flight = join(flights, 1, &a, &first), *abandoned;
    join(flights, 1, &b, &first);
    sc_flight_unref(flights, flight); /* b's */

    assert_int_equal(sc_flights_leave(flights, &a.waiter, &abandoned), SC_LEFT);
    assert_null(abandoned);
    assert_false(atomic_load(&flight->landed));
    assert_int_equal(sc_flights_leave(flights, &a.waiter, &abandoned), SC_LEFT_NOT);
    assert_int_equal(sc_flights_leave(flights, &b.waiter, &abandoned), SC_LEFT_LAST);
    assert_ptr_equal(abandoned, flight);
    assert_true(atomic_load(&flight->landed));
    assert_int_equal(sc_flights_leave(flights, &b.waiter, &abandoned), SC_LEFT_NOT);
    assert_null(abandoned);

    sc_flight_unref(flights, flight); /* leave's */
    assert_int_equal(atomic_load(&released), 0);
    sc_flight_unref(flights, flight); /* the work's */
    assert_int_equal(atomic_load(&released), 1);
    /* Its memory is gone; who was on it may still ask. */
    assert_int_equal(sc_flights_leave(flights, &a.waiter, &abandoned), SC_LEFT_NOT);
    close_flights(flights);
}

static bool is_even(sc_waiter *waiter, void *context)
{
    ++*(int *)context;
    return SC_CONTAINER(waiter, caller, waiter)->number % 2 == 0;
}

static void some_are_taken_and_the_others_wait_on(void **state)
{
    (void)state;
    sc_flights *flights = open_flights();
    caller      callers[5] = {{.number = 0}};
    sc_flight  *flight = NULL, *abandoned;
    bool        first;
    for (int i = 0; i < 5; i++) {
        callers[i].number = i;
        flight = join(flights, 1, &callers[i], &first);
    }
    int     asked = 0;
    sc_link even;
    sc_list_init(&even);
    assert_int_equal(sc_flights_take(flights, flight, is_even, &asked, &even), 2);
    assert_int_equal(asked, 5);
    assert_int_equal(count(&even), 3);
    /* In order of arrival. */
    assert_ptr_equal(even.next, &callers[0].waiter.link);
    assert_false(atomic_load(&flight->landed));
    assert_int_equal(sc_flights_leave(flights, &callers[2].waiter, &abandoned), SC_LEFT_NOT);
    assert_int_equal(sc_flights_leave(flights, &callers[1].waiter, &abandoned), SC_LEFT);
    take_all(flights, flight, 1);
    assert_true(atomic_load(&flight->landed));
    for (int i = 0; i < 5; i++)
        sc_flight_unref(flights, flight);
    close_flights(flights);
}

static void set_published(void *context)
{
    ((work *)context)->published++;
}

static void publish_runs_the_change(void **state)
{
    (void)state;
    sc_flights *flights = open_flights();
    caller      a = {0};
    bool        first;
    sc_flight  *flight = join(flights, 1, &a, &first);
    work       *w = SC_CONTAINER(flight, work, flight);
    sc_flights_publish(flights, flight, set_published, w);
    assert_int_equal(w->published, 1);
    take_all(flights, flight, 1);
    sc_flight_unref(flights, flight);
    close_flights(flights);
}

static void without_memory_the_caller_waits_for_nothing(void **state)
{
    (void)state;
    sc_flights *flights = open_flights();
    caller      a = {0};
    sc_flight  *flight = (sc_flight *)&a, *abandoned;
    bool        first;
    sc_digest   key = key_of(1);
    refuse_to_make = true;
    assert_int_equal(sc_flights_join(flights, &key, &a.waiter, &flight, &first), SC_NO_MEMORY);
    assert_null(flight);
    assert_null(a.waiter.flight);
    refuse_to_make = false;
    flight = join(flights, 1, &a, &first);
    assert_true(first);
    assert_int_equal(sc_flights_leave(flights, &a.waiter, &abandoned), SC_LEFT_LAST);
    sc_flight_unref(flights, flight);
    sc_flight_unref(flights, flight);
    close_flights(flights);
}

static bool fly(void *context)
{
    (void)context;
    sc_flights        *flights = NULL;
    sc_flights_options options = {NULL, make, release};
    caller             a = {0};
    sc_flight         *flight = NULL;
    bool               first;
    sc_digest          key = key_of(1);
    atomic_store(&made, 0);
    atomic_store(&released, 0);
    if (sc_flights_open(&options, &flights) != SC_OK) {
        assert_null(flights);
        return false;
    }
    sc_status joined = sc_flights_join(flights, &key, &a.waiter, &flight, &first);
    if (joined == SC_OK) {
        take_all(flights, flight, 1);
        sc_flight_unref(flights, flight);
    } else {
        assert_null(flight);
        assert_null(a.waiter.flight);
    }
    close_flights(flights);
    return joined == SC_OK;
}

/* The table of flights, the flight, and its slot in the table. */
static void a_failed_allocation_leaves_things_as_they_were(void **state)
{
    (void)state;
    assert_int_equal(sc_fail_malloc_each(fly, NULL), 3);
}

/* ---- many threads: each caller ends once, each flight is released once ---------------------- */

enum { THREADS = 8, ROUNDS = 4000, KEYS = 3 };

static sc_flights *shared;

static void finish(sc_link *all)
{
    for (sc_link *link; (link = sc_list_pop_front(all)) != NULL;) {
        sc_waiter *waiter = SC_CONTAINER(link, sc_waiter, link);
        atomic_fetch_add(&SC_CONTAINER(waiter, caller, waiter)->taken, 1);
    }
}

static void end_work(sc_flight *flight)
{
    sc_link all;
    sc_list_init(&all);
    sc_flights_take(shared, flight, NULL, NULL, &all);
    finish(&all);
    sc_flight_unref(shared, flight);
}

static bool try_to_leave(caller *c)
{
    sc_flight *abandoned;
    sc_leave   left = sc_flights_leave(shared, &c->waiter, &abandoned);
    if (left == SC_LEFT_LAST)
        sc_flight_unref(shared, abandoned);
    if (left != SC_LEFT_NOT)
        atomic_fetch_add(&c->left, 1);
    return left != SC_LEFT_NOT;
}

static void *ask_and_leave(void *argument)
{
    unsigned  random = (unsigned)(uintptr_t)argument * 2654435761U + 1;
    uintptr_t wrong = 0;
    for (int i = 0; i < ROUNDS; i++) {
        caller     c = {0};
        sc_flight *flight;
        bool       first;
        random = random * 1664525U + 1013904223U;
        sc_digest key = key_of((random >> 16) % KEYS);
        if (sc_flights_join(shared, &key, &c.waiter, &flight, &first) != SC_OK)
            abort();
        if (random >> 31)
            try_to_leave(&c);
        if (first)
            end_work(flight);
        else
            sc_flight_unref(shared, flight);
        while (atomic_load(&c.taken) + atomic_load(&c.left) == 0)
            if (random >> 24 & 1)
                try_to_leave(&c);
            else
                sched_yield();
        /* Taken off under the lock, so a late leave finds nothing: once is once. */
        wrong += try_to_leave(&c);
        wrong += atomic_load(&c.taken) + atomic_load(&c.left) != 1;
    }
    return (void *)wrong;
}

static void under_many_threads_each_caller_ends_once(void **state)
{
    (void)state;
    shared = open_flights();
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_and_leave, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_true(atomic_load(&made) > 0);
    close_flights(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_makes_the_flight_and_the_others_join_it),
        cmocka_unit_test(nobody_joins_a_flight_that_was_emptied),
        cmocka_unit_test(leaving_tells_the_last_from_the_others),
        cmocka_unit_test(some_are_taken_and_the_others_wait_on),
        cmocka_unit_test(publish_runs_the_change),
        cmocka_unit_test(without_memory_the_caller_waits_for_nothing),
        cmocka_unit_test(a_failed_allocation_leaves_things_as_they_were),
        cmocka_unit_test(under_many_threads_each_caller_ends_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
