/* What a request does by itself: the hit in memory, joining, leaving at any step. */
#include "src/pipeline/pipeline.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/base/random.h"
#include "tests/support/pipeline_rig.h"

static void a_bad_question_fails_at_once_and_is_counted(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    ask a;
    ask_init(&a, &r, "");
    ask_go(&a);
    assert_true(ask_is_finished(&a));
    assert_int_equal(a.request.answer.status, SC_INVALID);
    assert_non_null(strstr(a.request.answer.error.text, "user_prompt"));
    ask_end(&a);
    const sc_pipeline_metrics *m = sc_pipeline_metrics_of(r.pipeline);
    assert_int_equal(sc_counter_total(&m->failed), 1);
    assert_int_equal(sc_counter_total(&m->errors[SC_INVALID]), 1);
    rig_close(&r);
}

static void the_same_question_is_answered_from_memory_before_the_call_returns(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    rig_teach(&r, "What is the refund policy?");
    unsigned texts = atomic_load(&r.embed.texts);
    ask      a;
    ask_init(&a, &r, "  what IS the refund\tpolicy  ");
    ask_go(&a);
    assert_true(ask_is_finished(&a));
    const sc_answer *answer = &a.request.answer;
    assert_int_equal(answer->status, SC_OK);
    assert_int_equal(answer->source, SC_SOURCE_EXACT);
    assert_int_equal(answer->reason, SC_REASON_SAME_KEY);
    assert_string_equal(ask_text(&a).ptr, "answer to [What is the refund policy?] by [m] told [s]");
    assert_int_equal(answer->tokens_saved, FAKE_LLM_PROMPT_TOKENS + FAKE_LLM_COMPLETION_TOKENS);
    assert_int_equal(answer->distance, 0);
    assert_ptr_equal(answer->nearest.entry, answer->entry);
    ask_end(&a);
    assert_int_equal(atomic_load(&r.llm.asked), 1);
    assert_int_equal(atomic_load(&r.embed.texts), texts);
    assert_int_equal(atomic_load(&r.store.used), 1);
    rig_close(&r);
}

/* Rule 8. A popular answer that is never asked for anew would otherwise live for ever. */
static void a_hit_never_prolongs_a_life(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    rig_teach(&r, "q");
    sc_digest id = rig_key(&r, "q");
    sc_entry *before = fake_store_find(&r.store, &id);
    unsigned  puts = atomic_load(&r.store.calls[FAKE_PUT]);
    for (int i = 0; i < 5; i++)
        assert_int_equal(ask_once(&r, "q").source, SC_SOURCE_EXACT);
    sc_entry *after = fake_store_find(&r.store, &id);
    assert_ptr_equal(before, after); /* the store has what was put once */
    assert_int_equal(atomic_load(&r.store.calls[FAKE_PUT]), puts);
    sc_entry *warm = sc_warm_exact(r.warm, &id, sc_wall_now());
    assert_int_equal(warm->f.expires.ms, before->f.expires.ms);
    assert_int_equal(before->f.expires.ms - before->f.created.ms, 86400 * 1000);
    sc_entry_unref(warm);
    sc_entry_unref(before);
    sc_entry_unref(after);
    rig_close(&r);
}

static void an_expired_entry_is_not_served(void **state)
{
    (void)state;
    rig r;
    ask a;
    rig_open(&r, NULL);
    ask_init(&a, &r, "q");
    a.request.question.ttl_seconds = 1;
    ask_go(&a);
    assert_true(ask_outcome_of(&a).stored);
    assert_int_equal(ask_once(&r, "q").source, SC_SOURCE_EXACT);
    usleep(1050 * 1000);
    assert_int_equal(ask_once(&r, "q").source, SC_SOURCE_LLM);
    rig_close(&r);
}

static void the_key_of_a_question_is_that_under_which_it_is_stored(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    rig_teach(&r, "Some question!");
    sc_digest id = rig_key(&r, "some  question");
    sc_entry *entry = fake_store_find(&r.store, &id);
    assert_non_null(entry);
    sc_entry_unref(entry);
    id = rig_key(&r, "some other question");
    assert_null(fake_store_find(&r.store, &id));
    rig_close(&r);
}

