/* More calls than the server takes, and callers who do not read what they asked for. */
#include "tests/support/cmocka.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/lib/client.h"
#include "src/base/clock.h"
#include "tests/support/raw.h"
#include "tests/support/world.h"

enum {
    INFLIGHT_MAX = 32,
    RETRY_AFTER_MS = 250,
    CALL_MS_MAX = 3000, /* of the second server */
    /* The promise is 50 ms; on a machine with other work to do this is when the test gives up. */
    ENDED_MS_MAX = 3000
};

static int set_up(void **state)
{
    static sc_world here;
    *state = &here;
    sc_world_open(&here, 1, (const char *const[]){"RPC_INFLIGHT_MAX=32", "RPC_RETRY_AFTER_MS=250", NULL});
    if (here.redis != NULL)
        sc_world_add(&here, (const char *const[]){"RPC_CALL_MS_MAX=3000", "LLM_TIMEOUT_MS=3000", NULL});
    return 0;
}

static sc_world *friendly(void **state)
{
    sc_world *here = sc_world_of(state);
    assert_true(sc_upstream_control(here->upstream, "{\"chat\": {}}"));
    return here;
}

/* ---- what is watched ------------------------------------------------------------------------------- */

static long rss_kib(pid_t pid)
{
    char path[64], line[128];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmRSS: %ld kB", &kib) == 1)
            break;
    fclose(file);
    return kib;
}

static sc_upstream_counters upstream_of(sc_world *here)
{
    sc_upstream_counters counters;
    sc_upstream_look(here->upstream, &counters);
    return counters;
}

/* Calls under way at a server, this one left out. */
static uint64_t in_flight_at(sc_world *here, size_t server)
{
    sc_stats_response *stats = sc_ask_stats(here->askers[server]);
    uint64_t           calls = stats->server->in_flight;
    sc_stats_free(stats);
    return calls == 0 ? 0 : calls - 1;
}

static uint64_t in_flight(sc_world *here)
{
    return in_flight_at(here, 0);
}

/* Answers given by a server, from memory or not. */
static uint64_t answered(sc_world *here, size_t server)
{
    sc_stats_response *stats = sc_ask_stats(here->askers[server]);
    uint64_t           answers = stats->since_start->llm + stats->since_start->exact;
    sc_stats_free(stats);
    return answers;
}

static uint64_t overdue(sc_world *here)
{
    sc_stats_response *stats = sc_ask_stats(here->askers[1]);
    uint64_t           calls = stats->server->calls_overdue;
    sc_stats_free(stats);
    return calls;
}

#define WITHIN(ms, condition, ...)                                                                     \
    for (sc_instant since_ = sc_now(); !(condition);) {                                                \
        if (sc_elapsed_us(since_, sc_now()) > (ms) * 1000LL)                                           \
            fail_msg(__VA_ARGS__);                                                                     \
        usleep(500);                                                                                   \
    }

/* ---- calls that are not waited for here --------------------------------------------------------------- */

typedef struct {
    char            prompt[64];
    sc_client_call *call;
    atomic_int      code; /* -1: under way */
    int64_t         retry_after_ms;
    sc_instant      started, ended;
} asked;

static void on_done(sc_client_call *call, void *context)
{
    asked                 *a = context;
    const sc_client_reply *reply = sc_client_call_reply(call);
    a->retry_after_ms = reply->retry_after_ms;
    a->ended = sc_now();
    atomic_store(&a->code, reply->code);
}

static sc_client *open_client(const char *target)
{
    sc_client        *client = NULL;
    sc_client_options options = {.target = target};
    sc_error          error;
    assert_int_equal(sc_client_open(&options, &client, &error), SC_OK);
    return client;
}

static void start(asked *a, sc_client *client, const char *prompt, int64_t timeout_ms)
{
    uint8_t bytes[128];
    snprintf(a->prompt, sizeof a->prompt, "%s", prompt);
    sc_ask_request request = sc_ask_init(a->prompt);
    size_t         len = protobuf_c_message_pack(&request.base, bytes);
    if (a->call == NULL)
        assert_int_equal(sc_client_call_open(client, "/semcache.v1.SemanticCache/Answer", on_done, a, &a->call), SC_OK);
    atomic_store(&a->code, -1);
    a->started = sc_now();
    sc_client_call_start(a->call, (sc_str){(const char *)bytes, len}, sc_instant_after_ms(sc_now(), timeout_ms), true);
}

