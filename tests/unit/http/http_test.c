/* The loop against the scripted upstream, over loopback. */
#include "src/http/http.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/cmocka.h"
#include "tests/support/relay.h"
#include "tests/support/upstream/upstream.h"

static const char chat_body[] =
    "{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}";
static const char stream_body[] = "{\"model\": \"m\", \"stream\": true, \"messages\": "
                                  "[{\"role\": \"user\", \"content\": \"one two three four five six\"}]}";

typedef struct {
    sc_upstream     *upstream;
    sc_http         *http;
    sc_http_headers *headers;
    char             url[128];
} fixture;

typedef struct {
    sc_http_request request;
    sc_error        error;
    atomic_int      done;
    sc_instant      ended;
    size_t          streamed;
    sc_status       refuse_with;
    sc_http        *again; /* done() sends once more */
} wait;

static void setup(fixture *f)
{
    const char *const     lines[] = {"Content-Type: application/json", "X-Test: yes"};
    const sc_http_options options = {.user_agent = "test/1"};
    sc_error              error = {0};
    f->upstream = sc_upstream_start(NULL);
    assert_non_null(f->upstream);
    assert_int_equal(sc_http_open(&options, &f->http, &error), SC_OK);
    assert_int_equal(sc_http_headers_make(lines, 2, &f->headers), SC_OK);
    snprintf(f->url, sizeof f->url, "%s/v1/chat/completions", sc_upstream_url(f->upstream));
}

static void teardown(fixture *f)
{
    sc_http_close(f->http);
    sc_http_headers_free(f->headers);
    sc_upstream_stop(f->upstream);
}

static void on_done(sc_http_request *request)
{
    wait *w = SC_CONTAINER(request, wait, request);
    w->ended = sc_now();
    if (w->again != NULL) {
        sc_http *http = w->again;
        w->again = NULL;
        assert_int_equal(sc_http_send(http, request), SC_OK);
        return;
    }
    atomic_fetch_add(&w->done, 1);
}

static sc_status on_data(sc_http_request *request, sc_str bytes)
{
    wait *w = SC_CONTAINER(request, wait, request);
    w->streamed += bytes.len;
    return w->refuse_with;
}

static void prepare(fixture *f, wait *w, int64_t deadline_ms)
{
    *w = (wait){.request = {.method = SC_HTTP_POST,
                            .url = f->url,
                            .headers = f->headers,
                            .body = SC_STR(chat_body),
                            .body_bytes_max = 1 << 20,
                            .error = &w->error,
                            .done = on_done}};
    w->request.deadline = sc_instant_after_ms(sc_now(), deadline_ms);
}

static void finish(wait *w)
{
    for (int i = 0; i < 10000 && atomic_load(&w->done) == 0; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&w->done), 1);
}

static void run(fixture *f, wait *w)
{
    assert_int_equal(sc_http_send(f->http, &w->request), SC_OK);
    finish(w);
}

static void drop(wait *w)
{
    sc_buf_fini(&w->request.reply);
}

static void a_reply_comes_whole(void **state)
{
    fixture f;
    wait    w;
    char    path[256], headers[256], body[256];
    (void)state;
    setup(&f);
    prepare(&f, &w, 5000);
    run(&f, &w);
    assert_int_equal(w.request.status, SC_OK);
    assert_int_equal(w.request.code, 200);
    assert_non_null(strstr(w.request.reply.data, "answer to: hello"));
    assert_true(w.request.first_byte_us > 0 && w.request.total_us >= w.request.first_byte_us);
    assert_int_equal(w.request.retry_after_ms, -1);
    assert_true(w.request.maybe_sent);
    assert_true(sc_upstream_last(f.upstream, SC_UPSTREAM_CHAT, path, headers, body, 256));
    assert_string_equal(path, "/v1/chat/completions");
    assert_string_equal(body, chat_body);
    assert_non_null(strstr(headers, "X-Test: yes"));
    assert_non_null(strstr(headers, "User-Agent: test/1"));
    assert_null(strstr(headers, "Expect:"));
    drop(&w);
    teardown(&f);
}

