#include "tests/support/fake_llm.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/base/random.h"

typedef struct {
    sc_link      link;
    fake_llm    *fake;
    sc_llm_call *call; /* under lock; NULL once it has ended */
} waiting;

static bool chance(double rate)
{
    return (double)sc_random_between(0, 999) < rate * 1000;
}

static sc_blob *name_question(const sc_llm_call *call)
{
    char   text[512];
    size_t len = (size_t)snprintf(text, sizeof text, "answer to [%.*s] by [%.*s] told [%.*s]",
                                  (int)call->user_prompt.len, call->user_prompt.ptr,
                                  (int)call->model.len, call->model.ptr,
                                  (int)call->system_prompt.len, call->system_prompt.ptr);
    return sc_blob_make((sc_str){text, len < sizeof text ? len : sizeof text - 1});
}

static void put_text(char *to, size_t room, const char *text)
{
    snprintf(to, room, "%s", text);
}

static void finish(fake_llm *fake, sc_llm_call *call, sc_status status)
{
    const char *text = atomic_load(&fake->text), *reason = atomic_load(&fake->finish_reason);
    if (status == SC_OK) {
        call->answer = text == NULL ? name_question(call) : sc_blob_make(sc_str_of(text));
        status = call->answer == NULL ? SC_NO_MEMORY : SC_OK;
    }
    call->status = status;
    if (status == SC_OK) {
        put_text(call->finish_reason, sizeof call->finish_reason,
                 chance(atomic_load(&fake->bad_rate)) ? "length" : reason == NULL ? "stop" : reason);
        put_text(call->answered_by, sizeof call->answered_by, "fake-llm");
        call->has_usage = true;
        call->prompt_tokens = FAKE_LLM_PROMPT_TOKENS;
        call->completion_tokens = FAKE_LLM_COMPLETION_TOKENS;
    } else {
        sc_fail(&call->error, status, "the fake LLM fails: %s", sc_status_name(status));
    }
    atomic_fetch_add(&fake->done, 1);
    call->done(call);
}

static sc_status outcome(fake_llm *fake)
{
    return chance(atomic_load(&fake->failure_rate)) ? SC_UNAVAILABLE
                                                    : (sc_status)atomic_load(&fake->status);
}

/* The call, if nobody else has ended it. */
static sc_llm_call *take(waiting *w)
{
    fake_llm *fake = w->fake;
    pthread_mutex_lock(&fake->lock);
    sc_llm_call *call = w->call;
    w->call = NULL;
    if (call != NULL) {
        sc_list_remove(&w->link);
        atomic_fetch_sub(&fake->waiting_count, 1);
    }
    pthread_mutex_unlock(&fake->lock);
    return call;
}

static void time_is_up(void *argument)
{
    waiting     *w = argument;
    sc_llm_call *call = take(w);
    if (call != NULL)
        finish(w->fake, call, outcome(w->fake));
    free(w);
}

static void ask(sc_llm *llm, sc_llm_call *call)
{
    fake_llm *fake = SC_CONTAINER(llm, fake_llm, base);
    atomic_fetch_add(&fake->asked, 1);
    bool hold = atomic_load(&fake->hold);
    int  delay_us = atomic_load(&fake->delay_us);
    if (!hold && delay_us == 0) {
        finish(fake, call, outcome(fake));
        return;
    }
    waiting *w = later_alloc(sizeof *w);
    *w = (waiting){.fake = fake, .call = call};
    pthread_mutex_lock(&fake->lock);
    sc_list_push_back(&fake->waiting, &w->link);
    atomic_fetch_add(&fake->waiting_count, 1);
    pthread_mutex_unlock(&fake->lock);
    /* In doubt later than anybody waits: let_go and cancel come first. */
    later_post(fake->clock, hold ? (int64_t)3600 * 1000000 : sc_random_between(0, delay_us),
               time_is_up, w);
}

static void cancel(sc_llm *llm, sc_llm_call *call)
{
    fake_llm *fake = SC_CONTAINER(llm, fake_llm, base);
    bool      found = false;
    pthread_mutex_lock(&fake->lock);
    SC_LIST_EACH_SAFE (link, after, &fake->waiting) {
        waiting *w = SC_CONTAINER(link, waiting, link);
        if (w->call != call)
            continue;
        w->call = NULL;
        sc_list_remove(link);
        atomic_fetch_sub(&fake->waiting_count, 1);
        found = true;
    }
    pthread_mutex_unlock(&fake->lock);
    if (!found)
        return;
    atomic_fetch_add(&fake->cancelled, 1);
    finish(fake, call, SC_CANCELLED);
}

void fake_llm_let_go(fake_llm *fake)
{
    for (;;) {
        pthread_mutex_lock(&fake->lock);
        sc_link     *link = sc_list_pop_front(&fake->waiting);
        sc_llm_call *call = NULL;
        if (link != NULL) {
            waiting *w = SC_CONTAINER(link, waiting, link);
            call = w->call;
            w->call = NULL;
            atomic_fetch_sub(&fake->waiting_count, 1);
        }
        pthread_mutex_unlock(&fake->lock);
        if (call == NULL)
            return;
        finish(fake, call, outcome(fake));
    }
}

static void look(sc_llm *llm, int *breaker_state, uint64_t *breaker_opened, size_t *in_flight)
{
    fake_llm *fake = SC_CONTAINER(llm, fake_llm, base);
    *breaker_state = 0;
    *breaker_opened = 0;
    *in_flight = atomic_load(&fake->waiting_count);
}

static void close_llm(sc_llm *llm)
{
    fake_llm_fini(SC_CONTAINER(llm, fake_llm, base));
}

void fake_llm_init(fake_llm *fake)
{
    *fake = (fake_llm){.base = {ask, cancel, close_llm, look}, .clock = later_open(2)};
    pthread_mutex_init(&fake->lock, NULL);
    sc_list_init(&fake->waiting);
}

void fake_llm_fini(fake_llm *fake)
{
    later_close(fake->clock);
    pthread_mutex_destroy(&fake->lock);
}
