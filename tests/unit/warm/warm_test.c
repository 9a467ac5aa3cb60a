#include "src/warm/warm.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"
#include "tests/unit/warm/warm_support.h"

enum { DIM = 32, K = 5 };

static const sc_wall now = {1000};

static sc_warm *open_warm(size_t bytes_max)
{
    sc_warm_options options = {.dim = DIM, .bytes_max = bytes_max};
    sc_warm        *warm;
    assert_int_equal(sc_warm_open(&options, &warm), SC_OK);
    return warm;
}

static sc_warm_stats look(sc_warm *warm)
{
    sc_warm_stats stats;
    sc_warm_look(warm, &stats);
    return stats;
}

/* Direction number n, always the same. */
static void direction(uint64_t n, float *vector)
{
    sc_test_random random = {n * 7919 + 1};
    sc_test_direction(&random, vector, DIM);
}

/* Puts an entry whose vector is direction n, and keeps no reference. */
static sc_status put_entry(sc_warm *warm, sc_entry *entry, uint64_t n)
{
    float vector[DIM];
    direction(n, vector);
    sc_status status = sc_warm_put(warm, entry, vector);
    sc_entry_unref(entry);
    return status;
}

static void put(sc_warm *warm, uint64_t n, uint64_t scope)
{
    assert_int_equal(put_entry(warm, sc_test_entry(n, scope, 0), n), SC_OK);
}

static bool has(sc_warm *warm, uint64_t n)
{
    sc_digest id = sc_test_digest("id", n);
    return sc_warm_version(warm, &id) != 0;
}

static sc_entry *exact(sc_warm *warm, uint64_t n, sc_wall at)
{
    sc_digest id = sc_test_digest("id", n);
    return sc_warm_exact(warm, &id, at);
}

static bool take(sc_warm *warm, uint64_t n, uint64_t version)
{
    sc_digest id = sc_test_digest("id", n);
    return sc_warm_remove(warm, &id, version);
}

/* The answer to a question in direction n. */
typedef struct {
    float         vector[DIM];
    sc_candidate  hits[K];
    sc_warm_query query;
} question;

static void ask_at(sc_warm *warm, uint64_t n, uint64_t scope, uint64_t guard, sc_wall at,
                   question *q)
{
    sc_digest id = sc_test_digest("scope", scope);
    direction(n, q->vector);
    q->query = (sc_warm_query){.vector = q->vector, .guard = guard, .hits = q->hits, .k = K};
    sc_warm_search(warm, &id, at, &q->query, 1);
}

static void ask(sc_warm *warm, uint64_t n, uint64_t scope, uint64_t guard, question *q)
{
    ask_at(warm, n, scope, guard, now, q);
}

static void drop(question *q)
{
    sc_candidates_unref(q->query.hits, q->query.hits_used);
    sc_entry_unref(q->query.refused.entry);
}

static bool is(const sc_entry *entry, uint64_t n)
{
    sc_digest id = sc_test_digest("id", n);
    return entry != NULL && sc_digest_equal(&entry->f.id, &id);
}

static void an_entry_is_found_by_key_and_by_meaning(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(1 << 20);
    put(warm, 1, 1);
    put(warm, 2, 1);
    sc_entry *entry = exact(warm, 2, now);
    assert_true(is(entry, 2));
    sc_entry_unref(entry);
    assert_null(exact(warm, 3, now));
    question q;
    ask(warm, 1, 1, 0, &q);
    assert_int_equal(q.query.hits_used, 2);
    assert_true(is(q.hits[0].entry, 1));
    assert_true(is(q.hits[1].entry, 2));
    assert_true(q.hits[0].distance < 1e-6f && q.hits[1].distance > 0.1f);
    assert_null(q.query.refused.entry);
    drop(&q);
    sc_warm_close(warm);
}

