/* The model's port against the scripted upstream, over loopback. */
#include "src/llm/chat.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/cmocka.h"
#include "tests/support/relay.h"
#include "tests/support/upstream/upstream.h"

enum { ROOM = 4096 };

typedef struct {
    sc_upstream *upstream;
    sc_http     *http;
    sc_llm      *llm;
} fixture;

typedef struct {
    sc_llm_call call;
    atomic_int  done;
    sc_instant  ended;
} wait;

static sc_llm_options usual(void)
{
    return (sc_llm_options){.timeout_ms = 20000,
                            .connections = 8,
                            .queue_max = 1000,
                            .answer_bytes_max = 1000,
                            .breaker_failures = 0,
                            .breaker_open_ms = 10000};
}

static void start(fixture *f, const sc_llm_options *options)
{
    const sc_http_options http = {0};
    sc_error              error = {0};
    f->upstream = sc_upstream_start(NULL);
    assert_non_null(f->upstream);
    const sc_endpoint_options shared = {.base_url = sc_upstream_url(f->upstream),
                                        .api_key = "sk-secret"};
    assert_int_equal(sc_http_open(&http, &f->http, NULL), SC_OK);
    assert_int_equal(sc_chat_open(options, &shared, f->http, &f->llm, &error), SC_OK);
}

static void end(fixture *f)
{
    f->llm->close(f->llm);
    sc_http_close(f->http);
    sc_upstream_stop(f->upstream);
}

static void on_done(sc_llm_call *call)
{
    wait *w = SC_CONTAINER(call, wait, call);
    w->ended = sc_now();
    atomic_fetch_add(&w->done, 1);
}

static void ask(fixture *f, wait *w, const char *question, int64_t deadline_ms)
{
    *w = (wait){.call = {.model = SC_STR("m"), .temperature = 0.2, .done = on_done}};
    w->call.user_prompt = sc_str_of(question);
    w->call.deadline = sc_instant_after_ms(sc_now(), deadline_ms);
    f->llm->ask(f->llm, &w->call);
}

static sc_status finish(wait *w)
{
    for (int i = 0; i < 10000 && atomic_load(&w->done) == 0; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&w->done), 1);
    assert_true((w->call.answer != NULL) == (w->call.status == SC_OK));
    assert_true(w->call.status == SC_OK || w->call.error.text[0] != '\0');
    assert_null(strstr(w->call.error.text, "sk-secret"));
    return w->call.status;
}

static void drop(wait *w)
{
    sc_blob_unref(w->call.answer);
}

static uint64_t calls(fixture *f)
{
    sc_upstream_counters counters;
    sc_upstream_look(f->upstream, &counters);
    return counters.chat_calls;
}

static void assert_answered(wait *w, const char *question)
{
    char want[256];
    snprintf(want, sizeof want, "answer to: %s", question);
    assert_int_equal(finish(w), SC_OK);
    assert_string_equal(w->call.answer->bytes, want);
    assert_string_equal(w->call.finish_reason, "stop");
    assert_string_equal(w->call.answered_by, "m");
    assert_true(w->call.has_usage && w->call.completion_tokens > 2);
    drop(w);
}

static void a_question_gets_its_answer(void **state)
{
    fixture        f;
    wait           w;
    sc_llm_options options = usual();
    char           path[ROOM], headers[ROOM], body[ROOM];
    (void)state;
    start(&f, &options);
    ask(&f, &w, "what is it", 5000);
    assert_answered(&w, "what is it");
    sc_upstream_last(f.upstream, SC_UPSTREAM_CHAT, path, headers, body, ROOM);
    assert_string_equal(path, "/v1/chat/completions");
    assert_non_null(strstr(headers, "Authorization: Bearer sk-secret"));
    assert_non_null(strstr(body, "\"temperature\":0.2"));
    end(&f);
}

static void a_stream_gives_the_same_answer(void **state)
{
    fixture              f;
    wait                 w;
    sc_llm_options       options = usual();
    sc_upstream_counters counters;
    (void)state;
    options.stream = true;
    start(&f, &options);
    ask(&f, &w, "one two three four five six seven", 5000);
    assert_answered(&w, "one two three four five six seven");
    sc_upstream_control(f.upstream, "{\"chat\": {\"chunk_ms\": 2}}");
    ask(&f, &w, "again", 5000);
    assert_answered(&w, "again");
    /* Some servers leave the last line out; the reason to finish and HTTP's own end are enough. */
    sc_upstream_control(f.upstream, "{\"chat\": {\"fault\": \"no_done\"}}");
    ask(&f, &w, "and again", 5000);
    assert_answered(&w, "and again");
    sc_upstream_look(f.upstream, &counters);
    assert_int_equal(counters.chat_streams, 3);
    end(&f);
}

