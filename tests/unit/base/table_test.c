#include <stdlib.h>

#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"

#include "src/base/random.h"
#include "src/base/table.h"

enum { KEYS = 500 };

static sc_digest key_of(unsigned number)
{
    return sc_sha256(&number, sizeof number);
}

/* Against a plain array as the model: lost or resurrected entries would be wrong answers. */
static void it_holds_what_a_model_holds(void **state)
{
    (void)state;
    sc_table   table = {0};
    static int values[KEYS];
    void      *model[KEYS] = {NULL};
    size_t     used = 0;
    for (int step = 0; step < 50000; step++) {
        unsigned  number = (unsigned)sc_random_between(0, KEYS - 1);
        sc_digest key = key_of(number);
        int       action = (int)sc_random_between(0, 2);
        void     *old = NULL;
        if (action == 0) {
            assert_int_equal(sc_table_put(&table, &key, &values[number], &old), SC_OK);
            used += model[number] == NULL;
            assert_ptr_equal(old, model[number]);
            model[number] = &values[number];
        } else if (action == 1) {
            assert_ptr_equal(sc_table_remove(&table, &key), model[number]);
            used -= model[number] != NULL;
            model[number] = NULL;
        } else {
            assert_ptr_equal(sc_table_get(&table, &key), model[number]);
        }
        assert_int_equal(table.used, used);
    }
    size_t at = 0, walked = 0;
    for (int *value; (value = sc_table_next(&table, &at)) != NULL; walked++)
        assert_ptr_equal(model[value - values], value);
    assert_int_equal(walked, used);
    sc_table_fini(&table);
    assert_null(sc_table_get(&table, &(sc_digest){{0}}));
}

/* Texts chosen for their digests would make one chain of all look-ups. */
static void keys_with_equal_low_bits_do_not_pile_up(void **state)
{
    (void)state;
    sc_table table = {0};
    int      value;
    for (unsigned i = 0; i < 4096; i++) {
        sc_digest key = {{0}};
        memcpy(key.bytes + 4, &i, sizeof i); /* the low 32 bits of all are zero */
        assert_int_equal(sc_table_put(&table, &key, &value, NULL), SC_OK);
    }
    size_t longest = 0, run = 0;
    for (size_t i = 0; i < table.room; i++) {
        run = table.slots[i].value != NULL ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    assert_true(longest < 1000);
    sc_table_fini(&table);
}

static bool fill(void *context)
{
    (void)context;
    sc_table table = {0};
    int      value;
    bool     ok = true;
    for (unsigned i = 0; i < 100; i++) {
        sc_digest key = key_of(i);
        size_t    used = table.used;
        if (sc_table_put(&table, &key, &value, NULL) != SC_OK) {
            ok = false;
            assert_int_equal(table.used, used);
            assert_null(sc_table_get(&table, &key));
        }
        for (unsigned j = 0; ok && j <= i; j++) {
            key = key_of(j);
            assert_ptr_equal(sc_table_get(&table, &key), &value);
        }
    }
    sc_table_fini(&table);
    return ok;
}

static bool replace_in_a_full_table(void *context)
{
    sc_table *table = context;
    int       other;
    void     *old;
    sc_digest key = key_of(3);
    assert_int_equal(sc_table_put(table, &key, &other, &old), SC_OK);
    assert_int_equal(sc_table_put(table, &key, old, NULL), SC_OK);
    return true;
}

/* An entry's successor would be lost in a moment without memory, and the old answer served on. */
static void replacing_needs_no_memory(void **state)
{
    (void)state;
    sc_table table = {0};
    int      value;
    for (unsigned i = 0; i < 12; i++) {
        sc_digest key = key_of(i);
        assert_int_equal(sc_table_put(&table, &key, &value, NULL), SC_OK);
    }
    assert_int_equal(table.used * 4, table.room * 3);
    assert_int_equal(sc_fail_malloc_each(replace_in_a_full_table, &table), 0);
    assert_int_equal(table.used, 12);
    sc_table_fini(&table);
}

static void without_memory_it_is_as_before(void **state)
{
    (void)state;
    assert_true(sc_fail_malloc_each(fill, NULL) >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_holds_what_a_model_holds),
        cmocka_unit_test(keys_with_equal_low_bits_do_not_pile_up),
        cmocka_unit_test(replacing_needs_no_memory),
        cmocka_unit_test(without_memory_it_is_as_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