static void an_entry_without_vector_is_found_by_key_only(void **state)
{
    (void)state;
    sc_warm  *warm = open_warm(1 << 20);
    sc_entry *entry = sc_test_entry(1, 1, 0);
    assert_int_equal(sc_warm_put(warm, entry, NULL), SC_OK);
    sc_entry_unref(entry);
    entry = exact(warm, 1, now);
    assert_true(is(entry, 1));
    sc_entry_unref(entry);
    question q;
    ask(warm, 1, 1, 0, &q);
    assert_int_equal(q.query.hits_used, 0);
    assert_int_equal(look(warm).scopes, 0);
    sc_warm_close(warm);
}

/* Whoever asks would search a large scope on a thread that must not be held up. */
static void rows_of_a_scope_are_counted_as_they_come_and_go(void **state)
{
    (void)state;
    sc_warm  *warm = open_warm(1 << 20);
    sc_digest mine = sc_test_digest("scope", 1), other = sc_test_digest("scope", 2);
    put(warm, 1, 1);
    put(warm, 2, 1);
    put(warm, 3, 2);
    assert_int_equal(sc_warm_rows(warm, &mine), 2);
    assert_true(take(warm, 2, 0));
    assert_int_equal(sc_warm_rows(warm, &mine), 1);
    assert_int_equal(sc_warm_rows(warm, &other), 1);
    sc_warm_clear(warm);
    assert_int_equal(sc_warm_rows(warm, &mine), 0);
    sc_warm_close(warm);
}

/* A hit in a reply on its way out must survive everything that happens to the set. */
static void hits_outlive_the_set(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(1 << 20);
    put(warm, 1, 1);
    question q;
    ask(warm, 1, 1, 0, &q);
    sc_warm_close(warm);
    assert_true(sc_str_equal(q.hits[0].entry->f.answer, SC_STR("an answer")));
    drop(&q);
}

/* After a refresh nobody may get the old answer, by any path. */
static void a_newer_entry_replaces_the_one_of_its_key(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(1 << 20);
    put(warm, 1, 1);
    size_t bytes = look(warm).bytes;
    assert_int_equal(put_entry(warm, sc_test_entry_of(1, 1, 0, 2, 1000000), 5), SC_OK);
    assert_int_equal(look(warm).entries, 1);
    assert_int_equal(look(warm).scopes, 1);
    assert_int_equal(look(warm).bytes, bytes);
    question q;
    ask(warm, 5, 1, 0, &q);
    assert_int_equal(q.query.hits_used, 1);
    assert_int_equal(q.hits[0].entry->f.version, 2);
    assert_true(q.hits[0].distance < 1e-6f);
    drop(&q);
    sc_warm_close(warm);
}

static void a_replacement_without_vector_takes_the_row_away(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(1 << 20);
    put(warm, 1, 1);
    sc_entry *entry = sc_test_entry_of(1, 1, 0, 2, 1000000);
    assert_int_equal(sc_warm_put(warm, entry, NULL), SC_OK);
    sc_entry_unref(entry);
    question q;
    ask(warm, 1, 1, 0, &q);
    assert_int_equal(q.query.hits_used, 0);
    assert_int_equal(look(warm).scopes, 0);
    sc_warm_close(warm);
}

/* A late message about an old version must not remove its successor. */
static void removal_of_an_old_version_spares_the_new_one(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(1 << 20);
    assert_int_equal(put_entry(warm, sc_test_entry_of(1, 1, 0, 7, 1000000), 1), SC_OK);
    assert_false(take(warm, 1, 6));
    assert_true(has(warm, 1));
    assert_true(take(warm, 1, 7));
    assert_false(take(warm, 1, 7));
    put(warm, 1, 1);
    assert_true(take(warm, 1, 0));
    assert_false(has(warm, 1));
    question q;
    ask(warm, 1, 1, 0, &q);
    assert_int_equal(q.query.hits_used, 0);
    assert_int_equal(look(warm).bytes, 0);
    sc_warm_close(warm);
}