/* ---- leaving, at each step ------------------------------------------------------------------- */

typedef enum { AT_VERIFY_EXACT, AT_EMBED, AT_GET, AT_VERIFY, AT_CONFIRM, AT_ASK, PLACES } place;

/* Stops what the step waits for. */
static void stop_at(rig *r, place where, bool stop)
{
    switch (where) {
    case AT_EMBED:
        atomic_store(&r->embed.hold, stop);
        break;
    case AT_GET:
        /* The store is asked for the key while the text is embedded, not when its vector is known. */
        atomic_store(&r->embed.hold, stop);
        atomic_store(&r->store.hold[FAKE_GET], stop);
        break;
    case AT_VERIFY_EXACT:
    case AT_VERIFY:
        atomic_store(&r->store.hold[FAKE_VERIFY], stop);
        break;
    case AT_CONFIRM:
        atomic_store(&r->store.hold[FAKE_SEARCH], stop);
        break;
    case AT_ASK:
        atomic_store(&r->llm.hold, stop);
        break;
    case PLACES:
        break;
    }
}

static bool stopped_at(rig *r, place where)
{
    switch (where) {
    case AT_EMBED:
        return atomic_load(&r->embed.held_count) == 1;
    case AT_GET:
        return atomic_load(&r->embed.held_count) == 1 && atomic_load(&r->store.held_count) == 1;
    case AT_ASK:
        return atomic_load(&r->llm.waiting_count) == 1;
    case AT_VERIFY_EXACT:
    case AT_VERIFY:
    case AT_CONFIRM:
    case PLACES:
        break;
    }
    return atomic_load(&r->store.held_count) == 1;
}

static void go_on(rig *r)
{
    fake_embed_let_go(&r->embed);
    fake_store_let_go(&r->store);
    fake_llm_let_go(&r->llm);
}

/* A question that comes to that place: for VERIFY there must be something in memory. */
static const char *question_for(rig *r, place where)
{
    sc_pipeline_options options = rig_options();
    options.verify = where == AT_VERIFY || where == AT_VERIFY_EXACT ? SC_VERIFY_ALWAYS : SC_VERIFY_FEED;
    rig_open(r, &options);
    fake_embed_put(&r->embed, "near it", "it", 0.02F);
    if (where == AT_VERIFY || where == AT_VERIFY_EXACT)
        rig_teach(r, "it");
    return where == AT_VERIFY_EXACT ? "it" : "near it";
}

static void check_cancelled(ask *a)
{
    assert_true(ask_is_finished(a));
    assert_int_equal(a->request.answer.status, SC_CANCELLED);
    assert_true(a->request.answer.error.text[0] != '\0');
}

/* Rule 6, and the promise to the bill: what nobody waits for is not asked of the LLM. */
static void who_leaves_alone_ends_at_once_and_so_does_the_work(void **state)
{
    (void)state;
    for (place where = 0; where < PLACES; where++) {
        rig r;
        ask a;
        ask_init(&a, &r, question_for(&r, where));
        unsigned asked = atomic_load(&r.llm.asked);
        stop_at(&r, where, true);
        ask_go(&a);
        EVENTUALLY(stopped_at(&r, where));
        unsigned searched = atomic_load(&r.store.calls[FAKE_SEARCH]);
        assert_false(ask_is_finished(&a));
        sc_request_cancel(&a.request);
        check_cancelled(&a);
        sc_request_cancel(&a.request); /* twice is once */
        /* Who leaves while the LLM is just being asked is followed by the asking thread itself. */
        EVENTUALLY(atomic_load(&r.llm.cancelled) == (where == AT_ASK));
        stop_at(&r, where, false);
        go_on(&r);
        ask_end(&a);
        EVENTUALLY(sc_pipeline_flights(r.pipeline) == 0);
        assert_int_equal(atomic_load(&r.store.calls[FAKE_SEARCH]), searched);
        assert_int_equal(atomic_load(&r.llm.asked), asked + (where == AT_ASK));
        assert_int_equal(atomic_load(&r.llm.cancelled), where == AT_ASK);
        const sc_pipeline_metrics *m = sc_pipeline_metrics_of(r.pipeline);
        assert_int_equal(sc_counter_total(&m->cancelled), 1);
        assert_int_equal(sc_counter_total(&m->llm_failures), 0);
        rig_close(&r);
    }
}