/* Each request would pay for a handshake of its own. */
static void a_connection_is_used_again(void **state)
{
    fixture              f;
    wait                 w;
    sc_upstream_counters counters;
    (void)state;
    setup(&f);
    for (int i = 0; i < 20; i++) {
        prepare(&f, &w, 5000);
        run(&f, &w);
        drop(&w);
    }
    sc_upstream_look(f.upstream, &counters);
    assert_int_equal(counters.chat_calls, 20);
    assert_int_equal(counters.connections, 1);
    teardown(&f);
}

/* The next tenant's request would carry the last one's key. */
static void a_handle_forgets_what_it_was_lent(void **state)
{
    fixture f;
    wait    w;
    char    path[256], headers[256], body[256];
    (void)state;
    setup(&f);
    prepare(&f, &w, 5000);
    run(&f, &w);
    drop(&w);
    prepare(&f, &w, 5000);
    w.request.headers = NULL;
    run(&f, &w);
    assert_int_equal(w.request.status, SC_OK);
    assert_true(sc_upstream_last(f.upstream, SC_UPSTREAM_CHAT, path, headers, body, 256));
    assert_null(strstr(headers, "X-Test"));
    drop(&w);
    prepare(&f, &w, 5000);
    w.request.method = SC_HTTP_GET;
    run(&f, &w);
    assert_int_equal(w.request.status, SC_OK);
    assert_null(strstr(w.request.reply.data, "answer to"));
    drop(&w);
    teardown(&f);
}

/* Handles are kept by URL; a URL that never comes again must not keep its memory. */
static void any_number_of_urls_can_be_asked(void **state)
{
    enum { URLS = 300 };
    fixture f;
    wait    w;
    char    url[192];
    (void)state;
    setup(&f);
    for (int i = 0; i < URLS; i++) {
        prepare(&f, &w, 5000);
        snprintf(url, sizeof url, "%s/%d/chat/completions", sc_upstream_url(f.upstream), i);
        w.request.url = url;
        run(&f, &w);
        assert_int_equal(w.request.code, 200);
        drop(&w);
    }
    prepare(&f, &w, 5000);
    run(&f, &w);
    assert_int_equal(w.request.code, 200);
    drop(&w);
    teardown(&f);
}

static bool read_line(const char *task, const char *file, char *line, int room)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/self/task/%s/%s", task, file);
    FILE *from = fopen(path, "r");
    bool  any = from != NULL && fgets(line, room, from) != NULL;
    if (from != NULL)
        fclose(from);
    return any;
}

/* How long the I/O thread has run. */
static int64_t loop_us(void)
{
    int64_t        ns = 0;
    char           line[128];
    DIR           *tasks = opendir("/proc/self/task");
    struct dirent *task;
    assert_non_null(tasks);
    while ((task = readdir(tasks)) != NULL)
        if (read_line(task->d_name, "comm", line, sizeof line) && strcmp(line, "sc-http\n") == 0 &&
            read_line(task->d_name, "schedstat", line, sizeof line))
            ns += strtoll(line, NULL, 10);
    closedir(tasks);
    return ns / 1000;
}

/* A socket stays watched while it is idle: that it is at its end would be news for ever. */
static void an_idle_connection_that_hangs_up_costs_nothing(void **state)
{
    fixture f;
    wait    w;
    (void)state;
    setup(&f);
    prepare(&f, &w, 5000);
    run(&f, &w);
    drop(&w);
    sc_upstream_stop(f.upstream);
    f.upstream = NULL;
    int64_t before = loop_us();
    assert_true(before > 0);
    usleep(500000);
    assert_true(loop_us() - before < 20000);
    prepare(&f, &w, 5000);
    run(&f, &w);
    assert_int_equal(w.request.status, SC_UNAVAILABLE);
    drop(&w);
    teardown(&f);
}

static void a_failing_code_is_an_outcome_with_its_body(void **state)
{
    fixture f;
    wait    w;
    (void)state;
    setup(&f);
    sc_upstream_control(f.upstream, "{\"chat\": {\"status\": 429, \"retry_after_s\": 7}}");
    prepare(&f, &w, 5000);
    w.request.on_data = on_data;
    run(&f, &w);
    assert_int_equal(w.request.status, SC_OK);
    assert_int_equal(w.request.code, 429);
    assert_int_equal(w.request.retry_after_ms, 7000);
    assert_int_equal(w.streamed, 0); /* not part of the stream */
    assert_non_null(strstr(w.request.reply.data, "the script says so"));
    drop(&w);
    sc_upstream_control(f.upstream,
                        "{\"chat\": {\"status\": 503, \"retry_after_s\": 1, \"retry_after_ms\": 250}}");
    prepare(&f, &w, 5000);
    run(&f, &w);
    assert_int_equal(w.request.code, 503);
    assert_int_equal(w.request.retry_after_ms, 250);
    drop(&w);
    teardown(&f);
}

