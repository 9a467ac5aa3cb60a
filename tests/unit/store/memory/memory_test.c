/* The store within the process, which stands in for Redis in other modules' tests. */
#include <math.h>
#include <unistd.h>

#include "src/store/memory/memory.h"
#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"
#include "tests/support/store/store.h"

enum { DIM = 8, ENTRIES_MAX = 16 };

static sc_store *open_store(sc_test_memory *memory)
{
    const sc_memory_store_options options = {.dim = DIM, .entries_max = ENTRIES_MAX};
    sc_store_feed                 feed = {0};
    sc_store                     *store;

    if (memory != NULL) {
        sc_test_memory_init(memory);
        feed = sc_test_memory_feed(memory);
    }
    assert_int_equal(sc_memory_store_open(&options, &feed, &store), SC_OK);
    return store;
}

static sc_entry *put(sc_store *store, unsigned number)
{
    float     vector[DIM];
    sc_entry *entry = sc_test_entry(number);

    sc_test_vector(vector, DIM, number, 0.1);
    assert_int_equal(sc_test_put(store, entry, vector), SC_OK);
    return entry;
}

static void an_entry_is_found_until_it_expires(void **state)
{
    sc_store       *store = open_store(NULL);
    sc_entry_fields fields = sc_test_fields(1);
    sc_entry       *found;
    bool            fresh;
    (void)state;

    fields.expires.ms = sc_wall_now().ms + 50;
    sc_entry *entry = sc_entry_make(&fields);
    assert_int_equal(sc_test_put(store, entry, NULL), SC_OK);
    assert_int_equal(sc_test_get(store, &fields.id, &found), SC_OK);
    assert_ptr_equal(found, entry);
    sc_entry_unref(found);
    assert_int_equal(sc_test_verify(store, &fields.id, fields.version, &fresh), SC_OK);
    assert_true(fresh);
    usleep(60000);
    assert_int_equal(sc_test_verify(store, &fields.id, fields.version, &fresh), SC_OK);
    assert_false(fresh);
    assert_int_equal(sc_test_get(store, &fields.id, &found), SC_OK);
    assert_null(found);
    sc_entry_unref(entry);
    sc_test_close(store);
}

static void a_replaced_version_is_not_fresh(void **state)
{
    sc_store *store = open_store(NULL);
    sc_entry *first = put(store, 1), *second = put(store, 1);
    bool      fresh;
    (void)state;

    assert_int_equal(sc_test_verify(store, &first->f.id, first->f.version, &fresh), SC_OK);
    assert_false(fresh);
    assert_int_equal(sc_test_verify(store, &second->f.id, second->f.version, &fresh), SC_OK);
    assert_true(fresh);
    sc_entry_unref(first);
    sc_entry_unref(second);
    sc_test_close(store);
}

static void search_gives_the_k_nearest_of_scope_and_guard(void **state)
{
    sc_store *store = open_store(NULL);
    float     vector[DIM];
    (void)state;

    for (unsigned i = 0; i < 10; i++)
        sc_entry_unref(put(store, i));
    sc_entry *like = sc_test_entry(4);
    sc_test_vector(vector, DIM, 4, 0.1);
    sc_store_search search = {.scope = like->f.scope, .vector = vector, .k = 3};
    assert_int_equal(sc_test_search(store, &search), SC_OK);
    assert_int_equal(search.found_count, 3);
    assert_memory_equal(&search.found[0].entry->f.id, &like->f.id, sizeof like->f.id);
    assert_true(search.found[0].distance < 1e-6f);
    assert_true(fabs(search.found[2].distance - (1 - cos(0.1))) < 1e-6);
    sc_candidates_unref(search.found, search.found_count);
    search.wanted = 1;
    assert_int_equal(sc_test_search(store, &search), SC_OK);
    assert_int_equal(search.found_count, 1);
    assert_memory_equal(&search.found[0].entry->f.id, &like->f.id, sizeof like->f.id);
    sc_candidates_unref(search.found, search.found_count);
    search.guard = 1;
    assert_int_equal(sc_test_search(store, &search), SC_OK);
    assert_int_equal(search.found_count, 0);
    search.k = 0;
    assert_int_equal(sc_test_search(store, &search), SC_INVALID);
    sc_entry_unref(like);
    sc_test_close(store);
}

static void the_least_recently_used_entry_leaves(void **state)
{
    sc_test_memory memory;
    sc_store      *store = open_store(&memory);
    sc_entry      *first = put(store, 0), *found;
    (void)state;

    for (unsigned i = 1; i < ENTRIES_MAX; i++)
        sc_entry_unref(put(store, i));
    store->ops->used(store, &first->f.id, sc_wall_now());
    sc_entry_unref(put(store, ENTRIES_MAX));
    assert_int_equal(sc_test_get(store, &first->f.id, &found), SC_OK);
    assert_non_null(found);
    assert_int_equal(memory.removals, 1);
    assert_int_equal(sc_test_memory_count(&memory), ENTRIES_MAX);
    sc_entry_unref(found);
    sc_entry_unref(first);
    sc_test_close(store);
    sc_test_memory_fini(&memory);
}

static void invalidation_tells_the_feed(void **state)
{
    sc_test_memory memory;
    sc_store      *store = open_store(&memory);
    (void)state;

    assert_true(sc_test_memory_live(&memory));
    for (unsigned i = 0; i < 5; i++)
        sc_entry_unref(put(store, i));
    sc_store_invalidate call = {.filter = {.tenant = SC_STR("tenant")}, .dry_run = true};
    assert_int_equal(sc_test_invalidate(store, &call), SC_OK);
    assert_int_equal(call.removed, 5);
    assert_int_equal(sc_test_memory_count(&memory), 5);
    call.dry_run = false;
    assert_int_equal(sc_test_invalidate(store, &call), SC_OK);
    assert_int_equal(call.removed, 5);
    assert_int_equal(sc_test_memory_count(&memory), 0);
    sc_test_close(store);
    sc_test_memory_fini(&memory);
}

/* Without memory a put fails, and nothing leaks. */
static bool put_into_new_store(void *context)
{
    const sc_memory_store_options options = {.dim = DIM, .entries_max = ENTRIES_MAX};
    sc_store                     *store;
    (void)context;

    sc_status status = sc_memory_store_open(&options, NULL, &store);
    if (status != SC_OK)
        return false;
    float           vector[DIM];
    sc_entry_fields fields = sc_test_fields(1);
    sc_entry       *entry = sc_entry_make(&fields);
    bool            stored = false;
    sc_test_vector(vector, DIM, 1, 0.1);
    if (entry != NULL)
        stored = sc_test_put(store, entry, vector) == SC_OK;
    sc_entry_unref(entry);
    sc_test_close(store);
    return stored;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    assert_true(sc_fail_malloc_each(put_into_new_store, NULL) >= 4);
}

static void bad_options_are_refused(void **state)
{
    sc_store *store;
    (void)state;
    assert_int_equal(sc_memory_store_open(&(sc_memory_store_options){0, 1}, NULL, &store),
                     SC_INVALID);
    assert_int_equal(sc_memory_store_open(&(sc_memory_store_options){1, 0}, NULL, &store),
                     SC_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_found_until_it_expires),
        cmocka_unit_test(a_replaced_version_is_not_fresh),
        cmocka_unit_test(search_gives_the_k_nearest_of_scope_and_guard),
        cmocka_unit_test(the_least_recently_used_entry_leaves),
        cmocka_unit_test(invalidation_tells_the_feed),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests_name("store_memory", tests, NULL, NULL);
}