/* The first one made the flight; it is nobody's but the flight's. */
static void who_leaves_others_behind_harms_nobody(void **state)
{
    (void)state;
    for (place where = 0; where < PLACES; where++) {
        rig r;
        ask first, second, third;
        const char *prompt = question_for(&r, where);
        ask_init(&first, &r, prompt);
        ask_init(&second, &r, prompt);
        ask_init(&third, &r, prompt);
        stop_at(&r, where, true);
        ask_go(&first);
        EVENTUALLY(stopped_at(&r, where));
        ask_go(&second);
        ask_go(&third);
        sc_request_cancel(&first.request);
        sc_request_cancel(&third.request);
        check_cancelled(&first);
        check_cancelled(&third);
        assert_false(ask_is_finished(&second));
        assert_int_equal(atomic_load(&r.llm.cancelled), 0);
        stop_at(&r, where, false);
        go_on(&r);
        ask_outcome outcome = ask_outcome_of(&second);
        assert_int_equal(outcome.status, SC_OK);
        assert_non_null(strstr(outcome.text, "it] by"));
        ask_end(&first);
        ask_end(&third);
        rig_close(&r);
    }
}

static void the_last_to_leave_cancels_the_llm(void **state)
{
    (void)state;
    rig r;
    ask a, b;
    rig_open(&r, NULL);
    ask_init(&a, &r, "q");
    ask_init(&b, &r, "q");
    atomic_store(&r.llm.hold, true);
    ask_go(&a);
    EVENTUALLY(atomic_load(&r.llm.waiting_count) == 1);
    ask_go(&b);
    sc_request_cancel(&a.request);
    assert_int_equal(atomic_load(&r.llm.cancelled), 0);
    sc_request_cancel(&b.request);
    /* The thread that asks may not have come back from it: it then sees to the cancel. */
    EVENTUALLY(atomic_load(&r.llm.cancelled) == 1);
    ask_end(&a);
    ask_end(&b);
    /* The question is free again. */
    atomic_store(&r.llm.hold, false);
    assert_int_equal(ask_once(&r, "q").source, SC_SOURCE_LLM);
    rig_close(&r);
}

static ask *leaving;
static void (*ask_llm)(sc_llm *llm, sc_llm_call *call);

static void ask_and_leave(sc_llm *llm, sc_llm_call *call)
{
    ask_llm(llm, call);
    sc_request_cancel(&leaving->request);
}

/* The call is on its way, and nobody could cancel it yet. */
static void who_leaves_while_the_llm_is_being_asked_cancels_it_too(void **state)
{
    (void)state;
    rig r;
    ask a;
    rig_open(&r, NULL);
    atomic_store(&r.llm.hold, true);
    ask_llm = r.llm.base.ask;
    r.llm.base.ask = ask_and_leave;
    leaving = &a;
    ask_init(&a, &r, "q");
    ask_go(&a);
    ask_wait(&a);
    check_cancelled(&a);
    ask_end(&a);
    assert_int_equal(atomic_load(&r.llm.asked), 1);
    assert_int_equal(atomic_load(&r.llm.cancelled), 1);
    rig_close(&r);
}

static void who_left_before_asking_is_not_answered(void **state)
{
    (void)state;
    rig r;
    ask a;
    rig_open(&r, NULL);
    ask_init(&a, &r, "q");
    sc_request_cancel(&a.request);
    ask_go(&a);
    check_cancelled(&a);
    ask_end(&a);
    assert_int_equal(atomic_load(&r.llm.asked), 0);
    rig_close(&r);
}