static void expect(fixture *f, const char *script, sc_status status, const char *cause)
{
    wait w;
    sc_upstream_control(f->upstream, script);
    ask(f, &w, "one two three four five six seven", 20000);
    sc_status got = finish(&w);
    if (got != status || (cause != NULL && strstr(w.call.error.text, cause) == NULL))
        print_error("%s: %s, %s\n", script, sc_status_name(got), w.call.error.text);
    assert_int_equal(got, status);
    assert_true(cause == NULL || strstr(w.call.error.text, cause) != NULL);
    drop(&w);
}

/* What the upstream did wrong would be kept as an answer. */
static void a_bad_reply_is_no_answer(void **state)
{
    fixture        f;
    sc_llm_options options = usual();
    (void)state;
    start(&f, &options);
    expect(&f, "{\"chat\": {\"status\": 429}}", SC_UNAVAILABLE, "HTTP 429");
    expect(&f, "{\"chat\": {\"status\": 500}}", SC_UNAVAILABLE, "HTTP 500");
    expect(&f, "{\"chat\": {\"status\": 401}}", SC_UNAVAILABLE, "key");
    expect(&f, "{\"chat\": {\"status\": 400}}", SC_INVALID, "HTTP 400");
    expect(&f, "{\"chat\": {\"fault\": \"not_json\"}}", SC_CORRUPT, "JSON");
    expect(&f, "{\"chat\": {\"fault\": \"truncate\"}}", SC_CORRUPT, "JSON");
    expect(&f, "{\"chat\": {\"fault\": \"empty_body\"}}", SC_CORRUPT, "JSON");
    expect(&f, "{\"chat\": {\"fault\": \"deep\"}}", SC_CORRUPT, "JSON");
    expect(&f, "{\"chat\": {\"fault\": \"wrong_types\"}}", SC_CORRUPT, "choices");
    expect(&f, "{\"chat\": {\"fault\": \"no_choices\"}}", SC_UNAVAILABLE, "no choice");
    expect(&f, "{\"chat\": {\"fault\": \"no_message\"}}", SC_CORRUPT, "message");
    expect(&f, "{\"chat\": {\"fault\": \"null_content\"}}", SC_UNAVAILABLE, "without text");
    expect(&f, "{\"chat\": {\"fault\": \"empty_content\"}}", SC_UNAVAILABLE, "empty");
    expect(&f, "{\"chat\": {\"fault\": \"bad_utf8\"}}", SC_CORRUPT, NULL);
    expect(&f, "{\"chat\": {\"fault\": \"close\"}}", SC_UNAVAILABLE, NULL);
    expect(&f, "{\"chat\": {\"fault\": \"cut\"}}", SC_UNAVAILABLE, NULL);
    expect(&f, "{\"chat\": {\"fault\": \"redirect\"}}", SC_UNAVAILABLE, "HTTP 302");
    expect(&f, "{\"chat\": {\"fault\": \"huge\"}}", SC_TOO_LARGE, NULL);
    expect(&f, "{\"chat\": {\"fault\": \"huge_declared\"}}", SC_TOO_LARGE, NULL);
    /* None was asked twice but "close": a connection that was idle and dies without a byte has
     * most likely been closed before the request arrived, so libcurl sends it again. */
    assert_int_equal(calls(&f), 20);
    end(&f);
}

/* Half an answer would be kept as a whole one. */
static void a_broken_stream_is_no_answer(void **state)
{
    fixture        f;
    sc_llm_options options = usual();
    (void)state;
    options.stream = true;
    start(&f, &options);
    expect(&f, "{\"chat\": {\"fault\": \"stream_cut\"}}", SC_UNAVAILABLE, NULL);
    expect(&f, "{\"chat\": {\"fault\": \"stream_error\"}}", SC_UNAVAILABLE, "mid-stream");
    expect(&f, "{\"chat\": {\"fault\": \"stream_garbage\"}}", SC_CORRUPT, "JSON");
    expect(&f, "{\"chat\": {\"fault\": \"long_line\"}}", SC_TOO_LARGE, NULL);
    expect(&f, "{\"chat\": {\"fault\": \"not_json\"}}", SC_UNAVAILABLE, "ended before");
    expect(&f, "{\"chat\": {\"fault\": \"empty_content\"}}", SC_UNAVAILABLE, "empty");
    expect(&f, "{\"chat\": {\"fault\": \"huge\"}}", SC_TOO_LARGE, NULL);
    expect(&f, "{\"chat\": {\"status\": 503}}", SC_UNAVAILABLE, "HTTP 503");
    expect(&f, "{}", SC_UNAVAILABLE, "HTTP 503");
    end(&f);
}

