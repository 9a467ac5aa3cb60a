/* A work is a small state machine over the table `moves`. Each step may start operations
 * (an embedding, a store call, the LLM) and park; the operation that comes back last goes
 * on with the step's second half on its own thread. `pending` counts operations under way
 * plus one for the half that starts them, so that an operation which ends at once, on
 * this very stack, does not recurse and does not park.
 *
 * After a step has parked, its thread must not touch the work: it may be finished and freed.
 *
 * Alternative dropped: a queue of runnable works drained by a pool. It cost a thread hop
 * a step; here a hit found by Redis is answered by the thread that read Redis' reply. */
#include "src/pipeline/move.h"

static void resume(sc_work *work);

/* ---- operations under way ---------------------------------------------------------------- */

void sc_work_begin(sc_work *work)
{
    atomic_store_explicit(&work->pending, 1, memory_order_relaxed);
}

void sc_work_expect(sc_work *work)
{
    atomic_fetch_add_explicit(&work->pending, 1, memory_order_relaxed);
}

static bool settled(sc_work *work)
{
    return atomic_fetch_sub_explicit(&work->pending, 1, memory_order_acq_rel) == 1;
}

/* The end of every starting half. */
sc_move sc_work_park(sc_work *work)
{
    return settled(work) ? SC_MOVE_NEXT : SC_MOVE_PARKED;
}

/* The end of every operation. */
void sc_work_came_back(sc_work *work)
{
    if (settled(work))
        resume(work);
}

/* ---- the machine ---------------------------------------------------------------------------------------- */

static const struct {
    sc_move (*start)(sc_work *work);
    sc_move (*after)(sc_work *work); /* once every operation of start has come back; may be NULL */
} moves[SC_STEP_COUNT] = {
    [SC_STEP_EXACT] = {sc_move_exact, sc_move_exact_after},
    [SC_STEP_WAIT] = {NULL, NULL},
    [SC_STEP_EMBED] = {sc_move_embed, sc_move_embed_after},
    [SC_STEP_PREFILTER] = {sc_move_prefilter, NULL},
    [SC_STEP_VERIFY] = {sc_move_verify, sc_move_verify_after},
    [SC_STEP_CONFIRM] = {sc_move_confirm, sc_move_confirm_after},
    [SC_STEP_ASK] = {sc_move_ask, sc_move_ask_after},
    [SC_STEP_KEEP] = {sc_move_keep, NULL},
    [SC_STEP_REPLY] = {sc_move_reply, NULL},
};

static sc_move start_half(sc_work *work)
{
    return moves[work->step].start == NULL ? SC_MOVE_NEXT : moves[work->step].start(work);
}

static sc_move second_half(sc_work *work)
{
    return moves[work->step].after == NULL ? SC_MOVE_NEXT : moves[work->step].after(work);
}

/* Nobody waits, and there is no answer yet that would be worth keeping. */
static bool pointless(const sc_work *work)
{
    return work->step < SC_STEP_ASK && atomic_load(&work->flight.landed);
}

static void run(sc_work *work, bool parked)
{
    for (;;) {
        sc_move went = parked ? SC_MOVE_NEXT : start_half(work);
        if (went == SC_MOVE_PARKED)
            return;
        parked = false;
        if (went == SC_MOVE_NEXT)
            went = second_half(work);
        sc_work_lap(work);
        if (went == SC_MOVE_END || pointless(work))
            break;
        if (went == SC_MOVE_NEXT)
            work->step++;
    }
    sc_flight_unref(work->pipeline->flights, &work->flight);
}

static void resume(sc_work *work)
{
    work->resumed = true;
    run(work, true);
}

void sc_work_start(sc_work *work)
{
    work->step = SC_STEP_EXACT;
    work->step_started = sc_now();
    run(work, false);
}

void sc_work_abandon(sc_work *work)
{
    sc_pipeline *pipeline = work->pipeline;
    if (atomic_load(&work->asked))
        pipeline->parts.llm->cancel(pipeline->parts.llm, &work->llm);
    sc_flight_unref(pipeline->flights, &work->flight);
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

static sc_work_kind kind_of(const sc_request *request)
{
    static const sc_work_kind kinds[SC_MODE_COUNT] = {
        [SC_MODE_DEFAULT] = SC_WORK_LOOK_AND_ASK,
        [SC_MODE_NO_STORE] = SC_WORK_LOOK_AND_ASK,
        [SC_MODE_REFRESH] = SC_WORK_REFRESH,
        [SC_MODE_BYPASS] = SC_WORK_BYPASS,
        [SC_MODE_ONLY_IF_CACHED] = SC_WORK_LOOK_ONLY,
    };
    return kinds[request->question.mode];
}

sc_flight *sc_work_make(void *pipeline, sc_waiter *first)
{
    sc_pipeline *owner = pipeline;
    sc_request  *origin = SC_CONTAINER(first, sc_request, _waiter);
    sc_looking  *looking = sc_spare_take(&owner->lookings);
    sc_work     *work = sc_spare_take(&owner->works);
    if (work == NULL || looking == NULL) {
        sc_spare_give(&owner->lookings, looking);
        sc_spare_give(&owner->works, work);
        return NULL;
    }
    *looking = (sc_looking){.work = work};
    *work = (sc_work){
        .pipeline = owner, .origin = origin, .kind = kind_of(origin), .looking = looking};
    sc_request_ref(origin);
    return &work->flight;
}

static void meaning_free(sc_pipeline *pipeline, sc_meaning *meaning)
{
    if (meaning == NULL)
        return;
    sc_candidates_unref(meaning->warm_hits, meaning->gather.query.hits_used);
    sc_candidates_unref(meaning->search.found, meaning->search.found_count);
    sc_entry_unref(meaning->gather.query.refused.entry);
    sc_spare_give(&pipeline->meanings, meaning);
}

void sc_work_has_looked(sc_work *work)
{
    sc_looking *looking = work->looking;
    if (looking == NULL)
        return;
    meaning_free(work->pipeline, looking->meaning);
    sc_entry_unref(looking->get.found);
    sc_spare_give(&work->pipeline->lookings, looking);
    work->looking = NULL;
}

void sc_work_release(sc_flight *flight)
{
    sc_work *work = SC_CONTAINER(flight, sc_work, flight);
    sc_work_has_looked(work);
    sc_entry_unref(work->seen_warm.entry);
    sc_entry_unref(work->refused.entry);
    sc_entry_unref(work->seen_found.entry);
    sc_entry_unref(work->kept);
    sc_entry_unref(work->stale.entry);
    sc_blob_unref(work->llm.answer);
    if (work->keeper != NULL)
        sc_request_unref(work->keeper);
    sc_request_unref(work->origin);
    sc_spare_give(&work->pipeline->works, work);
}
