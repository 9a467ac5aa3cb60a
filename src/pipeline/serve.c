/* Who is answered with what: hits, misses, and those who join late. */
#include "src/pipeline/move.h"

/* Adds the time since the step began to its account. */
void sc_work_lap(sc_work *work)
{
    sc_instant now = sc_now();
    work->step_us[work->step] += (uint64_t)sc_elapsed_us(work->step_started, now);
    work->step_started = now;
}

static void put_times(const sc_work *work, sc_request *request)
{
    uint64_t *us = request->answer.step_us;
    if (request == work->origin) {
        for (sc_step step = SC_STEP_EMBED; step < SC_STEP_COUNT; step++)
            us[step] = work->step_us[step];
        /* Looked at by the request first, then by its flight. */
        us[SC_STEP_EXACT] += work->step_us[SC_STEP_EXACT];
    } else {
        us[SC_STEP_WAIT] = (uint64_t)sc_elapsed_us(request->_joined_at, sc_now());
    }
}

static const sc_candidate *nearest_of(const sc_work *work)
{
    const sc_candidate *warm = &work->seen_warm, *found = &work->seen_found;
    if (warm->entry == NULL || (found->entry != NULL && found->distance < warm->distance))
        return found;
    return warm;
}

static void put_nearest(sc_answer *answer, const sc_candidate *nearest)
{
    if (nearest->entry == NULL)
        return;
    answer->nearest = *nearest;
    sc_entry_ref(nearest->entry);
}

void sc_work_finish_hit(sc_work *work, sc_request *request, const sc_candidate *hit,
                       sc_source source)
{
    sc_answer *answer = &request->answer;
    answer->source = source;
    answer->reason =
        source == SC_SOURCE_EXACT ? SC_REASON_SAME_KEY : SC_REASON_WITHIN_DISTANCE;
    answer->exact_only = work->exact_only;
    sc_answer_put_entry(answer, hit->entry, hit->distance);
    put_nearest(answer, hit);
    put_times(work, request);
    sc_request_finish(request);
}

static void count_use(sc_pipeline *pipeline, const sc_entry *entry)
{
    sc_wall now = sc_wall_now();
    sc_warm_used(pipeline->parts.warm, &entry->f.id, now);
    pipeline->store->ops->used(pipeline->store, &entry->f.id, now);
}

static bool wants(sc_waiter *waiter, void *candidate)
{
    const sc_request   *request = SC_CONTAINER(waiter, sc_request, _waiter);
    const sc_candidate *hit = candidate;
    return sc_is_hit(hit->distance, request->question.max_distance);
}

bool sc_work_is_opposed(const sc_work *work, const sc_entry *entry)
{
    sc_str asked = work->origin->_canonical.text, stored = entry->f.canonical;
    return !sc_str_equal(asked, stored) &&
           sc_canon_opposed(work->pipeline->parts.canon, asked, stored);
}

bool sc_work_may_serve(const sc_work *work, const sc_entry *entry)
{
    return sc_may_serve(entry, &work->origin->_scope, work->origin->_canonical.guard) &&
           !sc_work_is_opposed(work, entry);
}

void sc_work_refuse(sc_work *work, const sc_candidate *candidate)
{
    sc_candidate *refused = &work->refused;
    bool          nearer = refused->entry == NULL || candidate->distance < refused->distance;
    /* Another scope's question is not even named. */
    if (!nearer || !sc_digest_equal(&candidate->entry->f.scope, &work->origin->_scope))
        return;
    sc_entry_unref(refused->entry);
    *refused = *candidate;
    sc_entry_ref(refused->entry);
}

void sc_work_reading(sc_work *work)
{
    work->read_at = atomic_load(&work->pipeline->invalidated);
}

/* Has no invalidation ended since? */
bool sc_work_still_true(const sc_work *work)
{
    return atomic_load(&work->pipeline->invalidated) == work->read_at;
}

typedef struct {
    const sc_work *work;
    sc_candidate  *hit;
    sc_source      source;
} offer;

/* Under the flight's lock, and so after the waiter has joined: who asked when an invalidation had
 * returned is not served what was read before. */
static bool takes(sc_waiter *waiter, void *context)
{
    const offer *offered = context;
    return sc_work_still_true(offered->work) &&
           (offered->source == SC_SOURCE_EXACT || wants(waiter, offered->hit));
}

/* Answers everyone for whom the hit is near enough; an exact one is for everyone. */
void sc_work_serve(sc_work *work, sc_candidate *hit, sc_source source)
{
    sc_link served;
    offer   offered = {work, hit, source};
    if (!sc_work_may_serve(work, hit->entry))
        return;
    sc_list_init(&served);
    sc_work_lap(work);
    sc_flights_take(work->pipeline->flights, &work->flight, takes, &offered, &served);
    if (sc_list_empty(&served))
        return;
    count_use(work->pipeline, hit->entry);
    for (sc_link *link; (link = sc_list_pop_front(&served)) != NULL;)
        sc_work_finish_hit(work, sc_request_of(link), hit, source);
}