static void other_reasons_to_finish_are_told(void **state)
{
    fixture        f;
    wait           w;
    sc_llm_options options = usual();
    (void)state;
    start(&f, &options);
    sc_upstream_control(f.upstream, "{\"chat\": {\"finish_reason\": \"length\"}}");
    ask(&f, &w, "q", 3000);
    assert_int_equal(finish(&w), SC_OK);
    assert_string_equal(w.call.finish_reason, "length");
    drop(&w);
    end(&f);
}

static void an_answer_over_the_bound_is_refused(void **state)
{
    fixture        f;
    wait           w;
    sc_llm_options options = usual();
    (void)state;
    options.answer_bytes_max = 12;
    start(&f, &options);
    ask(&f, &w, "a", 3000);
    assert_int_equal(finish(&w), SC_OK);
    drop(&w);
    ask(&f, &w, "ab", 3000);
    assert_int_equal(finish(&w), SC_TOO_LARGE);
    end(&f);
}

static void a_call_ends_at_its_deadline_or_at_ours(void **state)
{
    fixture        f;
    wait           w;
    sc_llm_options options = usual();
    (void)state;
    options.timeout_ms = 150;
    start(&f, &options);
    sc_upstream_control(f.upstream, "{\"chat\": {\"fault\": \"hang\"}}");
    sc_instant before = sc_now();
    ask(&f, &w, "q", 60);
    assert_int_equal(finish(&w), SC_TIMEOUT);
    assert_true(sc_on_time(before, w.ended, 110));
    before = sc_now();
    ask(&f, &w, "q", 60000);
    assert_int_equal(finish(&w), SC_TIMEOUT);
    assert_true(sc_on_time(before, w.ended, 200));
    end(&f);
}

/* An LLM bill for an answer that nobody waits for. */
static void a_cancelled_call_ends_its_transfer(void **state)
{
    fixture              f;
    wait                 w;
    sc_llm_options       options = usual();
    sc_upstream_counters counters;
    (void)state;
    start(&f, &options);
    sc_upstream_control(f.upstream, "{\"chat\": {\"fault\": \"hang\"}}");
    ask(&f, &w, "q", 60000);
    usleep(30000);
    sc_instant before = sc_now();
    f.llm->cancel(f.llm, &w.call);
    assert_int_equal(finish(&w), SC_CANCELLED);
    assert_true(sc_on_time(before, w.ended, 50));
    f.llm->cancel(f.llm, &w.call); /* too late, and harmless */
    usleep(30000);
    sc_upstream_look(f.upstream, &counters);
    assert_int_equal(counters.abandoned, 1);
    end(&f);
}

static void only_what_cost_nothing_is_tried_again(void **state)
{
    fixture        f;
    wait           w;
    sc_llm_options options = usual();
    (void)state;
    options.retries = 1;
    start(&f, &options);
    sc_upstream_control(f.upstream, "{\"chat\": {\"status\": 429, \"retry_after_ms\": 10, \"times\": 1}}");
    ask(&f, &w, "q", 3000);
    assert_answered(&w, "q");
    assert_int_equal(calls(&f), 2);
    expect(&f, "{\"chat\": {\"status\": 500}}", SC_UNAVAILABLE, "HTTP 500");
    expect(&f, "{\"chat\": {\"fault\": \"cut\"}}", SC_UNAVAILABLE, NULL);
    assert_int_equal(calls(&f), 4);
    end(&f);
}

static void a_call_is_cancelled_while_it_waits_to_be_tried_again(void **state)
{
    fixture        f;
    wait           w;
    sc_llm_options options = usual();
    (void)state;
    options.retries = 3;
    start(&f, &options);
    sc_upstream_control(f.upstream, "{\"chat\": {\"status\": 429, \"retry_after_s\": 2}}");
    ask(&f, &w, "q", 60000);
    usleep(50000);
    f.llm->cancel(f.llm, &w.call);
    assert_int_equal(finish(&w), SC_CANCELLED);
    assert_int_equal(calls(&f), 1);
    end(&f);
}

static void the_breaker_refuses_after_failures_in_a_row(void **state)
{
    fixture        f;
    wait           w;
    sc_llm_options options = usual();
    int            breaker = 0;
    uint64_t       opened = 0;
    size_t         in_flight = 9;
    (void)state;
    options.breaker_failures = 2;
    start(&f, &options);
    expect(&f, "{\"chat\": {\"status\": 500}}", SC_UNAVAILABLE, "HTTP 500");
    expect(&f, "{\"chat\": {\"status\": 400}}", SC_INVALID, NULL); /* not its fault */
    expect(&f, "{\"chat\": {\"status\": 500}}", SC_UNAVAILABLE, "HTTP 500");
    expect(&f, "{\"chat\": {\"status\": 500}}", SC_UNAVAILABLE, "HTTP 500");
    ask(&f, &w, "q", 3000);
    assert_int_equal(atomic_load(&w.done), 1); /* at once */
    assert_int_equal(finish(&w), SC_UNAVAILABLE);
    assert_int_equal(calls(&f), 4);
    f.llm->look(f.llm, &breaker, &opened, &in_flight);
    assert_int_equal(breaker, 1);
    assert_int_equal(opened, 1);
    assert_int_equal(in_flight, 0);
    end(&f);
}

