#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/list.h"
#include "src/embed/local/local.h"
#include "tests/support/fail_malloc.h"
#include "tests/unit/embed/local/golden.h"

enum { TEXTS_MAX = 8 };

/* A job and what waits for it. */
typedef struct {
    sc_embed_job    job;
    sc_str          texts[TEXTS_MAX];
    float           vectors[TEXTS_MAX * GOLDEN_DIM];
    sc_embed_note   notes[TEXTS_MAX];
    pthread_mutex_t lock;
    pthread_cond_t  wake;
    unsigned        done;
} waiter;

static void on_done(sc_embed_job *job)
{
    waiter *w = SC_CONTAINER(job, waiter, job);
    pthread_mutex_lock(&w->lock);
    w->done++;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

static void begin(waiter *w)
{
    memset(w, 0, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    w->job = (sc_embed_job){.texts = w->texts,
                            .deadline = SC_INSTANT_NEVER,
                            .vectors = w->vectors,
                            .notes = w->notes,
                            .done = on_done};
}

static void add(waiter *w, sc_str text)
{
    assert_in_range(w->job.count, 0, TEXTS_MAX - 1);
    w->texts[w->job.count++] = text;
}

static void await(waiter *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->done == 0)
        pthread_cond_wait(&w->wake, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

static void run(sc_embed_provider *provider, waiter *w)
{
    provider->submit(provider, &w->job);
    await(w);
}

static void end(waiter *w)
{
    assert_int_equal(w->done, 1);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
}

static sc_embed_provider *open_local(unsigned threads)
{
    sc_error           error = {0};
    sc_embed_provider *provider;
    sc_local_options   options = {.threads = threads};
    sc_status          status = sc_local_open(&options, &provider, &error);
    if (status != SC_OK)
        printf("%s\n", error.text);
    assert_int_equal(status, SC_OK);
    return provider;
}

/* Paraphrases could not be told from other questions. */
static void paraphrases_are_near_and_other_questions_far(void **state)
{
    (void)state;
    sc_embed_provider *provider = open_local(1);
    waiter             w;
    begin(&w);
    add(&w, SC_STR("What is your refund policy?"));
    add(&w, SC_STR("What is the refund policy?"));
    add(&w, SC_STR("Who wrote Pride and Prejudice?"));
    run(provider, &w);
    assert_int_equal(w.job.status, SC_OK);
    assert_true(golden_cosine(w.vectors, w.vectors + GOLDEN_DIM) > 0.9);
    assert_true(golden_cosine(w.vectors, w.vectors + 2 * GOLDEN_DIM) < 0.3);
    assert_in_range(w.job.tokens, 20, 40);
    end(&w);
    provider->close(provider);
}

/* Two long prompts that differ at their ends would get each other's answer. */
static void unreadable_texts_get_a_note_and_their_neighbours_a_vector(void **state)
{
    (void)state;
    sc_embed_provider *provider = open_local(1);
    char               lengthy[600];
    waiter             w;
    for (size_t i = 0; i < sizeof lengthy; i++)
        lengthy[i] = i % 2 == 0 ? 'a' : ' ';
    begin(&w);
    add(&w, (sc_str){lengthy, sizeof lengthy});
    add(&w, SC_STR("yes"));
    add(&w, SC_STR("\xf0\x9f\x91\x8d"));
    add(&w, SC_STR("yes"));
    run(provider, &w);
    assert_int_equal(w.job.status, SC_OK);
    assert_int_equal(w.notes[0], SC_EMBED_TRUNCATED);
    assert_int_equal(w.notes[1], SC_EMBED_USABLE);
    assert_int_equal(w.notes[2], SC_EMBED_UNKNOWN);
    assert_int_equal(w.notes[3], SC_EMBED_USABLE);
    assert_true(golden_cosine(w.vectors + GOLDEN_DIM, w.vectors + 3 * GOLDEN_DIM) > 0.999999);
    end(&w);
    provider->close(provider);
}

/* A full job of long texts needs several passes; each must end up in its own row. */
static void a_full_job_of_any_lengths_matches_the_reference(void **state)
{
    (void)state;
    sc_embed_provider *provider = open_local(2);
    golden_file        golds = golden_open();
    assert_int_equal(provider->batch_max, TEXTS_MAX);
    for (size_t i = 0; i + TEXTS_MAX <= golds.count; i += TEXTS_MAX) {
        waiter w;
        begin(&w);
        for (size_t j = 0; j < TEXTS_MAX; j++)
            add(&w, golds.texts[i + j].text);
        run(provider, &w);
        assert_int_equal(w.job.status, SC_OK);
        for (size_t j = 0; j < TEXTS_MAX; j++) {
            assert_int_equal(w.notes[j], golds.texts[i + j].note);
            if (w.notes[j] == SC_EMBED_USABLE)
                assert_true(golden_cosine(w.vectors + j * GOLDEN_DIM, golds.texts[i + j].vector) >
                            0.9999);
        }
        end(&w);
    }
    golden_close(&golds);
    provider->close(provider);
}

/* Nobody waits for the answer any more; computing it would delay those who do. */
static void a_job_past_its_deadline_times_out(void **state)
{
    (void)state;
    sc_embed_provider *provider = open_local(1);
    waiter             w;
    begin(&w);
    add(&w, SC_STR("too late"));
    w.job.deadline = sc_now();
    run(provider, &w);
    assert_int_equal(w.job.status, SC_TIMEOUT);
    end(&w);
    provider->close(provider);
}

/* More jobs than fit: each still ends exactly once, the surplus at once and with SC_BUSY. */
static void every_job_ends_once_also_under_a_flood(void **state)
{
    (void)state;
    enum { JOBS = 64 };
    sc_embed_provider *provider = open_local(2);
    waiter            *w = calloc(JOBS, sizeof *w);
    unsigned           answered = 0, refused = 0;
    assert_non_null(w);
    for (size_t i = 0; i < JOBS; i++) {
        begin(&w[i]);
        add(&w[i], SC_STR("one of many"));
        provider->submit(provider, &w[i].job);
    }
    provider->close(provider); /* waits for those under way */
    for (size_t i = 0; i < JOBS; i++) {
        answered += w[i].job.status == SC_OK;
        refused += w[i].job.status == SC_BUSY;
        end(&w[i]);
    }
    assert_int_equal(answered + refused, JOBS);
    assert_true(answered >= 2);
    free(w);
}

static sc_status open_with(const sc_local_options *options, sc_error *error)
{
    sc_embed_provider *provider;
    sc_status          status = sc_local_open(options, &provider, error);
    assert_null(provider);
    return status;
}

static void write_file(const char *folder, const char *name, const char *content)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

/* Another model's vectors in the same index would compare with nothing. */
static void another_models_files_are_refused_by_name(void **state)
{
    (void)state;
    const char      *folder = getenv("TEST_TMPDIR") != NULL ? getenv("TEST_TMPDIR") : "/tmp";
    sc_error         error = {0};
    sc_local_options options = {.model_dir = folder, .threads = 1};
    write_file(folder, "vocab.txt", "[UNK]\n[CLS]\n[SEP]\n");
    assert_int_equal(open_with(&options, &error), SC_MISMATCH);
    assert_non_null(strstr(error.text, "vocab.txt"));
    options.model_dir = "/nowhere";
    assert_int_equal(open_with(&options, &error), SC_NOT_FOUND);
    assert_non_null(strstr(error.text, "/nowhere/vocab.txt"));
}

static void a_kernel_of_another_processor_is_refused(void **state)
{
    (void)state;
    sc_error         error = {0};
    sc_local_options options = {.threads = 1, .kernel = SC_LOCAL_KERNEL_NEON};
#if defined(__aarch64__)
    options.kernel = SC_LOCAL_KERNEL_AVX2;
#endif
    assert_int_equal(open_with(&options, &error), SC_UNSUPPORTED);
}

static bool open_and_close(void *context)
{
    sc_embed_provider *provider = context;
    sc_error           error = {0};
    sc_local_options   options = {.threads = 2};
    sc_status          status = sc_local_open(&options, &provider, &error);
    if (status != SC_OK) {
        assert_int_equal(status, SC_NO_MEMORY);
        assert_null(provider);
        assert_int_not_equal(error.text[0], '\0');
        return false;
    }
    provider->close(provider);
    return true;
}

/* Half a provider would be left behind, or used. */
static void opening_without_memory_fails_cleanly_wherever_it_runs_out(void **state)
{
    (void)state;
    assert_in_range(sc_fail_malloc_each(open_and_close, NULL), 12, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paraphrases_are_near_and_other_questions_far),
        cmocka_unit_test(unreadable_texts_get_a_note_and_their_neighbours_a_vector),
        cmocka_unit_test(a_full_job_of_any_lengths_matches_the_reference),
        cmocka_unit_test(a_job_past_its_deadline_times_out),
        cmocka_unit_test(every_job_ends_once_also_under_a_flood),
        cmocka_unit_test(another_models_files_are_refused_by_name),
        cmocka_unit_test(a_kernel_of_another_processor_is_refused),
        cmocka_unit_test(opening_without_memory_fails_cleanly_wherever_it_runs_out),
    };
    golden_model_dir();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