static void clear_leaves_nothing(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(64 << 20);
    for (uint64_t n = 0; n < 1000; n++)
        put(warm, n, n % 10);
    sc_warm_clear(warm);
    sc_warm_stats stats = look(warm);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.scopes, 0);
    assert_int_equal(stats.bytes, 0);
    assert_false(has(warm, 3));
    put(warm, 3, 3);
    assert_true(has(warm, 3));
    sc_warm_close(warm);
}

static void expired_entries_are_passed_over(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(1 << 20);
    assert_int_equal(put_entry(warm, sc_test_entry_of(1, 1, 0, 1, 500), 1), SC_OK);
    assert_int_equal(put_entry(warm, sc_test_entry_of(2, 1, 9, 1, 500), 1), SC_OK);
    put(warm, 3, 1);
    assert_null(exact(warm, 1, (sc_wall){500}));
    sc_entry *entry = exact(warm, 1, (sc_wall){499});
    assert_true(is(entry, 1));
    sc_entry_unref(entry);
    question q;
    ask_at(warm, 1, 1, 0, (sc_wall){500}, &q);
    assert_int_equal(q.query.hits_used, 1);
    assert_true(is(q.hits[0].entry, 3));
    assert_null(q.query.refused.entry);
    drop(&q);
    ask_at(warm, 1, 1, 0, (sc_wall){499}, &q);
    assert_int_equal(q.query.hits_used, 2);
    drop(&q);
    sc_warm_close(warm);
}

/* "Status of order 1" must not answer "status of order 2", but the reply shall say why. */
static void another_guard_is_refused_and_told_when_nearest(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(1 << 20);
    assert_int_equal(put_entry(warm, sc_test_entry(1, 1, 111), 1), SC_OK);
    assert_int_equal(put_entry(warm, sc_test_entry(2, 1, 222), 2), SC_OK);
    question q;
    ask(warm, 1, 1, 222, &q);
    assert_int_equal(q.query.hits_used, 1);
    assert_true(is(q.hits[0].entry, 2));
    assert_true(is(q.query.refused.entry, 1));
    assert_true(q.query.refused.distance < 1e-6f);
    drop(&q);
    ask(warm, 1, 1, 111, &q);
    assert_true(is(q.hits[0].entry, 1));
    assert_null(q.query.refused.entry); /* farther than the hit: of no interest */
    drop(&q);
    ask(warm, 1, 1, 333, &q);
    assert_int_equal(q.query.hits_used, 0);
    assert_true(is(q.query.refused.entry, 1));
    drop(&q);
    sc_warm_close(warm);
}

/* Rule 1. Each scope holds the same directions; no question may ever see a neighbour's entry. */
static void scopes_never_see_each_other(void **state)
{
    (void)state;
    enum { SCOPES = 3000, EACH = 3 };
    sc_warm       *warm = open_warm(256 << 20);
    sc_test_random random = {17};
    for (uint64_t scope = 0; scope < SCOPES; scope++)
        for (uint64_t n = 0; n < EACH; n++)
            assert_int_equal(put_entry(warm, sc_test_entry(scope * EACH + n, scope, 0), n), SC_OK);
    assert_int_equal(look(warm).scopes, SCOPES);
    for (size_t i = 0; i < 2 * SCOPES; i++) {
        uint64_t scope = sc_test_next(&random) % (SCOPES + 100), n = sc_test_next(&random) % EACH;
        question q;
        ask(warm, n, scope, 0, &q);
        assert_int_equal(q.query.hits_used, scope < SCOPES ? EACH : 0);
        for (size_t h = 0; h < q.query.hits_used; h++) {
            sc_digest own = sc_test_digest("scope", scope);
            assert_true(sc_digest_equal(&q.hits[h].entry->f.scope, &own));
        }
        if (scope < SCOPES)
            assert_true(is(q.hits[0].entry, scope * EACH + n));
        drop(&q);
    }
    sc_warm_close(warm);
}

