/* Accounts of tenants: what is counted, and who leaves first. */
#include "src/pipeline/quota.h"

#include <stdlib.h>

#include "src/base/random.h"
#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"

static const sc_str acme = {"acme", 4}, other = {"other", 5};

static sc_digest id_of(unsigned number)
{
    return sc_sha256(&number, sizeof number);
}

static void note(sc_quota *quota, sc_str tenant, unsigned number, int64_t created_ms, uint64_t bytes)
{
    sc_entry_fields fields = {
        .id = id_of(number), .tenant = tenant, .created = {created_ms}};
    sc_quota_note(quota, &fields, bytes);
}

static void assert_held(sc_quota *quota, sc_str tenant, uint64_t entries, uint64_t bytes)
{
    sc_quota_held held = sc_quota_look(quota, tenant);
    assert_int_equal(held.entries, entries);
    assert_int_equal(held.bytes, bytes);
}

static sc_quota *open_quota(void)
{
    sc_quota *quota;
    assert_int_equal(sc_quota_open(&quota), SC_OK);
    return quota;
}

/* A tenant would be billed for what it does not have, or hold more than it may. */
static void entries_and_bytes_are_counted_by_tenant(void **state)
{
    sc_quota *quota = open_quota();
    sc_digest second = id_of(2), unknown = id_of(99);
    (void)state;
    note(quota, acme, 1, 1000, 10);
    note(quota, acme, 2, 1001, 20);
    note(quota, other, 3, 1002, 40);
    note(quota, SC_STR(""), 4, 1003, 80);
    assert_held(quota, acme, 2, 30);
    assert_held(quota, other, 1, 40);
    assert_held(quota, SC_STR(""), 0, 0);
    note(quota, acme, 1, 1004, 15); /* replaced */
    assert_held(quota, acme, 2, 35);
    sc_quota_forget(quota, &second);
    sc_quota_forget(quota, &second);
    sc_quota_forget(quota, &unknown);
    assert_held(quota, acme, 1, 15);
    sc_quota_forget_all(quota);
    assert_held(quota, acme, 0, 0);
    assert_held(quota, other, 0, 0);
    note(quota, acme, 5, 1005, 1);
    assert_held(quota, acme, 1, 1);
    sc_quota_close(quota);
}

/* Fresh answers would be thrown out for old ones, or another tenant's for ours. */
static void the_own_oldest_leave_until_both_limits_hold(void **state)
{
    sc_quota     *quota = open_quota();
    sc_quota_item items[8];
    sc_digest     newest = id_of(4);
    (void)state;
    note(quota, other, 100, 1, 1000);
    for (unsigned i = 0; i < 5; i++)
        note(quota, acme, i, 1000 + i, 10);
    sc_quota_limits entries = {.entries_max = 3}, bytes = {.bytes_max = 15}, none = {0, 0};
    assert_int_equal(sc_quota_make_room(quota, acme, &none, &newest, items, 8), 0);
    assert_int_equal(sc_quota_make_room(quota, acme, &entries, &newest, items, 8), 2);
    for (unsigned i = 0; i < 2; i++) {
        sc_digest expected = id_of(i);
        assert_true(sc_digest_equal(&items[i].id, &expected));
        assert_int_equal(items[i].created.ms, 1000 + i);
        assert_int_equal(items[i].bytes, 10);
    }
    assert_int_equal(sc_quota_make_room(quota, acme, &entries, &newest, items, 8), 0);
    assert_int_equal(sc_quota_make_room(quota, acme, &bytes, &newest, items, 8), 2);
    assert_held(quota, acme, 1, 10);
    assert_held(quota, other, 1, 1000);
    /* Those that could not be removed count again; one that was written anew counts once. */
    sc_quota_take_back(quota, acme, &items[0]);
    note(quota, acme, 3, 2000, 7);
    sc_quota_take_back(quota, acme, &items[1]);
    assert_held(quota, acme, 3, 27);
    sc_quota_close(quota);
}