void sc_work_serve_exact(sc_work *work, sc_entry *entry)
{
    sc_candidate hit = {.entry = entry};
    if (sc_digest_equal(&entry->f.id, &work->origin->_id))
        sc_work_serve(work, &hit, SC_SOURCE_EXACT);
}

static sc_reason miss_reason(const sc_work *work, const sc_request *request)
{
    if (work->kind == SC_WORK_REFRESH || work->kind == SC_WORK_BYPASS)
        return SC_REASON_NOT_LOOKED;
    if (work->stale.entry != NULL &&
        sc_is_hit(work->stale.distance, request->question.max_distance))
        return SC_REASON_STALE;
    if (work->exact_only != SC_REASON_NONE)
        return work->exact_only;
    return sc_miss_reason(nearest_of(work), &work->refused, work->origin->_canonical.guard,
                          request->question.max_distance);
}

/* The candidate that the reason is about. */
static const sc_candidate *reason_of(const sc_work *work, sc_reason reason)
{
    if (reason == SC_REASON_VOLATILE_DIFFERS || reason == SC_REASON_OPPOSED)
        return &work->refused;
    if (reason == SC_REASON_STALE && work->stale.entry != NULL)
        return &work->stale;
    const sc_candidate *nearest = nearest_of(work);
    return nearest->entry != NULL ? nearest : &work->refused;
}

void sc_work_put_miss(const sc_work *work, sc_request *request)
{
    sc_answer *answer = &request->answer;
    answer->reason = miss_reason(work, request);
    answer->exact_only = work->exact_only;
    put_nearest(answer, reason_of(work, answer->reason));
    put_times(work, request);
}

/* ---- joiners --------------------------------------------------------------------------------------------------- */

/* One request's look at what a flight has found so far. */
typedef struct {
    sc_work     *work;
    sc_request  *request;
    sc_candidate hit; /* with a reference, or NULL */
    sc_source    source;
} joiner;

/* Under the flight's lock. */
static void joiner_looks(void *context)
{
    joiner       *look = context;
    sc_work      *work = look->work;
    sc_waiter    *waiter = &look->request->_waiter;
    sc_candidate *hit = NULL;
    if (work->seen_warm.entry != NULL && wants(waiter, &work->seen_warm)) {
        hit = &work->seen_warm;
        look->source = SC_SOURCE_WARM;
    } else if (work->seen_found.entry != NULL && wants(waiter, &work->seen_found)) {
        hit = &work->seen_found;
        look->source = SC_SOURCE_REDIS;
    }
    if (hit == NULL)
        return;
    look->hit = *hit;
    sc_entry_ref(hit->entry);
}

/* The flight may have found it a minute ago, and be waiting for the LLM since. */
static bool still_there(const joiner *look)
{
    const sc_pipeline     *pipeline = look->work->pipeline;
    const sc_entry_fields *f = &look->hit.entry->f;
    if (f->expires.ms <= sc_wall_now().ms || !sc_work_may_serve(look->work, look->hit.entry))
        return false;
    if (look->source == SC_SOURCE_REDIS)
        return atomic_load(&pipeline->changes) == look->work->all_changes;
    return sc_warm_version(pipeline->parts.warm, &f->id) == f->version;
}

static bool is_joiner(sc_waiter *waiter, void *context)
{
    const joiner *look = context;
    return waiter == &look->request->_waiter;
}

static void joiner_takes(joiner *look)
{
    sc_work *work = look->work;
    sc_link  served;
    sc_list_init(&served);
    sc_flights_take(work->pipeline->flights, &work->flight, is_joiner, look, &served);
    if (sc_list_empty(&served))
        return;
    sc_list_pop_front(&served);
    count_use(work->pipeline, look->hit.entry);
    sc_work_finish_hit(work, look->request, &look->hit, look->source);
}

void sc_work_serve_joiner(sc_work *work, sc_request *request)
{
    sc_trust_state trust = sc_pipeline_trust(work->pipeline);
    /* A copy that wants verification is not worth an extra round trip here: the flight goes on. */
    if (sc_trust_copy(&trust) != SC_TRUST_SERVE)
        return;
    joiner look = {.work = work, .request = request};
    sc_flights_publish(work->pipeline->flights, &work->flight, joiner_looks, &look);
    if (look.hit.entry != NULL && still_there(&look))
        joiner_takes(&look);
    sc_entry_unref(look.hit.entry);
}