static void vectors_are_brought_to_unit_length(void **state)
{
    (void)state;
    sc_warm  *warm = open_warm(1 << 20);
    sc_entry *entry = sc_test_entry(1, 1, 0);
    float     vector[DIM];
    direction(1, vector);
    for (size_t i = 0; i < DIM; i++)
        vector[i] *= 250;
    assert_int_equal(sc_warm_put(warm, entry, vector), SC_OK);
    sc_entry_unref(entry);
    question q;
    ask(warm, 1, 1, 0, &q);
    assert_true(q.hits[0].distance < 1e-5f);
    drop(&q);
    sc_warm_close(warm);
}

static void vectors_without_direction_are_refused(void **state)
{
    (void)state;
    static const float bad[] = {0, NAN, INFINITY, -INFINITY, 3e38f};
    sc_warm           *warm = open_warm(1 << 20);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sc_entry *entry = sc_test_entry(i, 1, 0);
        float     vector[DIM] = {0};
        vector[DIM - 1] = bad[i];
        assert_int_equal(sc_warm_put(warm, entry, vector), SC_INVALID);
        sc_entry_unref(entry);
    }
    assert_int_equal(look(warm).bytes, 0);
    assert_int_equal(look(warm).entries, 0);
    sc_warm_close(warm);
}

/* What one entry without vector, alone, takes. */
static size_t bytes_of_one(void)
{
    sc_warm  *warm = open_warm(1 << 20);
    sc_entry *entry = sc_test_entry(0, 0, 0);
    assert_int_equal(sc_warm_put(warm, entry, NULL), SC_OK);
    sc_entry_unref(entry);
    size_t bytes = look(warm).bytes;
    sc_warm_close(warm);
    return bytes;
}

static void put_key(sc_warm *warm, uint64_t n)
{
    sc_entry *entry = sc_test_entry(n, 0, 0);
    assert_int_equal(sc_warm_put(warm, entry, NULL), SC_OK);
    sc_entry_unref(entry);
}

static void use(sc_warm *warm, uint64_t n)
{
    sc_digest id = sc_test_digest("id", n);
    sc_warm_used(warm, &id, now);
}

/* Exact over all shards: not "about the oldest", but the one that was used longest ago. */
static void the_least_recently_used_entry_leaves_first(void **state)
{
    (void)state;
    enum { FIT = 100 };
    sc_warm *warm = open_warm(FIT * bytes_of_one());
    for (uint64_t n = 0; n < FIT; n++)
        put_key(warm, n);
    for (uint64_t n = 0; n < FIT; n += 2)
        use(warm, n);
    for (uint64_t n = 1; n < FIT; n += 4)
        sc_entry_unref(exact(warm, n, now));
    /* Order of use now: 3 7 11 ... 99, then 0 2 4 ... 98, then 1 5 9 ... 97. */
    uint64_t order[FIT], used = 0;
    for (uint64_t n = 3; n < FIT; n += 4)
        order[used++] = n;
    for (uint64_t n = 0; n < FIT; n += 2)
        order[used++] = n;
    for (uint64_t n = 1; n < FIT; n += 4)
        order[used++] = n;
    for (uint64_t i = 0; i < FIT; i++) {
        assert_true(has(warm, order[i]));
        put_key(warm, FIT + i);
        assert_false(has(warm, order[i]));
        assert_int_equal(look(warm).entries, FIT);
        assert_int_equal(look(warm).evicted, i + 1);
    }
    sc_warm_close(warm);
}

static void a_search_alone_is_no_use(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(12000);
    put(warm, 0, 0);
    put(warm, 1, 0);
    for (uint64_t n = 2; look(warm).evicted == 0; n++) {
        question q;
        ask(warm, 0, 0, 0, &q);
        drop(&q);
        use(warm, 1);
        put(warm, n, 0);
    }
    assert_false(has(warm, 0));
    assert_true(has(warm, 1));
    sc_warm_close(warm);
}