static int wait_for(asked *a)
{
    WITHIN(20000, atomic_load(&a->code) >= 0, "no answer to %s", a->prompt);
    return atomic_load(&a->code);
}

/* ---- floods ---------------------------------------------------------------------------------------------- */

static void calls_beyond_the_limit_are_told_to_come_back(void **state)
{
    enum { ROUNDS = 10, CALLS = 400 };
    sc_world     *here = friendly(state);
    sc_client    *client = open_client(sc_test_server_target(here->servers[0]));
    asked        *calls = calloc(CALLS, sizeof *calls);
    unsigned long answered = 0, refused = 0, failed = 0;
    int64_t       slowest_us = 0;
    long          rss_before = 0;
    assert_non_null(calls);
    assert_true(sc_upstream_control(here->upstream, "{\"chat\": {\"delay_ms\": 200}}"));
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < CALLS; i++) {
            char prompt[64];
            snprintf(prompt, sizeof prompt, "Flood %u of round %u", i, round);
            start(&calls[i], client, prompt, 20000);
        }
        for (unsigned i = 0; i < CALLS; i++) {
            int     code = wait_for(&calls[i]);
            int64_t us = sc_elapsed_us(calls[i].started, calls[i].ended);
            answered += code == 0;
            refused += code == 8;
            failed += code != 0 && code != 8;
            if (code == 8)
                assert_int_equal(calls[i].retry_after_ms, RETRY_AFTER_MS);
            if (code == 8 && us > slowest_us)
                slowest_us = us;
        }
        if (round == 0)
            rss_before = rss_kib(sc_test_server_pid(here->servers[0]));
    }
    long grown = rss_kib(sc_test_server_pid(here->servers[0])) - rss_before;
    print_message("flood: sent %d, answered %lu, refused %lu, failed %lu, lost %lu; slowest refusal %lld ms; memory "
                  "%+ld KiB after the first round\n",
                  ROUNDS * CALLS, answered, refused, failed, ROUNDS * CALLS - answered - refused - failed,
                  (long long)slowest_us / 1000, grown);
    assert_int_equal(failed, 0);
    assert_true(answered >= INFLIGHT_MAX && refused > 0);
    assert_int_equal(answered + refused, ROUNDS * CALLS);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(grown < 16 * 1024);
#endif
    for (unsigned i = 0; i < CALLS; i++)
        sc_client_call_close(calls[i].call);
    free(calls);
    sc_client_close(client);
    WITHIN(ENDED_MS_MAX, in_flight(here) == 0, "%lu calls are still under way", (unsigned long)in_flight(here));
}

/* ---- callers who leave -------------------------------------------------------------------------------------- */

/* Somebody else waits for the same answer, who must not suffer. */
static void the_llm_goes_on_while_somebody_waits(void **state)
{
    sc_world  *here = friendly(state);
    sc_client *client = open_client(sc_test_server_target(here->servers[0]));
    asked      one = {.call = NULL}, other = {.call = NULL};
    uint64_t   before = upstream_of(here).abandoned, chats = upstream_of(here).chat_calls;
    assert_true(sc_upstream_control(here->upstream, "{\"chat\": {\"delay_ms\": 1500}}"));
    start(&one, client, "Shared by two?", 15000);
    start(&other, client, "Shared by two?", 15000);
    WITHIN(5000, in_flight(here) == 2 && upstream_of(here).chat_calls > chats, "the calls did not arrive");
    sc_client_call_cancel(one.call);
    assert_int_equal(wait_for(&one), 1);
    assert_int_equal(wait_for(&other), 0);
    assert_int_equal(upstream_of(here).abandoned, before);
    assert_int_equal(upstream_of(here).chat_calls, chats + 1);
    sc_client_call_close(one.call);
    sc_client_call_close(other.call);
    sc_client_close(client);
}

/* ---- callers who do not read ---------------------------------------------------------------------------------- */

