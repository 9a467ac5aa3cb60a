#include "tests/faults/load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/clock.h"
#include "tests/support/cmocka.h"

struct sc_load {
    sc_load_options options;
    sc_asker       *askers[SC_LOAD_ASKERS_MAX];
    size_t          askers_count;
    size_t          callers_count;
    pthread_t       callers[SC_LOAD_CALLERS_MAX];
    atomic_bool     stop;
    atomic_uint     started;

    pthread_mutex_t lock;
    sc_load_figures seen; /* under lock */
};

/* Never the same question twice in a process. */
static void new_prompt(char *prompt, size_t room)
{
    static atomic_ulong next;
    snprintf(prompt, room, "New question number %lu?", atomic_fetch_add(&next, 1));
}

static void known_prompt(char *prompt, size_t room, unsigned number)
{
    snprintf(prompt, room, "Known question %u?", number % SC_LOAD_KNOWN);
}

static void note(sc_load *load, const sc_ask_response *response, const sc_outcome *outcome,
                 const char *prompt, bool is_new, unsigned long us)
{
    pthread_mutex_lock(&load->lock);
    sc_load_figures *seen = &load->seen;
    if (us > seen->slowest_us)
        seen->slowest_us = us;
    seen->new_sent += is_new;
    if (response == NULL) {
        seen->failed++;
        seen->new_failed += is_new;
        seen->by_status[outcome->status]++;
        seen->with_cause += load->options.cause != NULL && strstr(outcome->text, load->options.cause) != NULL;
        if (seen->failed == 1)
            snprintf(seen->first_error, sizeof seen->first_error, "%s", outcome->text);
    } else {
        seen->answered++;
        seen->wrong += strstr(response->answer, prompt) == NULL;
        seen->stale += response->stale != 0;
        *(response->source == SEMCACHE__V1__SOURCE__SOURCE_LLM ? &seen->asked : &seen->hits) += 1;
    }
    pthread_mutex_unlock(&load->lock);
}

static void count(sc_load *load, unsigned long *figure)
{
    pthread_mutex_lock(&load->lock);
    (*figure)++;
    pthread_mutex_unlock(&load->lock);
}

static sc_ask_response *ask_until_through(sc_load *load, sc_asker *asker,
                                          const sc_ask_request *request, sc_outcome *outcome)
{
    enum { TRIES_MAX = 50, PAUSE_US = 20000 };
    sc_ask_response *response = sc_ask(asker, request, outcome);
    for (int tries = 1; load->options.retry && response == NULL && tries < TRIES_MAX; tries++) {
        if (outcome->status != SC_UNAVAILABLE)
            break;
        usleep(PAUSE_US);
        count(load, &load->seen.retries);
        response = sc_ask(asker, request, outcome);
    }
    return response;
}

static void ask_one(sc_load *load, sc_asker *asker, const char *prompt, bool is_new)
{
    sc_outcome     outcome;
    sc_ask_request request = sc_ask_init(prompt);
    if (load->options.stale_seconds != 0) {
        request.optional_stale_if_error_seconds_case =
            SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_STALE_IF_ERROR_SECONDS_STALE_IF_ERROR_SECONDS;
        request.stale_if_error_seconds = load->options.stale_seconds;
    }
    count(load, &load->seen.sent);
    sc_instant       start = sc_now();
    sc_ask_response *response = ask_until_through(load, asker, &request, &outcome);
    note(load, response, &outcome, prompt, is_new, (unsigned long)sc_elapsed_us(start, sc_now()));
    if (response != NULL)
        sc_ask_free(response);
}

static void *call(void *arg)
{
    sc_load *load = arg;
    unsigned me = atomic_fetch_add(&load->started, 1);
    for (unsigned turn = me; !atomic_load(&load->stop); turn++) {
        char prompt[64];
        bool is_new = turn % 4 == 3;
        if (is_new)
            new_prompt(prompt, sizeof prompt);
        else
            known_prompt(prompt, sizeof prompt, turn);
        ask_one(load, load->askers[turn % load->askers_count], prompt, is_new);
        usleep(load->options.pause_us);
    }
    return NULL;
}

sc_load *sc_load_start(sc_asker *const *askers, size_t askers_count, const sc_load_options *options)
{
    sc_load *load = calloc(1, sizeof *load);
    assert_non_null(load);
    assert_true(askers_count <= SC_LOAD_ASKERS_MAX);
    if (options != NULL)
        load->options = *options;
    if (load->options.pause_us == 0)
        load->options.pause_us = 1000;
    load->callers_count = load->options.callers == 0 ? 8 : load->options.callers;
    assert_true(load->callers_count <= SC_LOAD_CALLERS_MAX);
    memcpy(load->askers, askers, askers_count * sizeof *askers);
    load->askers_count = askers_count;
    pthread_mutex_init(&load->lock, NULL);
    for (size_t i = 0; i < load->callers_count; i++)
        assert_int_equal(pthread_create(&load->callers[i], NULL, call, load), 0);
    return load;
}

sc_load_figures sc_load_look(sc_load *load)
{
    pthread_mutex_lock(&load->lock);
    sc_load_figures seen = load->seen;
    pthread_mutex_unlock(&load->lock);
    return seen;
}

void sc_load_wait_for(sc_load *load, unsigned long more)
{
    enum { STEP_MS = 10, WAIT_MS = 20000 };
    unsigned long want = sc_load_look(load).sent + more;
    for (int waited = 0; sc_load_look(load).sent < want; waited += STEP_MS) {
        if (waited >= WAIT_MS)
            fail_msg("%lu more requests were not sent within %d s", more, WAIT_MS / 1000);
        usleep(STEP_MS * 1000);
    }
}

sc_load_figures sc_load_stop(sc_load *load, const char *name)
{
    atomic_store(&load->stop, true);
    for (size_t i = 0; i < load->callers_count; i++)
        pthread_join(load->callers[i], NULL);
    sc_load_figures seen = load->seen;
    print_message("%s: sent %lu, answered %lu, failed %lu, wrong %lu, lost %lu; hits %lu, LLM %lu, "
                  "stale %lu, sent again %lu; slowest %lu ms%s%s\n",
                  name, seen.sent, seen.answered, seen.failed, seen.wrong,
                  seen.sent - seen.answered - seen.failed, seen.hits, seen.asked, seen.stale,
                  seen.retries, seen.slowest_us / 1000, seen.failed == 0 ? "" : "; first failure: ",
                  seen.first_error);
    pthread_mutex_destroy(&load->lock);
    free(load);
    return seen;
}

void sc_load_teach(sc_asker *asker)
{
    for (unsigned i = 0; i < SC_LOAD_KNOWN; i++) {
        char prompt[64];
        known_prompt(prompt, sizeof prompt, i);
        sc_ask_request request = sc_ask_init(prompt);
        sc_ask_free(sc_ask(asker, &request, NULL));
    }
}