static void served_entries_know_when(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(1 << 20);
    put(warm, 1, 1);
    sc_entry *entry = exact(warm, 1, (sc_wall){4321});
    assert_int_equal(atomic_load(&entry->last_hit_ms), 4321);
    use(warm, 1);
    assert_int_equal(atomic_load(&entry->last_hit_ms), now.ms);
    sc_entry_unref(entry);
    sc_warm_close(warm);
}

static void the_byte_budget_is_never_left_behind(void **state)
{
    (void)state;
    enum { BUDGET = 400000 };
    sc_warm       *warm = open_warm(BUDGET);
    sc_test_random random = {23};
    for (uint64_t n = 0; n < 5000; n++) {
        put(warm, n, n < 2500 ? sc_test_next(&random) % 40 : 7);
        sc_warm_stats stats = look(warm);
        assert_true(stats.bytes <= BUDGET);
        assert_true(has(warm, n));
        if (n > 2000)
            assert_true(stats.bytes > BUDGET / 2);
        assert_int_equal(stats.entries + stats.evicted, n + 1);
    }
    sc_warm_clear(warm);
    assert_int_equal(look(warm).bytes, 0);
    sc_warm_close(warm);
}

/* A new chunk that does not fit must not drive out a hundred entries to hold one. */
static void a_full_set_gives_up_one_entry_for_one(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(400000);
    for (uint64_t n = 0, evicted = 0; n < 3000; n++) {
        put(warm, n, 1);
        assert_in_range(look(warm).evicted - evicted, 0, 1);
        evicted = look(warm).evicted;
    }
    assert_in_range(look(warm).evicted, 2000, 2999);
    sc_warm_close(warm);
}

static void an_entry_over_the_whole_budget_is_refused(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(2000);
    put_key(warm, 1);
    static char     text[4000];
    sc_entry_fields fields = {.id = sc_test_digest("id", 2), .answer = {text, sizeof text}};
    sc_entry       *entry = sc_entry_make(&fields);
    assert_int_equal(sc_warm_put(warm, entry, NULL), SC_TOO_LARGE);
    sc_entry_unref(entry);
    assert_true(has(warm, 1));
    assert_int_equal(look(warm).evicted, 0);
    sc_warm_close(warm);
}

static void open_refuses_impossible_dimensions(void **state)
{
    (void)state;
    sc_warm        *warm;
    sc_warm_options options = {.dim = 0, .bytes_max = 1000};
    assert_int_equal(sc_warm_open(&options, &warm), SC_INVALID);
    assert_null(warm);
    options.dim = 1u << 20;
    assert_int_equal(sc_warm_open(&options, &warm), SC_INVALID);
    sc_warm_close(NULL);
}

static bool open_and_close(void *context)
{
    const sc_warm_options options = {.dim = DIM, .bytes_max = 1 << 20};
    sc_warm              *warm = context;
    sc_status             status = sc_warm_open(&options, &warm);
    assert_true(status == SC_OK ? warm != NULL : status == SC_NO_MEMORY && warm == NULL);
    sc_warm_close(warm);
    return status == SC_OK;
}

static void open_without_memory_leaves_nothing(void **state)
{
    (void)state;
    assert_true(sc_fail_malloc_each(open_and_close, NULL) >= 3);
}

/* Everything that can be asked about keys 0..n in their scopes, as one number. */
static uint64_t answers(sc_warm *warm, uint64_t keys, uint64_t scopes)
{
    sc_warm_stats stats = look(warm);
    uint64_t      sum = stats.entries * 3 + stats.scopes * 5 + stats.bytes * 7 + stats.evicted;
    for (uint64_t n = 0; n < keys; n++) {
        sc_digest id = sc_test_digest("id", n);
        sum = sum * 31 + sc_warm_version(warm, &id);
        question q;
        ask(warm, n, n % scopes, 0, &q);
        for (size_t h = 0; h < q.query.hits_used; h++)
            sum = sum * 31 + sc_digest_u64(&q.hits[h].entry->f.id) + q.hits[h].entry->f.version;
        drop(&q);
    }
    return sum;
}

