#include <pthread.h>

#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"

#include "src/base/blob.h"

static void it_is_a_copy_that_ends_with_nul(void **state)
{
    (void)state;
    char     text[] = "answer";
    sc_blob *blob = sc_blob_make(sc_str_of(text));
    text[0] = 'X';
    assert_string_equal(blob->bytes, "answer");
    assert_int_equal(sc_blob_view(blob).len, 6);
    sc_blob_unref(blob);
    sc_blob *empty = sc_blob_make((sc_str){NULL, 0});
    assert_string_equal(empty->bytes, "");
    sc_blob_unref(empty);
    sc_blob_unref(NULL);
    assert_null(sc_blob_view(NULL).ptr);
}

static void *hold_and_let_go(void *arg)
{
    sc_blob *blob = arg;
    for (int i = 0; i < 10000; i++) {
        sc_blob_ref(blob);
        assert_int_equal(blob->bytes[0], 'a');
        sc_blob_unref(blob);
    }
    sc_blob_unref(blob);
    return NULL;
}

/* An answer with many waiters would be freed under one of them, or never. */
static void the_last_of_many_threads_frees_it(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    sc_blob  *blob = sc_blob_make(SC_STR("a"));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_let_go, sc_blob_ref(blob)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&blob->refs), 1);
    sc_blob_unref(blob);
}

static bool make(void *context)
{
    (void)context;
    sc_blob *blob = sc_blob_make(SC_STR("text"));
    sc_blob_unref(blob);
    return blob != NULL;
}

static void without_memory_there_is_none(void **state)
{
    (void)state;
    assert_int_equal(sc_fail_malloc_each(make, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_a_copy_that_ends_with_nul),
        cmocka_unit_test(the_last_of_many_threads_frees_it),
        cmocka_unit_test(without_memory_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
