/* Slots of keys, as every client of a cluster computes them. */
#include <stdio.h>

#include "src/store/redis/slots.h"
#include "tests/support/cmocka.h"

/* An entry that is looked for at another master than the one that has it is never found. Redis
 * itself gave these numbers: CLUSTER KEYSLOT. */
static void slots_are_those_that_redis_computes(void **state)
{
    (void)state;
    assert_int_equal(sc_slot_of(SC_STR("123456789")), 12739);
    assert_int_equal(sc_slot_of(SC_STR("foo")), 12182);
    assert_int_equal(sc_slot_of(SC_STR("t:1")), 2276);
    assert_int_equal(sc_slot_of(SC_STR("t:{1}")), 9842);
    assert_int_equal(sc_slot_of(SC_STR("t:3")), 10406);
    assert_int_equal(sc_slot_of(SC_STR("t:5")), 2144);
}

/* The index, the ZSET and the lock of a master must lie on it. */
static void a_tag_alone_decides(void **state)
{
    (void)state;
    assert_int_equal(sc_slot_of(SC_STR("a:idx:{42}")), sc_slot_of(SC_STR("42")));
    assert_int_equal(sc_slot_of(SC_STR("{42}b{43}")), sc_slot_of(SC_STR("42")));
    assert_int_equal(sc_slot_of(SC_STR("{{42}}")), sc_slot_of(SC_STR("{42")));
    /* No tag: nothing inside, or no end. */
    assert_int_not_equal(sc_slot_of(SC_STR("a{}b")), sc_slot_of(SC_STR("")));
    assert_int_not_equal(sc_slot_of(SC_STR("a{42")), sc_slot_of(SC_STR("42")));
    assert_int_not_equal(sc_slot_of(SC_STR("a}42{")), sc_slot_of(SC_STR("42")));
}

static void a_set_holds_what_was_put_in(void **state)
{
    sc_slot_set set = {{0}};
    (void)state;
    assert_int_equal(sc_slot_count(&set), 0);
    sc_slot_add(&set, 0);
    sc_slot_add(&set, 16383);
    sc_slot_add(&set, 16383);
    assert_true(sc_slot_in(&set, 0) && sc_slot_in(&set, 16383) && !sc_slot_in(&set, 1));
    assert_int_equal(sc_slot_count(&set), 2);
    sc_slot_remove(&set, 0);
    assert_false(sc_slot_in(&set, 0));
    assert_int_equal(sc_slot_count(&set), 1);
}

/* A master whose slots no tag reached would have no index at all. */
static void every_slot_has_a_tag(void **state)
{
    (void)state;
    for (unsigned slot = 0; slot < SC_SLOTS; slot += 1009) {
        sc_slot_set one = {{0}};
        char        key[32];
        sc_slot_add(&one, (uint16_t)slot);
        int tag = sc_slot_tag(&one);
        assert_true(tag >= 0 && sc_slot_tag_in(&one, tag));
        snprintf(key, sizeof key, "x:{%d}", tag);
        assert_int_equal(sc_slot_of(sc_str_of(key)), slot);
    }
    sc_slot_set none = {{0}};
    assert_int_equal(sc_slot_tag(&none), -1);
}

/* Servers that chose differently would have two indexes on one master. */
static void of_several_tags_the_least_is_taken(void **state)
{
    sc_slot_set set = {{0}};
    (void)state;
    sc_slot_add(&set, sc_slot_of(SC_STR("7")));
    sc_slot_add(&set, sc_slot_of(SC_STR("5")));
    sc_slot_add(&set, sc_slot_of(SC_STR("11")));
    assert_int_equal(sc_slot_tag(&set), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_those_that_redis_computes),
        cmocka_unit_test(a_tag_alone_decides),
        cmocka_unit_test(a_set_holds_what_was_put_in),
        cmocka_unit_test(every_slot_has_a_tag),
        cmocka_unit_test(of_several_tags_the_least_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