/* Lets each allocation of a put fail in turn, until the put gets by. Gives how many there were. */
static unsigned put_with_failures(sc_warm *warm, uint64_t n, uint64_t scopes, uint64_t version)
{
    float     vector[DIM];
    sc_entry *entry = sc_test_entry_of(n, n % scopes, 0, version, 1000000);
    uint64_t  before = answers(warm, n + 3, scopes);
    direction(n, vector);
    for (unsigned nth = 1;; nth++) {
        sc_fail_malloc_arm(nth);
        sc_status status = sc_warm_put(warm, entry, vector);
        if (!sc_fail_malloc_disarm()) {
            assert_int_equal(status, SC_OK);
            assert_int_equal(atomic_load(&entry->refs), 2);
            sc_entry_unref(entry);
            return nth - 1;
        }
        assert_int_equal(status, SC_NO_MEMORY);
        assert_int_equal(atomic_load(&entry->refs), 1);
        assert_int_equal(answers(warm, n + 3, scopes), before);
    }
}

/* Without memory a cache may forget to learn; it must not forget, mix up or leak what it has. */
static void a_put_without_memory_leaves_the_set_as_it_was(void **state)
{
    (void)state;
    enum { SCOPES = 3 };
    unsigned failures = 0;
    sc_warm *warm = open_warm(64 << 20);
    assert_true(put_with_failures(warm, 0, SCOPES, 1) >= 5); /* item, scope, two tables, chunk */
    for (uint64_t n = 1; n < 70; n++)
        failures += put_with_failures(warm, n, SCOPES, 1);
    for (uint64_t n = 0; n < 70; n += 5)
        failures += put_with_failures(warm, n, SCOPES, 2);
    assert_true(failures > 70 + 14);
    sc_warm_close(warm);
}

/* The hit path is the one that must not wait for the heap. */
static void a_hit_allocates_nothing(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(64 << 20);
    for (uint64_t n = 0; n < 2000; n++)
        put(warm, n, 1);
    question q;
    sc_fail_malloc_arm(1);
    ask(warm, 3, 1, 0, &q);
    sc_entry_unref(exact(warm, 3, now));
    use(warm, 3);
    assert_false(sc_fail_malloc_disarm());
    assert_int_equal(q.query.hits_used, K);
    drop(&q);
    sc_warm_close(warm);
}

typedef struct {
    bool   seen[100];
    size_t count, stop_at;
} visits;

static bool visit(void *context, sc_entry *entry)
{
    visits *v = context;
    for (uint64_t n = 0; n < 100; n++)
        if (is(entry, n)) {
            assert_false(v->seen[n]);
            v->seen[n] = true;
        }
    return ++v->count != v->stop_at;
}

static void each_visits_every_entry_once_until_told_to_stop(void **state)
{
    (void)state;
    sc_warm *warm = open_warm(4 << 20);
    for (uint64_t n = 0; n < 100; n++)
        put(warm, n, n % 3);
    visits v = {.stop_at = 1000};
    sc_warm_each(warm, visit, &v);
    assert_int_equal(v.count, 100);
    v = (visits){.stop_at = 10};
    sc_warm_each(warm, visit, &v);
    assert_int_equal(v.count, 10);
    sc_warm_close(warm);
}

/* What four threads do at once; a wrong scope or a dead entry shows in the checks or in TSan. */
typedef struct {
    sc_warm *warm;
    uint64_t seed;
    size_t   rounds;
} worker;

enum { KEYS = 400, SCOPES = 7 };

static bool count_some(void *context, sc_entry *entry)
{
    assert_true(entry->f.version != 0);
    return ++*(size_t *)context < 20;
}