static void a_hung_upstream_ends_at_the_deadline(void **state)
{
    static const char *const scripts[] = {
        "{\"chat\": {\"fault\": \"hang\"}}",
        "{\"chat\": {\"fault\": \"drip\"}}",
        "{\"chat\": {\"delay_ms\": 3000}}",
    };
    fixture f;
    wait    w;
    (void)state;
    setup(&f);
    for (int i = 0; i < 3; i++) {
        sc_upstream_control(f.upstream, scripts[i]);
        prepare(&f, &w, 100);
        run(&f, &w);
        assert_int_equal(w.request.status, SC_TIMEOUT);
        assert_true(sc_on_time(w.request.deadline, w.ended, 50));
        drop(&w);
    }
    teardown(&f);
}

static void a_dead_upstream_is_unavailable(void **state)
{
    fixture f;
    wait    w;
    (void)state;
    setup(&f);
    prepare(&f, &w, 5000);
    w.request.url = "http://127.0.0.1:1/v1";
    run(&f, &w);
    assert_int_equal(w.request.status, SC_UNAVAILABLE);
    assert_false(w.request.maybe_sent);
    assert_int_equal(w.request.code, 0);
    assert_string_not_equal(w.error.text, "");
    drop(&w);
    teardown(&f);
}

static void a_cut_reply_is_no_reply(void **state)
{
    static const char *const scripts[] = {
        "{\"chat\": {\"fault\": \"cut\"}}",
        "{\"chat\": {\"fault\": \"close\"}}",
    };
    fixture f;
    wait    w;
    (void)state;
    setup(&f);
    for (int i = 0; i < 2; i++) {
        sc_upstream_control(f.upstream, scripts[i]);
        prepare(&f, &w, 5000);
        run(&f, &w);
        assert_int_equal(w.request.status, SC_UNAVAILABLE);
        assert_true(w.request.maybe_sent);
        drop(&w);
    }
    teardown(&f);
}

/* 500 MB would be read into memory. */
static void a_huge_reply_stops_at_the_bound(void **state)
{
    static const char *const scripts[] = {
        "{\"chat\": {\"fault\": \"huge\"}}",
        "{\"chat\": {\"fault\": \"huge_declared\"}}",
    };
    fixture f;
    wait    w;
    (void)state;
    setup(&f);
    for (int i = 0; i < 2; i++) {
        sc_upstream_control(f.upstream, scripts[i]);
        prepare(&f, &w, 5000);
        run(&f, &w);
        assert_int_equal(w.request.status, SC_TOO_LARGE);
        assert_non_null(strstr(w.error.text, "1048576"));
        assert_true(w.request.reply.room <= (1 << 20) + 1);
        drop(&w);
    }
    teardown(&f);
}

static void a_redirect_is_not_followed(void **state)
{
    fixture f;
    wait    w;
    (void)state;
    setup(&f);
    sc_upstream_control(f.upstream, "{\"chat\": {\"fault\": \"redirect\"}}");
    prepare(&f, &w, 5000);
    run(&f, &w);
    assert_int_equal(w.request.code, 302);
    drop(&w);
    teardown(&f);
}

static void other_protocols_are_refused(void **state)
{
    fixture f;
    wait    w;
    (void)state;
    setup(&f);
    prepare(&f, &w, 5000);
    w.request.url = "file:///etc/hostname";
    run(&f, &w);
    assert_int_equal(w.request.status, SC_INVALID);
    drop(&w);
    teardown(&f);
}

/* Prompts would go to whatever HTTP_PROXY names. */
static void the_environment_names_no_proxy(void **state)
{
    fixture f;
    wait    w;
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    setup(&f);
    prepare(&f, &w, 5000);
    run(&f, &w);
    assert_int_equal(w.request.status, SC_OK);
    drop(&w);
    teardown(&f);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
}

