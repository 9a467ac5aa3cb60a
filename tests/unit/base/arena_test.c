#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"

#include "src/base/arena.h"

/* A vector kernel would fault on memory that is less aligned. */
static void memory_is_aligned_and_distinct(void **state)
{
    (void)state;
    sc_arena arena;
    sc_arena_init(&arena, 4 << 20);
    char *last = NULL;
    for (size_t bytes = 1; bytes < 9000; bytes += 37) {
        char *memory = sc_arena_alloc(&arena, bytes);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 16, 0);
        memset(memory, 'x', bytes);
        if (last != NULL)
            assert_int_equal(last[0], 'x');
        memset(memory, 'y', bytes);
        last = memory;
        last[0] = 'x';
    }
    sc_arena_fini(&arena);
}

/* A caller could make one request hold any amount of memory. */
static void the_ceiling_holds(void **state)
{
    (void)state;
    sc_arena arena;
    sc_arena_init(&arena, 10000);
    assert_null(sc_arena_alloc(&arena, 10001));
    assert_non_null(sc_arena_alloc(&arena, 9984));
    assert_non_null(sc_arena_alloc(&arena, 16));
    assert_null(sc_arena_alloc(&arena, 1));
    sc_arena_fini(&arena);
    assert_non_null(sc_arena_alloc(&arena, 9984));
    sc_arena_fini(&arena);
}

/* A size near the end of size_t would wrap to a small allocation. */
static void sizes_that_wrap_are_refused(void **state)
{
    (void)state;
    sc_arena arena;
    sc_arena_init(&arena, SIZE_MAX);
    assert_null(sc_arena_alloc(&arena, SIZE_MAX));
    assert_null(sc_arena_alloc(&arena, SIZE_MAX - 3));
    assert_null(sc_arena_calloc(&arena, SIZE_MAX / 2, 3));
    assert_null(sc_arena_copy(&arena, (sc_str){"", SIZE_MAX}).ptr);
    assert_int_equal(arena.used_bytes, 0);
    sc_arena_fini(&arena);
}

/* Each long prompt would strand the rest of a block. */
static void a_large_block_leaves_the_current_one_in_use(void **state)
{
    (void)state;
    sc_arena arena;
    sc_arena_init(&arena, 1 << 20);
    char *before = sc_arena_alloc(&arena, 16);
    assert_non_null(sc_arena_alloc(&arena, 100000));
    char *after = sc_arena_alloc(&arena, 16);
    assert_ptr_equal(after, before + 16);
    sc_arena_fini(&arena);
}

static void a_copy_ends_with_nul_and_calloc_is_zero(void **state)
{
    (void)state;
    sc_arena arena;
    sc_arena_init(&arena, 1 << 16);
    memset(sc_arena_alloc(&arena, 256), 0xff, 256);
    sc_str copy = sc_arena_copy(&arena, (sc_str){"abcdef", 3});
    assert_string_equal(copy.ptr, "abc");
    assert_int_equal(copy.len, 3);
    sc_str empty = sc_arena_copy(&arena, (sc_str){NULL, 0});
    assert_non_null(empty.ptr);
    assert_int_equal(empty.len, 0);
    unsigned char *zeroed = sc_arena_calloc(&arena, 10, 10);
    for (int i = 0; i < 100; i++)
        assert_int_equal(zeroed[i], 0);
    sc_arena_fini(&arena);
}

static bool use_arena(void *context)
{
    (void)context;
    sc_arena arena;
    sc_arena_init(&arena, 1 << 20);
    bool ok = sc_arena_alloc(&arena, 10) != NULL;
    size_t used = arena.used_bytes;
    if (sc_arena_alloc(&arena, 50000) == NULL) {
        assert_int_equal(arena.used_bytes, used);
        ok = false;
    }
    sc_arena_fini(&arena);
    return ok;
}

static void without_memory_it_stays_as_it_was(void **state)
{
    (void)state;
    assert_int_equal(sc_fail_malloc_each(use_arena, NULL), 2);
}

static bool small_request(void *context)
{
    sc_arena *arena = context;
    bool      ok = true;
    for (int i = 0; ok && i < 7; i++)
        ok = sc_arena_alloc(arena, 400) != NULL;
    sc_arena_reset(arena);
    return ok;
}

/* A request like the last one would take memory from the heap again. */
static void reset_keeps_ordinary_blocks(void **state)
{
    (void)state;
    sc_arena arena;
    sc_arena_init(&arena, 1 << 20);
    sc_arena_reset(&arena);
    assert_true(small_request(&arena));
    assert_int_equal(sc_fail_malloc_each(small_request, &arena), 0);
    /* What an unusual request needed goes, whatever order it came in. */
    assert_non_null(sc_arena_alloc(&arena, 500000));
    for (int i = 0; i < 100; i++)
        assert_non_null(sc_arena_alloc(&arena, 400));
    sc_arena_reset(&arena);
    assert_int_equal(arena.used_bytes, 0);
    assert_int_equal(sc_fail_malloc_each(small_request, &arena), 0);
    sc_arena_fini(&arena);
}

static bool large_request(void *context)
{
    sc_arena *arena = context;
    bool      ok = true;
    for (int i = 0; ok && i < 9; i++)
        ok = sc_arena_alloc(arena, 400) != NULL;
    sc_arena_reset(arena);
    return ok;
}

/* A thread that once served a long prompt would hold its memory for ever. */
static void reset_keeps_no_more_than_a_page(void **state)
{
    (void)state;
    sc_arena arena;
    sc_arena_init(&arena, 1 << 20);
    assert_true(large_request(&arena));
    assert_int_equal(sc_fail_malloc_each(large_request, &arena), 1);
    sc_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_keeps_ordinary_blocks),
        cmocka_unit_test(reset_keeps_no_more_than_a_page),
        cmocka_unit_test(memory_is_aligned_and_distinct),
        cmocka_unit_test(the_ceiling_holds),
        cmocka_unit_test(sizes_that_wrap_are_refused),
        cmocka_unit_test(a_large_block_leaves_the_current_one_in_use),
        cmocka_unit_test(a_copy_ends_with_nul_and_calloc_is_zero),
        cmocka_unit_test(without_memory_it_stays_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