/* Asks a server for an answer larger than the caller's window, of which nothing is read, and waits until
 * it is on its way. Not through a proxy that holds bytes back: the kernel's buffers take megabytes. */
static raw_call *ask_and_not_read(sc_world *here, size_t server, const char *prompt, int64_t timeout_ms)
{
    uint8_t        bytes[128];
    sc_ask_request request = sc_ask_init(prompt);
    size_t         len = protobuf_c_message_pack(&request.base, bytes);
    uint64_t       before = answered(here, server);
    raw_call      *call = raw_open(sc_test_server_target(here->servers[server]),
                                   "/semcache.v1.SemanticCache/Answer", timeout_ms, false);
    assert_true(raw_send(call, (sc_str){(const char *)bytes, len}));
    raw_half_close(call);
    WITHIN(5000, answered(here, server) > before, "nothing was answered");
    return call;
}

static void who_does_not_read_is_not_waited_for(void **state)
{
    enum { DEADLINE_MS = 1500, SURELY_SENT_MS = 200 };
    sc_world  *here = friendly(state);
    sc_instant deadline = sc_instant_after_ms(sc_now(), DEADLINE_MS);
    assert_true(sc_upstream_control(here->upstream, "{\"chat\": {\"answer_bytes\": 200000}}"));
    raw_call *call = ask_and_not_read(here, 0, "A long answer that nobody reads?", DEADLINE_MS);
    usleep(SURELY_SENT_MS * 1000);
    assert_true(in_flight(here) == 1 || !sc_instant_before(sc_now(), deadline));
    WITHIN(DEADLINE_MS + ENDED_MS_MAX, in_flight(here) == 0, "the server still tries to write");
    print_message("a caller does not read: its call was over %.1f ms after its deadline\n",
                  (double)sc_elapsed_us(deadline, sc_now()) / 1000);
    raw_close(call);
}

/* Without a deadline nothing of the caller's ends the call: the server's own bound does. */
static void who_does_not_read_and_waits_for_ever_is_ended(void **state)
{
    enum { CALLERS = 8 };
    sc_world  *here = friendly(state);
    char       prompt[64];
    raw_call  *calls[CALLERS];
    uint64_t   before = overdue(here);
    sc_instant since = sc_now();
    assert_true(sc_upstream_control(here->upstream, "{\"chat\": {\"answer_bytes\": 200000}}"));
    for (unsigned i = 0; i < CALLERS; i++) {
        snprintf(prompt, sizeof prompt, "A long answer, never read, %u?", i / 2); /* half are hits */
        calls[i] = ask_and_not_read(here, 1, prompt, 0);
    }
    WITHIN(CALL_MS_MAX * 2 + ENDED_MS_MAX, in_flight_at(here, 1) == 0, "the server tries to write for ever");
    print_message("callers without a deadline do not read: over %.1f s after the first began; the bound is %d s\n",
                  (double)sc_elapsed_us(since, sc_now()) / 1e6, CALL_MS_MAX / 1000);
    assert_int_equal(overdue(here), before + CALLERS);
    for (unsigned i = 0; i < CALLERS; i++)
        raw_close(calls[i]);
}

/* An ordinary long answer of the model's, asked for without a deadline. */
static void who_waits_long_for_the_llm_is_answered(void **state)
{
    sc_world  *here = friendly(state);
    sc_client *client = open_client(sc_test_server_target(here->servers[1]));
    asked      a = {.call = NULL};
    uint64_t   before = overdue(here);
    assert_true(sc_upstream_control(here->upstream, "{\"chat\": {\"delay_ms\": 2000}}"));
    start(&a, client, "Slow but good?", INT64_MAX);
    assert_int_equal(wait_for(&a), 0);
    assert_int_equal(overdue(here), before);
    sc_client_call_close(a.call);
    sc_client_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_beyond_the_limit_are_told_to_come_back),
        cmocka_unit_test(the_llm_goes_on_while_somebody_waits),
        cmocka_unit_test(who_does_not_read_is_not_waited_for),
        cmocka_unit_test(who_does_not_read_and_waits_for_ever_is_ended),
        cmocka_unit_test(who_waits_long_for_the_llm_is_answered),
    };
    return cmocka_run_group_tests(tests, set_up, sc_world_tear_down);
}