static void a_stream_comes_in_pieces(void **state)
{
    fixture f;
    wait    w;
    (void)state;
    setup(&f);
    sc_upstream_control(f.upstream, "{\"chat\": {\"chunk_ms\": 10}}");
    prepare(&f, &w, 5000);
    w.request.body = SC_STR(stream_body);
    w.request.on_data = on_data;
    run(&f, &w);
    assert_int_equal(w.request.status, SC_OK);
    assert_true(w.streamed > 100);
    assert_int_equal(w.request.reply.len, 0);
    assert_true(w.request.total_us - w.request.first_byte_us > 10000);
    drop(&w);
    prepare(&f, &w, 5000);
    w.request.body = SC_STR(stream_body);
    w.request.on_data = on_data;
    w.refuse_with = SC_CORRUPT;
    run(&f, &w);
    assert_int_equal(w.request.status, SC_CORRUPT);
    drop(&w);
    teardown(&f);
}

static void a_cancelled_request_ends_at_once(void **state)
{
    fixture              f;
    wait                 w;
    sc_upstream_counters counters;
    (void)state;
    setup(&f);
    sc_upstream_control(f.upstream, "{\"chat\": {\"fault\": \"hang\"}}");
    prepare(&f, &w, 60000);
    assert_int_equal(sc_http_send(f.http, &w.request), SC_OK);
    usleep(50000);
    sc_instant before = sc_now();
    sc_http_cancel(f.http, &w.request);
    sc_http_cancel(f.http, &w.request);
    finish(&w);
    assert_int_equal(w.request.status, SC_CANCELLED);
    assert_true(sc_on_time(before, w.ended, 50));
    sc_http_cancel(f.http, &w.request); /* too late, and harmless */
    usleep(50000);
    assert_int_equal(atomic_load(&w.done), 1);
    for (int i = 0; i < 1000 && (sc_upstream_look(f.upstream, &counters), counters.abandoned == 0); i++)
        usleep(1000);
    assert_int_equal(counters.abandoned, 1);
    assert_int_equal(counters.chat_in_flight, 0);
    drop(&w);
    teardown(&f);
}

static void on_done_slowly(sc_http_request *request)
{
    usleep(100000); /* both others are in the inbox by now */
    on_done(request);
}

typedef struct {
    wait             w;
    sc_http         *http;
    sc_http_request *other;
} canceller;

static void on_done_cancel_other(sc_http_request *request)
{
    canceller *c = SC_CONTAINER(request, canceller, w.request);
    sc_http_cancel(c->http, c->other);
    on_done(request);
}

/* The loop would end the request a second time, in memory that is its caller's again. */
static void a_cancel_that_meets_the_end_is_withdrawn(void **state)
{
    fixture   f;
    wait      slow, late;
    canceller c;
    (void)state;
    setup(&f);
    prepare(&f, &slow, 5000);
    slow.request.done = on_done_slowly;
    assert_int_equal(sc_http_send(f.http, &slow.request), SC_OK);
    usleep(50000);
    prepare(&f, &c.w, 0); /* the deadline has passed when the loop sees them */
    prepare(&f, &late, 0);
    c.http = f.http;
    c.other = &late.request;
    c.w.request.done = on_done_cancel_other;
    assert_int_equal(sc_http_send(f.http, &c.w.request), SC_OK);
    assert_int_equal(sc_http_send(f.http, &late.request), SC_OK);
    finish(&slow);
    finish(&c.w);
    finish(&late);
    usleep(50000);
    assert_int_equal(atomic_load(&late.done), 1);
    assert_int_equal(late.request.status, SC_TIMEOUT);
    drop(&slow);
    teardown(&f);
}

/* Hundreds of connections to one upstream, and no bound on what waits. */
static void a_lane_bounds_what_runs_and_what_waits(void **state)
{
    fixture              f;
    wait                 w[6];
    sc_http_lane        *lane;
    sc_upstream_counters counters;
    (void)state;
    setup(&f);
    assert_int_equal(sc_http_lane_make(2, 3, &lane), SC_OK);
    sc_upstream_control(f.upstream, "{\"chat\": {\"delay_ms\": 60}}");
    for (int i = 0; i < 6; i++) {
        prepare(&f, &w[i], 5000);
        w[i].request.lane = lane;
        assert_int_equal(sc_http_send(f.http, &w[i].request), i < 5 ? SC_OK : SC_BUSY);
    }
    assert_int_equal(sc_http_lane_used(lane), 5);
    for (int i = 0; i < 5; i++) {
        finish(&w[i]);
        assert_int_equal(w[i].request.status, SC_OK);
        assert_true(i == 0 || !sc_instant_before(w[i].ended, w[i - 1].ended) || i == 1 || i == 3);
        drop(&w[i]);
    }
    assert_int_equal(w[5].done, 0);
    sc_upstream_look(f.upstream, &counters);
    assert_int_equal(counters.chat_in_flight_max, 2);
    assert_int_equal(sc_http_lane_used(lane), 0);
    sc_http_lane_free(lane);
    teardown(&f);
}

