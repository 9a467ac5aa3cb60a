#include "src/base/spare.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"

enum { BYTES = 100, KEPT = 2 };

static bool take_and_give(void *spare)
{
    void *blocks[KEPT];
    bool  all = true;
    for (int i = 0; i < KEPT; i++) {
        blocks[i] = sc_spare_take(spare);
        all = all && blocks[i] != NULL;
        if (blocks[i] != NULL)
            memset(blocks[i], 0xa5, BYTES);
    }
    for (int i = 0; i < KEPT; i++)
        sc_spare_give(spare, blocks[i]);
    return all;
}

/* Each would wait for the heap, which is what this is there to spare. */
static void what_was_given_is_taken_again(void **state)
{
    (void)state;
    sc_spare spare;
    sc_spare_init(&spare, BYTES, KEPT);
    assert_true(sc_fail_malloc_each(take_and_give, &spare) > 0);
    assert_int_equal(sc_fail_malloc_each(take_and_give, &spare), 0);
    sc_spare_fini(&spare);
}

/* A flood would otherwise leave its memory behind for ever; the address sanitizer sees the rest. */
static void no_more_than_the_bound_is_kept(void **state)
{
    (void)state;
    sc_spare spare;
    void    *blocks[KEPT + 3];
    sc_spare_init(&spare, BYTES, KEPT);
    for (int i = 0; i < KEPT + 3; i++) {
        blocks[i] = sc_spare_take(&spare);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % _Alignof(max_align_t), 0);
    }
    for (int i = 0; i < KEPT + 3; i++)
        sc_spare_give(&spare, blocks[i]);
    assert_int_equal(spare.kept, KEPT);
    sc_spare_give(&spare, NULL);
    assert_int_equal(spare.kept, KEPT);
    sc_spare_fini(&spare);
}

static void a_block_may_be_smaller_than_a_pointer(void **state)
{
    (void)state;
    sc_spare spare;
    sc_spare_init(&spare, 1, 1);
    void *block = sc_spare_take(&spare);
    assert_non_null(block);
    sc_spare_give(&spare, block);
    assert_ptr_equal(sc_spare_take(&spare), block);
    sc_spare_give(&spare, block);
    sc_spare_fini(&spare);
}

static void one_that_was_never_opened_can_be_closed(void **state)
{
    (void)state;
    sc_spare never = {0};
    sc_spare_fini(&never);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_given_is_taken_again),
        cmocka_unit_test(no_more_than_the_bound_is_kept),
        cmocka_unit_test(a_block_may_be_smaller_than_a_pointer),
        cmocka_unit_test(one_that_was_never_opened_can_be_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
