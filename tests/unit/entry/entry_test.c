#include <pthread.h>

#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"

#include "src/entry/entry.h"

static sc_entry_fields some_fields(const sc_str *tags, uint32_t tags_count)
{
    return (sc_entry_fields){
        .guard = 7,
        .version = 9,
        .created = {1000},
        .expires = {2000},
        .tenant = SC_STR("acme"),
        .model = SC_STR("gpt"),
        .corpus_version = SC_STR("v1"),
        .temperature = 0.5,
        .prompt = SC_STR("What is it?"),
        .canonical = SC_STR("what is it"),
        .answer = SC_STR("A\0cache"),
        .finish_reason = SC_STR("stop"),
        .answered_by = SC_STR("gpt-x"),
        .prompt_tokens = 3,
        .completion_tokens = 4,
        .tags = tags,
        .tags_count = tags_count,
    };
}

static void assert_text(sc_str text, const char *expected, size_t len)
{
    assert_int_equal(text.len, len);
    assert_memory_equal(text.ptr, expected, len);
    assert_int_equal(text.ptr[len], '\0');
}

/* An entry that borrows from its request would be served after the request's memory is gone. */
static void an_entry_owns_all_its_texts(void **state)
{
    (void)state;
    char      tag[] = "billing", answer[] = "answer";
    sc_str    tags[] = {{tag, 7}, {NULL, 0}, SC_STR("x")};
    sc_entry_fields fields = some_fields(tags, 3);
    fields.answer = (sc_str){answer, 6};
    sc_entry *entry = sc_entry_make(&fields);
    memset(tag, '?', sizeof tag);
    memset(answer, '?', sizeof answer);
    memset(tags, 0, sizeof tags);
    assert_text(entry->f.tenant, "acme", 4);
    assert_text(entry->f.model, "gpt", 3);
    assert_text(entry->f.corpus_version, "v1", 2);
    assert_text(entry->f.prompt, "What is it?", 11);
    assert_text(entry->f.canonical, "what is it", 10);
    assert_text(entry->f.answer, "answer", 6);
    assert_text(entry->f.finish_reason, "stop", 4);
    assert_text(entry->f.answered_by, "gpt-x", 5);
    assert_int_equal(entry->f.tags_count, 3);
    assert_text(entry->f.tags[0], "billing", 7);
    assert_text(entry->f.tags[1], "", 0);
    assert_text(entry->f.tags[2], "x", 1);
    assert_int_equal(entry->f.version, 9);
    assert_int_equal(atomic_load(&entry->refs), 1);
    sc_entry_unref(entry);
}

static void bytes_with_nul_survive(void **state)
{
    (void)state;
    sc_entry_fields fields = some_fields(NULL, 0);
    sc_entry       *entry = sc_entry_make(&fields);
    assert_text(entry->f.answer, "A\0cache", 7);
    sc_entry_unref(entry);
    sc_entry_unref(NULL);
}

/* The warm set's byte budget counts this figure. */
static void held_bytes_grow_with_the_texts(void **state)
{
    (void)state;
    sc_entry_fields fields = some_fields(NULL, 0);
    sc_entry       *small = sc_entry_make(&fields);
    char            text[1000] = {0};
    fields.answer = (sc_str){text, sizeof text};
    sc_entry *large = sc_entry_make(&fields);
    assert_int_equal(large->held_bytes - small->held_bytes, sizeof text - 7);
    assert_true(small->held_bytes > sizeof(sc_entry));
    sc_entry_unref(small);
    sc_entry_unref(large);
}

static void *hold_and_let_go(void *arg)
{
    sc_entry *entry = arg;
    for (int i = 0; i < 10000; i++) {
        sc_entry_ref(entry);
        atomic_store(&entry->last_hit_ms, i);
        sc_entry_unref(entry);
    }
    sc_entry_unref(entry);
    return NULL;
}

static void many_threads_share_an_entry(void **state)
{
    (void)state;
    pthread_t       threads[4];
    sc_entry_fields fields = some_fields(NULL, 0);
    sc_entry       *entry = sc_entry_make(&fields);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_let_go, sc_entry_ref(entry)),
                         0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&entry->refs), 1);
    sc_candidate candidates[2] = {{sc_entry_ref(entry), 0.1f}, {NULL, 0}};
    sc_candidates_unref(candidates, 2);
    assert_null(candidates[0].entry);
    assert_int_equal(atomic_load(&entry->refs), 1);
    sc_entry_unref(entry);
}

static bool make(void *context)
{
    (void)context;
    sc_entry_fields fields = some_fields(NULL, 0);
    sc_entry       *entry = sc_entry_make(&fields);
    sc_entry_unref(entry);
    return entry != NULL;
}

static void without_memory_there_is_none(void **state)
{
    (void)state;
    assert_int_equal(sc_fail_malloc_each(make, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_owns_all_its_texts),
        cmocka_unit_test(bytes_with_nul_survive),
        cmocka_unit_test(held_bytes_grow_with_the_texts),
        cmocka_unit_test(many_threads_share_an_entry),
        cmocka_unit_test(without_memory_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