static void leaving_after_the_answer_changes_nothing(void **state)
{
    (void)state;
    rig r;
    ask a;
    rig_open(&r, NULL);
    for (int i = 0; i < 2; i++) { /* from the LLM, then from memory */
        ask_init(&a, &r, "q");
        ask_go(&a);
        ask_wait(&a);
        sc_request_cancel(&a.request);
        assert_int_equal(a.request.answer.status, SC_OK);
        ask_end(&a);
    }
    rig_close(&r);
}

/* ---- scopes ------------------------------------------------------------------------------------ */

static const char *const names[] = {"a", "b", "a|b", "", "ab", "a\nb", "A"};
enum { NAMES = sizeof names / sizeof names[0] };

static sc_str some_name(void)
{
    return sc_str_of(names[sc_random_between(0, NAMES - 1)]);
}

/* What must tell scopes apart, in words that cannot be confused. */
static void describe(const sc_scope_fields *f, char *out, size_t room)
{
    snprintf(out, room, "%zu:%.*s,%zu:%.*s,%zu:%.*s,%zu:%.*s,%g,%zu:%.*s", f->tenant.len,
             (int)f->tenant.len, f->tenant.ptr, f->model.len, (int)f->model.len, f->model.ptr,
             f->corpus_version.len, (int)f->corpus_version.len, f->corpus_version.ptr,
             f->system_prompt.len, (int)f->system_prompt.len, f->system_prompt.ptr, f->temperature,
             f->turns_count == 0 ? 0 : f->turns[0].content.len,
             f->turns_count == 0 ? 0 : (int)f->turns[0].content.len,
             f->turns_count == 0 ? "" : f->turns[0].content.ptr);
}

/* Rule 1. The same few questions in thousands of scopes; the first answer given in a scope is the only
 * one that scope may ever see again. */
static void no_scope_is_ever_served_anothers_answer(void **state)
{
    (void)state;
    enum { ROUNDS = 4000 };
    rig r;
    rig_open(&r, NULL);
    unsigned hits = 0;
    for (int round = 0; round < ROUNDS; round++) {
        ask     a;
        char    scope[256];
        sc_turn turn = {SC_STR("user"), some_name()};
        char    question[8];
        /* Letters: other figures would be another question in any scope. */
        snprintf(question, sizeof question, "q%c", 'a' + (int)sc_random_between(0, 3));
        ask_init(&a, &r, question);
        sc_scope_fields *f = &a.request.question.scope;
        f->tenant = some_name();
        do
            f->model = some_name();
        while (f->model.len == 0);
        f->corpus_version = some_name();
        f->system_prompt = some_name();
        f->temperature = (double)sc_random_between(0, 1);
        f->turns = &turn;
        f->turns_count = turn.content.len == 0 ? 0 : 1;
        a.request.question.max_distance = 2; /* anything would do, but for the scope */
        describe(f, scope, sizeof scope);
        /* The LLM signs with the scope; static, since its answer is made within ask_go. */
        atomic_store(&r.llm.text, scope);
        ask_go(&a);
        ask_wait(&a); /* the prefilter has its own threads */
        assert_int_equal(a.request.answer.status, SC_OK);
        assert_string_equal(ask_text(&a).ptr, scope);
        hits += a.request.answer.source != SC_SOURCE_LLM;
        ask_end(&a);
    }
    assert_true(hits > 100);
    assert_true(atomic_load(&r.llm.asked) > 1000);
    rig_close(&r);
}

static sc_entry *foreign_entry(const sc_digest *id, sc_digest scope, uint64_t guard)
{
    sc_entry_fields fields = {.id = *id,
                              .scope = scope,
                              .guard = guard,
                              .version = 5,
                              .expires = {INT64_MAX},
                              .answer = SC_STR("a foreign answer")};
    return sc_entry_make(&fields);
}

/* Rule 1, the last gate: even a store that gives out what it was not asked for, by key or by
 * vector, and a memory that was told so by the feed, cannot make us serve it. */