static void what_waits_in_a_lane_keeps_its_deadline(void **state)
{
    fixture       f;
    wait          first, late, gone;
    sc_http_lane *lane;
    (void)state;
    setup(&f);
    assert_int_equal(sc_http_lane_make(1, 10, &lane), SC_OK);
    sc_upstream_control(f.upstream, "{\"chat\": {\"fault\": \"hang\"}}");
    prepare(&f, &first, 400);
    prepare(&f, &late, 60);
    prepare(&f, &gone, 5000);
    first.request.lane = late.request.lane = gone.request.lane = lane;
    assert_int_equal(sc_http_send(f.http, &first.request), SC_OK);
    assert_int_equal(sc_http_send(f.http, &gone.request), SC_OK);
    assert_int_equal(sc_http_send(f.http, &late.request), SC_OK);
    finish(&late);
    assert_int_equal(late.request.status, SC_TIMEOUT);
    assert_true(sc_on_time(late.request.deadline, late.ended, 50));
    assert_false(late.request.maybe_sent);
    sc_http_cancel(f.http, &gone.request);
    finish(&gone);
    assert_int_equal(gone.request.status, SC_CANCELLED);
    finish(&first);
    assert_int_equal(sc_http_lane_used(lane), 0);
    sc_http_lane_free(lane);
    drop(&first);
    drop(&late);
    drop(&gone);
    teardown(&f);
}

static void a_request_can_wait_for_its_start(void **state)
{
    fixture f;
    wait    w;
    (void)state;
    setup(&f);
    prepare(&f, &w, 5000);
    sc_instant start = sc_instant_after_ms(sc_now(), 80);
    w.request.start_at = start;
    run(&f, &w);
    assert_int_equal(w.request.status, SC_OK);
    assert_false(sc_instant_before(w.ended, start));
    assert_true(sc_elapsed_us(start, w.ended) < 4000000);
    drop(&w);
    teardown(&f);
}

static void done_may_send_again(void **state)
{
    fixture              f;
    wait                 w;
    sc_upstream_counters counters;
    (void)state;
    setup(&f);
    prepare(&f, &w, 5000);
    w.again = f.http;
    run(&f, &w);
    assert_int_equal(w.request.status, SC_OK);
    assert_non_null(strstr(w.request.reply.data, "answer to: hello"));
    sc_upstream_look(f.upstream, &counters);
    assert_int_equal(counters.chat_calls, 2);
    drop(&w);
    teardown(&f);
}

static void closing_ends_what_is_under_way(void **state)
{
    fixture       f;
    wait          running, waiting, early;
    sc_http_lane *lane;
    (void)state;
    setup(&f);
    assert_int_equal(sc_http_lane_make(1, 10, &lane), SC_OK);
    sc_upstream_control(f.upstream, "{\"chat\": {\"fault\": \"hang\"}}");
    prepare(&f, &running, 60000);
    prepare(&f, &waiting, 60000);
    prepare(&f, &early, 60000);
    running.request.lane = waiting.request.lane = lane;
    early.request.start_at = sc_instant_after_ms(sc_now(), 30000);
    assert_int_equal(sc_http_send(f.http, &running.request), SC_OK);
    assert_int_equal(sc_http_send(f.http, &waiting.request), SC_OK);
    assert_int_equal(sc_http_send(f.http, &early.request), SC_OK);
    usleep(30000);
    teardown(&f);
    assert_int_equal(running.request.status, SC_CANCELLED);
    assert_int_equal(waiting.request.status, SC_CANCELLED);
    assert_int_equal(early.request.status, SC_CANCELLED);
    assert_int_equal(running.done + waiting.done + early.done, 3);
    sc_http_lane_free(lane);
}