/* One impatient caller could close the model for everybody. */
static void a_callers_short_deadline_does_not_open_the_breaker(void **state)
{
    fixture        f;
    wait           w;
    sc_llm_options options = usual();
    (void)state;
    options.breaker_failures = 1;
    start(&f, &options);
    sc_upstream_control(f.upstream, "{\"chat\": {\"delay_ms\": 100}}");
    ask(&f, &w, "q", 20);
    assert_int_equal(finish(&w), SC_TIMEOUT);
    ask(&f, &w, "q", 3000);
    assert_answered(&w, "q");
    end(&f);
}

static void a_full_queue_refuses_at_once(void **state)
{
    fixture              f;
    wait                 w[4];
    sc_llm_options       options = usual();
    sc_upstream_counters counters;
    (void)state;
    options.connections = 1;
    options.queue_max = 2;
    start(&f, &options);
    sc_upstream_control(f.upstream, "{\"chat\": {\"delay_ms\": 30}}");
    for (int i = 0; i < 4; i++)
        ask(&f, &w[i], "q", 5000);
    assert_int_equal(atomic_load(&w[3].done), 1);
    assert_int_equal(finish(&w[3]), SC_BUSY);
    for (int i = 0; i < 3; i++)
        assert_answered(&w[i], "q");
    sc_upstream_look(f.upstream, &counters);
    assert_int_equal(counters.chat_in_flight_max, 1);
    end(&f);
}

/* ---- many threads ---- */

enum { THREADS = 4, ROUNDS = 60 };

typedef struct {
    fixture *f;
    unsigned seed;
    int      bad;
} asker;

static void *run_asker(void *arg)
{
    asker *me = arg;
    for (int i = 0; i < ROUNDS; i++) {
        wait w;
        char question[32], want[64];
        snprintf(question, sizeof question, "question %u", (unsigned)rand_r(&me->seed));
        snprintf(want, sizeof want, "answer to: %s", question);
        ask(me->f, &w, question, i % 7 == 0 ? 2 : 10000);
        if (rand_r(&me->seed) % 4 == 0)
            me->f->llm->cancel(me->f->llm, &w.call);
        for (int ms = 0; ms < 20000 && atomic_load(&w.done) == 0; ms++)
            usleep(500);
        sc_status status = w.call.status;
        me->bad += atomic_load(&w.done) != 1;
        me->bad += status == SC_OK && strcmp(w.call.answer->bytes, want) != 0;
        me->bad += status != SC_OK && status != SC_CANCELLED && status != SC_TIMEOUT &&
                   status != SC_UNAVAILABLE;
        drop(&w);
    }
    return NULL;
}

static void every_call_ends_once_with_its_own_answer(void **state)
{
    fixture        f;
    pthread_t      threads[THREADS];
    asker          askers[THREADS];
    sc_llm_options options = usual();
    (void)state;
    options.retries = 1;
    start(&f, &options);
    sc_upstream_control(f.upstream, "{\"chat\": {\"jitter_ms\": 4, \"status\": 429, "
                                    "\"retry_after_ms\": 1, \"times\": 100}}");
    for (unsigned i = 0; i < THREADS; i++) {
        askers[i] = (asker){.f = &f, .seed = i};
        pthread_create(&threads[i], NULL, run_asker, &askers[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(askers[i].bad, 0);
    }
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_gets_its_answer),
        cmocka_unit_test(a_stream_gives_the_same_answer),
        cmocka_unit_test(a_bad_reply_is_no_answer),
        cmocka_unit_test(a_broken_stream_is_no_answer),
        cmocka_unit_test(other_reasons_to_finish_are_told),
        cmocka_unit_test(an_answer_over_the_bound_is_refused),
        cmocka_unit_test(a_call_ends_at_its_deadline_or_at_ours),
        cmocka_unit_test(a_cancelled_call_ends_its_transfer),
        cmocka_unit_test(only_what_cost_nothing_is_tried_again),
        cmocka_unit_test(a_call_is_cancelled_while_it_waits_to_be_tried_again),
        cmocka_unit_test(the_breaker_refuses_after_failures_in_a_row),
        cmocka_unit_test(a_callers_short_deadline_does_not_open_the_breaker),
        cmocka_unit_test(a_full_queue_refuses_at_once),
        cmocka_unit_test(every_call_ends_once_with_its_own_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