static void what_a_lying_store_gives_is_looked_at_once_more(void **state)
{
    (void)state;
    for (int guarded = 0; guarded < 2; guarded++) {
        rig r;
        rig_open(&r, NULL);
        rig_teach(&r, "other");
        sc_digest other = rig_key(&r, "other"), id = rig_key(&r, "q");
        sc_entry *mine = fake_store_find(&r.store, &other);
        sc_digest scope = guarded ? mine->f.scope : sc_sha256("x", 1);
        sc_entry *lie = foreign_entry(&id, scope, guarded ? 77 : 0);
        atomic_store(&r.store.lie, lie);
        ask_outcome outcome = ask_once(&r, "q");
        assert_int_equal(outcome.source, SC_SOURCE_LLM);
        assert_string_equal(outcome.text, "answer to [q] by [m] told [s]");

        /* Nor did it get into memory, and if it is there, it is not served from it. */
        sc_entry *known = sc_warm_exact(r.warm, &id, sc_wall_now());
        assert_ptr_not_equal(known, lie);
        sc_entry_unref(known);
        r.feed.put(r.feed.context, lie, NULL);
        outcome = ask_once(&r, "q");
        assert_int_equal(outcome.status, SC_OK);
        assert_string_equal(outcome.text, "answer to [q] by [m] told [s]");
        sc_entry_unref(mine);
        rig_close(&r);
    }
}

/* What was refused is not shown either, and does not hide what may be served. */
static void a_foreign_candidate_neither_shows_nor_hides_another(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    fake_embed_put(&r.embed, "near it", "it", 0.05F);
    rig_teach(&r, "it");
    sc_warm_clear(r.warm);
    sc_digest some = rig_key(&r, "some other");
    atomic_store(&r.store.lie, foreign_entry(&some, sc_sha256("x", 1), 0));
    ask a;
    ask_init(&a, &r, "near it");
    ask_go(&a);
    ask_wait(&a);
    assert_int_equal(a.request.answer.source, SC_SOURCE_REDIS);
    assert_string_equal(a.request.answer.nearest.entry->f.canonical.ptr, "it");
    ask_end(&a);
    ask_init(&a, &r, "far away");
    ask_go(&a);
    ask_wait(&a);
    assert_int_equal(a.request.answer.source, SC_SOURCE_LLM);
    assert_int_equal(a.request.answer.reason, SC_REASON_TOO_FAR);
    assert_string_equal(a.request.answer.nearest.entry->f.canonical.ptr, "it");
    ask_end(&a);
    rig_close(&r);
}

/* The right scope, but another question's entry under this question's key. */
static void an_entry_under_the_wrong_key_is_not_served_by_key(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, NULL);
    rig_teach(&r, "other");
    sc_digest other = rig_key(&r, "other");
    sc_entry *mine = fake_store_find(&r.store, &other);
    atomic_store(&r.store.lie, mine);
    atomic_store(&r.embed.status, SC_UNAVAILABLE); /* by key only */
    ask_outcome outcome = ask_once(&r, "q");
    assert_int_equal(outcome.source, SC_SOURCE_LLM);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_question_fails_at_once_and_is_counted),
        cmocka_unit_test(the_same_question_is_answered_from_memory_before_the_call_returns),
        cmocka_unit_test(a_hit_never_prolongs_a_life),
        cmocka_unit_test(an_expired_entry_is_not_served),
        cmocka_unit_test(the_key_of_a_question_is_that_under_which_it_is_stored),
        cmocka_unit_test(who_leaves_alone_ends_at_once_and_so_does_the_work),
        cmocka_unit_test(who_leaves_others_behind_harms_nobody),
        cmocka_unit_test(the_last_to_leave_cancels_the_llm),
        cmocka_unit_test(who_leaves_while_the_llm_is_being_asked_cancels_it_too),
        cmocka_unit_test(who_left_before_asking_is_not_answered),
        cmocka_unit_test(leaving_after_the_answer_changes_nothing),
        cmocka_unit_test(no_scope_is_ever_served_anothers_answer),
        cmocka_unit_test(what_a_lying_store_gives_is_looked_at_once_more),
        cmocka_unit_test(a_foreign_candidate_neither_shows_nor_hides_another),
        cmocka_unit_test(an_entry_under_the_wrong_key_is_not_served_by_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