static void any_step(sc_warm *warm, sc_test_random *random)
{
    uint64_t  n = sc_test_next(random) % KEYS, what = sc_test_next(random) % 100;
    sc_entry *entry;
    question  q;
    if (what < 35) {
        entry = sc_test_entry_of(n, n % SCOPES, 0, sc_test_next(random) | 1, 1000000);
        assert_int_equal(put_entry(warm, entry, n), SC_OK);
    } else if (what < 50) {
        take(warm, n, 0);
    } else if (what < 70) {
        entry = exact(warm, n, now);
        assert_true(entry == NULL || is(entry, n));
        sc_entry_unref(entry);
    } else if (what < 98) {
        ask(warm, n, n % SCOPES, 0, &q);
        sc_digest scope = sc_test_digest("scope", n % SCOPES);
        for (size_t h = 0; h < q.query.hits_used; h++) {
            assert_true(sc_digest_equal(&q.hits[h].entry->f.scope, &scope));
            use(warm, n);
        }
        drop(&q);
    } else if (what < 99) {
        size_t count = 0;
        sc_warm_each(warm, count_some, &count);
        assert_true(look(warm).entries <= KEYS);
    } else if (sc_test_next(random) % 20 == 0) {
        sc_warm_clear(warm);
    }
}

static void *work(void *arg)
{
    worker        *w = arg;
    sc_test_random random = {w->seed};
    for (size_t i = 0; i < w->rounds; i++)
        any_step(w->warm, &random);
    return NULL;
}

static void run_workers(size_t bytes_max, size_t rounds)
{
    sc_warm  *warm = open_warm(bytes_max);
    pthread_t threads[4];
    worker    workers[4];
    for (size_t i = 0; i < 4; i++) {
        workers[i] = (worker){warm, 1000 + i, rounds};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(look(warm).bytes <= bytes_max);
    for (uint64_t n = 0; n < KEYS; n++)
        take(warm, n, 0);
    sc_warm_stats stats = look(warm);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.scopes, 0);
    assert_int_equal(stats.bytes, 0);
    sc_warm_close(warm);
}

static void four_threads_leave_it_whole(void **state)
{
    (void)state;
    run_workers(64 << 20, 20000);
}

static void four_threads_leave_it_whole_while_it_evicts(void **state)
{
    (void)state;
    run_workers(100000, 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_found_by_key_and_by_meaning),
        cmocka_unit_test(an_entry_without_vector_is_found_by_key_only),
        cmocka_unit_test(rows_of_a_scope_are_counted_as_they_come_and_go),
        cmocka_unit_test(hits_outlive_the_set),
        cmocka_unit_test(a_newer_entry_replaces_the_one_of_its_key),
        cmocka_unit_test(a_replacement_without_vector_takes_the_row_away),
        cmocka_unit_test(removal_of_an_old_version_spares_the_new_one),
        cmocka_unit_test(clear_leaves_nothing),
        cmocka_unit_test(expired_entries_are_passed_over),
        cmocka_unit_test(another_guard_is_refused_and_told_when_nearest),
        cmocka_unit_test(scopes_never_see_each_other),
        cmocka_unit_test(vectors_are_brought_to_unit_length),
        cmocka_unit_test(vectors_without_direction_are_refused),
        cmocka_unit_test(the_least_recently_used_entry_leaves_first),
        cmocka_unit_test(a_search_alone_is_no_use),
        cmocka_unit_test(served_entries_know_when),
        cmocka_unit_test(the_byte_budget_is_never_left_behind),
        cmocka_unit_test(a_full_set_gives_up_one_entry_for_one),
        cmocka_unit_test(an_entry_over_the_whole_budget_is_refused),
        cmocka_unit_test(open_refuses_impossible_dimensions),
        cmocka_unit_test(open_without_memory_leaves_nothing),
        cmocka_unit_test(a_put_without_memory_leaves_the_set_as_it_was),
        cmocka_unit_test(a_hit_allocates_nothing),
        cmocka_unit_test(each_visits_every_entry_once_until_told_to_stop),
        cmocka_unit_test(four_threads_leave_it_whole),
        cmocka_unit_test(four_threads_leave_it_whole_while_it_evicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