static void header_lines_cannot_hide_other_lines(void **state)
{
    const char *const bad[] = {"Authorization: Bearer x\r\nX-Evil: 1"};
    sc_http_headers  *headers;
    (void)state;
    assert_int_equal(sc_http_headers_make(bad, 1, &headers), SC_INVALID);
    assert_null(headers);
}

static void an_unreadable_ca_file_is_named(void **state)
{
    const sc_http_options options = {.ca_file = "/nowhere/ca.pem"};
    sc_http              *http;
    sc_error              error = {0};
    (void)state;
    assert_int_equal(sc_http_open(&options, &http, &error), SC_INVALID);
    assert_null(http);
    assert_non_null(strstr(error.text, "/nowhere/ca.pem"));
}

/* ---- many threads ---- */

enum { THREADS = 4, PER_THREAD = 100 };

typedef struct {
    fixture      *f;
    sc_http_lane *lane;
    unsigned      seed;
    int           bad;
} sender;

static void *run_sender(void *arg)
{
    sender *me = arg;
    wait   *w = calloc(PER_THREAD, sizeof *w);
    for (int i = 0; i < PER_THREAD; i++) {
        prepare(me->f, &w[i], i % 7 == 0 ? 3 : 10000);
        w[i].request.lane = me->lane;
        if (sc_http_send(me->f->http, &w[i].request) != SC_OK)
            atomic_store(&w[i].done, 1);
        if (rand_r(&me->seed) % 4 == 0)
            sc_http_cancel(me->f->http, &w[i].request);
    }
    for (int i = 0; i < PER_THREAD; i++) {
        for (int ms = 0; ms < 20000 && atomic_load(&w[i].done) == 0; ms++)
            usleep(1000);
        sc_status status = w[i].request.status;
        me->bad += atomic_load(&w[i].done) != 1 ||
                   (status != SC_OK && status != SC_CANCELLED && status != SC_TIMEOUT);
        drop(&w[i]);
    }
    free(w);
    return NULL;
}

static void every_request_is_done_once(void **state)
{
    fixture       f;
    sc_http_lane *lane;
    pthread_t     threads[THREADS];
    sender        senders[THREADS];
    (void)state;
    setup(&f);
    sc_upstream_control(f.upstream, "{\"chat\": {\"jitter_ms\": 5}}");
    assert_int_equal(sc_http_lane_make(16, THREADS * PER_THREAD, &lane), SC_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        senders[i] = (sender){.f = &f, .lane = lane, .seed = i};
        pthread_create(&threads[i], NULL, run_sender, &senders[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(senders[i].bad, 0);
    }
    assert_int_equal(sc_http_lane_used(lane), 0);
    sc_http_lane_free(lane);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_comes_whole),
        cmocka_unit_test(a_connection_is_used_again),
        cmocka_unit_test(a_handle_forgets_what_it_was_lent),
        cmocka_unit_test(any_number_of_urls_can_be_asked),
        cmocka_unit_test(an_idle_connection_that_hangs_up_costs_nothing),
        cmocka_unit_test(a_failing_code_is_an_outcome_with_its_body),
        cmocka_unit_test(a_hung_upstream_ends_at_the_deadline),
        cmocka_unit_test(a_dead_upstream_is_unavailable),
        cmocka_unit_test(a_cut_reply_is_no_reply),
        cmocka_unit_test(a_huge_reply_stops_at_the_bound),
        cmocka_unit_test(a_redirect_is_not_followed),
        cmocka_unit_test(other_protocols_are_refused),
        cmocka_unit_test(the_environment_names_no_proxy),
        cmocka_unit_test(a_stream_comes_in_pieces),
        cmocka_unit_test(a_cancelled_request_ends_at_once),
        cmocka_unit_test(a_cancel_that_meets_the_end_is_withdrawn),
        cmocka_unit_test(a_lane_bounds_what_runs_and_what_waits),
        cmocka_unit_test(what_waits_in_a_lane_keeps_its_deadline),
        cmocka_unit_test(a_request_can_wait_for_its_start),
        cmocka_unit_test(done_may_send_again),
        cmocka_unit_test(closing_ends_what_is_under_way),
        cmocka_unit_test(header_lines_cannot_hide_other_lines),
        cmocka_unit_test(an_unreadable_ca_file_is_named),
        cmocka_unit_test(every_request_is_done_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