/* Clocks of servers differ: what has just been written may look like the oldest. */
static void the_new_entry_stays_even_if_it_looks_old(void **state)
{
    sc_quota       *quota = open_quota();
    sc_quota_item   items[8];
    sc_quota_limits one = {.entries_max = 1}, little = {.bytes_max = 5};
    sc_digest       keep = id_of(1), expected = id_of(0);
    (void)state;
    note(quota, acme, 0, 2000, 10);
    note(quota, acme, 1, 1000, 10);
    note(quota, acme, 2, 3000, 10);
    assert_int_equal(sc_quota_make_room(quota, acme, &one, &keep, items, 8), 2);
    assert_true(sc_digest_equal(&items[0].id, &expected));
    assert_held(quota, acme, 1, 10);
    assert_int_equal(sc_quota_make_room(quota, acme, &little, &keep, items, 8), 0);
    assert_held(quota, acme, 1, 10);
    /* Not noted, for lack of memory: all others may leave. */
    keep = id_of(77);
    assert_int_equal(sc_quota_make_room(quota, acme, &little, &keep, items, 8), 1);
    assert_held(quota, acme, 0, 0);
    assert_int_equal(sc_quota_make_room(quota, acme, &little, &keep, items, 8), 0);
    sc_quota_close(quota);
}

static void a_lowered_limit_is_reached_step_by_step(void **state)
{
    sc_quota       *quota = open_quota();
    sc_quota_item   items[4];
    sc_quota_limits few = {.entries_max = 2};
    sc_digest       keep = id_of(9);
    (void)state;
    for (unsigned i = 0; i < 10; i++)
        note(quota, acme, i, i, 1);
    assert_int_equal(sc_quota_make_room(quota, acme, &few, &keep, items, 4), 4);
    assert_int_equal(sc_quota_make_room(quota, acme, &few, &keep, items, 4), 4);
    assert_int_equal(sc_quota_make_room(quota, acme, &few, &keep, items, 4), 0);
    assert_held(quota, acme, 2, 2);
    sc_quota_close(quota);
}

/* Against the plainest model: an array that is searched. */
static void the_order_holds_whatever_comes_and_goes(void **state)
{
    enum { NUMBERS = 300, STEPS = 20000 };
    static struct {
        bool     held;
        int64_t  created;
        uint64_t bytes;
    } model[NUMBERS];
    sc_quota     *quota = open_quota();
    sc_quota_item gone;
    sc_digest     nobody = id_of(100000);
    uint64_t      entries = 0, bytes = 0;
    (void)state;
    for (int64_t step = 0; step < STEPS; step++) {
        unsigned number = (unsigned)sc_random_between(0, NUMBERS - 1);
        int      what = (int)sc_random_between(0, 3);
        if (what == 3 && entries != 0) {
            sc_quota_limits limits = {.entries_max = entries > 1 ? entries - 1 : 1,
                                      .bytes_max = entries > 1 ? 0 : bytes - 1};
            assert_int_equal(sc_quota_make_room(quota, acme, &limits, &nobody, &gone, 1), 1);
            number = NUMBERS;
            for (unsigned i = 0; i < NUMBERS; i++)
                if (model[i].held && (number == NUMBERS || model[i].created < model[number].created))
                    number = i;
            assert_int_equal(gone.created.ms, model[number].created);
        } else if (what == 2) {
            sc_digest id = id_of(number);
            sc_quota_forget(quota, &id);
        }
        entries -= model[number].held;
        bytes -= model[number].held ? model[number].bytes : 0;
        model[number].held = what < 2;
        if (what < 2) {
            model[number].created = sc_random_between(0, 1 << 30) * STEPS + step; /* no two alike */
            model[number].bytes = (uint64_t)sc_random_between(2, 99);
            entries++;
            bytes += model[number].bytes;
            note(quota, acme, number, model[number].created, model[number].bytes);
        }
        assert_held(quota, acme, entries, bytes);
    }
    sc_quota_close(quota);
}

static bool fill(void *context)
{
    sc_quota *quota;
    (void)context;
    if (sc_quota_open(&quota) != SC_OK)
        return false;
    for (unsigned i = 0; i < 40; i++)
        note(quota, i % 2 ? acme : other, i, i, 1);
    sc_quota_held a = sc_quota_look(quota, acme), b = sc_quota_look(quota, other);
    assert_int_equal(a.entries, a.bytes);
    assert_int_equal(b.entries, b.bytes);
    assert_true(a.entries + b.entries >= 39); /* an entry is lost to the count, no more */
    sc_quota_close(quota);
    return true;
}

static void without_memory_an_entry_stays_uncounted(void **state)
{
    (void)state;
    assert_true(sc_fail_malloc_each(fill, NULL) > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_and_bytes_are_counted_by_tenant),
        cmocka_unit_test(the_own_oldest_leave_until_both_limits_hold),
        cmocka_unit_test(the_new_entry_stays_even_if_it_looks_old),
        cmocka_unit_test(a_lowered_limit_is_reached_step_by_step),
        cmocka_unit_test(the_order_holds_whatever_comes_and_goes),
        cmocka_unit_test(without_memory_an_entry_stays_uncounted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
