/* Looking: in memory and store, by key and by meaning. What is read may be invalidated before it is
 * served; work.h's read_at and the change counts tell. */
#include "src/pipeline/move.h"

/* Whose operation a store's call is. */
#define WORK_OF(store_call, type, member)                                                          \
    (SC_CONTAINER(SC_CONTAINER(store_call, type, call), sc_looking, member)->work)

/* ---- EXACT: the same key in memory -------------------------------------------------------- */

static void verify_done(sc_store_call *call)
{
    sc_work *work = WORK_OF(call, sc_store_verify, verify);
    if (call->status == SC_OK && work->looking->verify.fresh)
        atomic_store(&work->verifying->verified_ns, sc_now().ns);
    sc_work_came_back(work);
}

static void verify_start(sc_work *work, sc_entry *entry)
{
    work->verifying = entry;
    work->looking->verify = (sc_store_verify){
        .call = {.deadline = sc_in_ms(work->pipeline->options.store_timeout_ms), .done = verify_done},
        .id = entry->f.id,
        .version = entry->f.version,
    };
    sc_work_expect(work);
    work->pipeline->store->ops->verify(work->pipeline->store, &work->looking->verify);
}

/* A copy that memory had and that may not be served: the nearest one is named in the reply. */
static void note_stale(sc_work *work, const sc_candidate *copy)
{
    if (work->stale.entry != NULL)
        return;
    work->stale = *copy;
    sc_entry_ref(copy->entry);
}

/* What the verification means for the copy; drops it from memory when it is stale. */
static bool verify_outcome(sc_work *work, const sc_candidate *copy)
{
    sc_pipeline *pipeline = work->pipeline;
    sc_entry    *entry = copy->entry;
    bool         asked = work->looking->verify.call.status == SC_OK;
    if (asked && work->looking->verify.fresh)
        return true;
    sc_trust_state trust = sc_pipeline_trust(pipeline);
    if (!asked && sc_trust_unverified(&trust, atomic_load(&entry->verified_ns), sc_now()))
        return true;
    if (asked)
        sc_warm_remove(pipeline->parts.warm, &entry->f.id, entry->f.version);
    note_stale(work, copy);
    return false;
}

/* Asks the store about the copy, or takes it as it is when memory may be believed. */
static sc_move trust_or_verify(sc_work *work, sc_entry *entry)
{
    sc_trust_state trust = sc_pipeline_trust(work->pipeline);
    sc_work_begin(work);
    if (sc_trust_copy(&trust) == SC_TRUST_VERIFY)
        verify_start(work, entry);
    else
        work->looking->verify = (sc_store_verify){.call = {.status = SC_OK}, .fresh = true};
    return sc_work_park(work);
}

/* Looked up once by each request already. Once more here, because between a request's look and its
 * flight another flight of the same question may have ended: without it that request would ask the
 * LLM again. */
sc_move sc_move_exact(sc_work *work)
{
    sc_pipeline *pipeline = work->pipeline;
    if (work->kind == SC_WORK_REFRESH || work->kind == SC_WORK_BYPASS)
        return SC_MOVE_NEXT;
    sc_work_reading(work);
    sc_entry *entry = sc_warm_exact(pipeline->parts.warm, &work->origin->_id, sc_wall_now());
    if (entry == NULL)
        return SC_MOVE_NEXT;
    work->kept = entry;
    return trust_or_verify(work, entry);
}

sc_move sc_move_exact_after(sc_work *work)
{
    sc_entry *entry = work->kept;
    if (entry == NULL)
        return SC_MOVE_NEXT;
    work->kept = NULL;
    if (verify_outcome(work, &(sc_candidate){.entry = entry}))
        sc_work_serve_exact(work, entry);
    sc_entry_unref(entry);
    return SC_MOVE_NEXT;
}

/* ---- EMBED: the vector; meanwhile the same key in the store -------------------------------- */

static void embed_done(sc_embed_call *call)
{
    sc_work *work = SC_CONTAINER(call, sc_looking, embed)->work;
    atomic_store(&work->embedded, true);
    sc_work_came_back(work);
}

static void embed_start(sc_work *work)
{
    sc_str text = work->origin->_canonical.text;
    work->looking->embed = (sc_embed_call){
        .text = text,
        .hash = sc_sha256(text.ptr, text.len),
        .vector = work->vector,
        .deadline = sc_in_ms(work->pipeline->options.embed_timeout_ms),
        .done = embed_done,
    };
    sc_work_expect(work);
    sc_embedder_ask(work->pipeline->parts.embedder, &work->looking->embed);
}

static void get_done(sc_store_call *call)
{
    sc_work *work = WORK_OF(call, sc_store_get, get);
    /* Served before the embedding is back: nothing else may touch the work until came_back. */
    if (work->looking->get.call.status == SC_OK && work->looking->get.found != NULL)
        sc_work_serve_exact(work, work->looking->get.found);
    sc_work_came_back(work);
}

static void get_start(sc_work *work, bool with_search)
{
    work->looked = true;
    work->id_changes = sc_pipeline_changes_of(work->pipeline, &work->origin->_id);
    work->looking->get = (sc_store_get){
        .call = {.deadline = sc_in_ms(work->pipeline->options.store_timeout_ms), .done = get_done},
        .id = work->origin->_id,
        .with_search = with_search,
    };
    sc_work_expect(work);
    work->pipeline->store->ops->get(work->pipeline->store, &work->looking->get);
}

/* A text whose characters were all volatile has nothing to compare. */
static bool embeddable(const sc_work *work)
{
    return work->origin->_canonical.text.len != 0;
}

sc_move sc_move_embed(sc_work *work)
{
    if (work->kind == SC_WORK_BYPASS)
        return SC_MOVE_NEXT;
    sc_work_reading(work);
    sc_work_begin(work);
    if (embeddable(work))
        embed_start(work);
    else
        work->exact_only = SC_REASON_NOT_EMBEDDABLE;
    /* A known text needs no time in which to look: memory is asked first, the store after it. */
    if (work->kind != SC_WORK_REFRESH && embeddable(work) && !atomic_load(&work->embedded))
        get_start(work, false);
    return sc_work_park(work);
}

static void publish_embed(void *context)
{
    sc_work *work = context;
    if (work->looking->embed.status != SC_OK)
        work->exact_only = SC_REASON_EMBEDDING_UNAVAILABLE;
    else if (work->looking->embed.note != SC_EMBED_USABLE)
        work->exact_only = SC_REASON_NOT_EMBEDDABLE;
}

const float *sc_work_vector(const sc_work *work)
{
    return work->exact_only == SC_REASON_NONE ? work->vector : NULL;
}

/* An entry that only the store had: memory should have it next time. */
static void warm_up(sc_work *work)
{
    sc_entry *entry = work->looking->get.found;
    if (entry != NULL && sc_work_may_serve(work, entry))
        sc_pipeline_recall(work->pipeline, entry, sc_work_vector(work), work->id_changes);
}

/* What was found by key could not be served: the store is asked once more, in CONFIRM. */
static void get_again(sc_work *work)
{
    sc_entry_unref(work->looking->get.found);
    work->looking->get.found = NULL;
    work->looked = false;
}

sc_move sc_move_embed_after(sc_work *work)
{
    if (work->kind == SC_WORK_BYPASS)
        return SC_MOVE_NEXT;
    if (embeddable(work))
        sc_flights_publish(work->pipeline->flights, &work->flight, publish_embed, work);
    warm_up(work);
    if (work->looking->get.found != NULL && !sc_work_still_true(work))
        get_again(work);
    return SC_MOVE_NEXT;
}

/* ---- PREFILTER: the scope's warm entries ---------------------------------------------------- */

static bool compares(const sc_work *work)
{
    return work->exact_only == SC_REASON_NONE &&
           (work->kind == SC_WORK_LOOK_AND_ASK || work->kind == SC_WORK_LOOK_ONLY);
}

/* How many entries were found near it, in memory and in the store, that may be looked at. */
static size_t near_in_memory(const sc_work *work)
{
    const sc_meaning *meaning = work->looking->meaning;
    return meaning == NULL ? 0 : meaning->gather.query.hits_used;
}

static size_t near_in_store(const sc_work *work)
{
    const sc_meaning *meaning = work->looking->meaning;
    return meaning == NULL ? 0 : meaning->search.found_count;
}

/* Room for what is near, made once there is a vector: thousands may wait for theirs. Without memory
 * nothing is near. */
static bool can_compare(sc_work *work)
{
    sc_looking *looking = work->looking;
    if (looking->meaning != NULL)
        return true;
    looking->meaning = sc_spare_take(&work->pipeline->meanings);
    if (looking->meaning != NULL)
        *looking->meaning = (sc_meaning){.work = work};
    return looking->meaning != NULL;
}

static void gather_done(sc_gather_call *call)
{
    sc_work_came_back(SC_CONTAINER(call, sc_meaning, gather)->work);
}

/* A text whose vector is known has come this far on its caller's thread, which may have a tray. */
static void search_warm(sc_work *work)
{
    const sc_pipeline *pipeline = work->pipeline;
    sc_gather_call    *search = &work->looking->meaning->gather;
    sc_gather_tray    *tray = work->resumed ? NULL : work->origin->tray;
    if (tray == NULL) {
        sc_gather_ask(pipeline->gather, search);
        return;
    }
    size_t rows = sc_warm_rows(pipeline->parts.warm, &search->scope);
    sc_gather_put_aside(tray, search, rows * pipeline->dim);
}

sc_move sc_move_prefilter(sc_work *work)
{
    if (!compares(work) || !can_compare(work))
        return SC_MOVE_NEXT;
    work->looking->meaning->gather = (sc_gather_call){
        .scope = work->origin->_scope,
        .query = {.vector = work->vector,
                  .guard = work->origin->_canonical.guard,
                  .hits = work->looking->meaning->warm_hits,
                  .k = work->origin->question.top_k,
                  .far = (float)work->origin->question.max_distance},
        .done = gather_done,
    };
    sc_work_reading(work);
    sc_work_begin(work);
    sc_work_expect(work);
    search_warm(work);
    return sc_work_park(work);
}

/* ---- VERIFY: warm candidates, nearest first -------------------------------------------------- */

static sc_candidate seen(const sc_candidate *candidate)
{
    sc_entry_ref(candidate->entry);
    return *candidate;
}

static void publish_warm(void *context)
{
    sc_work *work = context;
    if (near_in_memory(work) != 0)
        work->seen_warm = seen(&work->looking->meaning->warm_hits[0]);
}

static bool anyone(sc_waiter *waiter, void *context)
{
    struct {
        const sc_candidate *hit;
        bool                found;
    } *look = context;
    look->found |= sc_is_hit(look->hit->distance,
                             SC_CONTAINER(waiter, sc_request, _waiter)->question.max_distance);
    return false;
}

static bool somebody_wants(sc_work *work, const sc_candidate *hit)
{
    struct {
        const sc_candidate *hit;
        bool                found;
    } look = {hit, false};
    sc_link none;
    sc_list_init(&none);
    sc_flights_take(work->pipeline->flights, &work->flight, anyone, &look, &none);
    return look.found;
}

/* The nearest may not be served: the next one moves up. */
static void drop_nearest(sc_work *work)
{
    sc_warm_query *query = &work->looking->meaning->gather.query;
    sc_candidate  *hits = work->looking->meaning->warm_hits;
    sc_entry_unref(hits[0].entry);
    query->hits_used--;
    memmove(hits, hits + 1, query->hits_used * sizeof *hits);
    hits[query->hits_used] = (sc_candidate){0};
}

static bool wanted(sc_work *work)
{
    return compares(work) && near_in_memory(work) != 0 &&
           somebody_wants(work, &work->looking->meaning->warm_hits[0]);
}

/* The search's is the first; what is refused from here on may be nearer. */
static void take_refused(sc_work *work)
{
    sc_meaning *meaning = work->looking->meaning;
    if (meaning == NULL || meaning->gather.query.refused.entry == NULL)
        return;
    work->refused = meaning->gather.query.refused;
    meaning->gather.query.refused = (sc_candidate){0};
}

sc_move sc_move_verify(sc_work *work)
{
    take_refused(work);
    while (wanted(work) && sc_work_is_opposed(work, work->looking->meaning->warm_hits[0].entry)) {
        sc_work_refuse(work, &work->looking->meaning->warm_hits[0]);
        drop_nearest(work);
    }
    work->checking = wanted(work);
    if (!work->checking)
        return SC_MOVE_NEXT;
    return trust_or_verify(work, work->looking->meaning->warm_hits[0].entry);
}

/* Published before it is served: who joins in between is in one of the two looks. */
sc_move sc_move_verify_after(sc_work *work)
{
    sc_candidate *nearest = near_in_memory(work) == 0 ? NULL : work->looking->meaning->warm_hits;
    bool          fresh = work->checking && verify_outcome(work, nearest);
    if (work->checking && !fresh && work->looking->verify.call.status == SC_OK) {
        drop_nearest(work);
        return SC_MOVE_AGAIN;
    }
    sc_flights_publish(work->pipeline->flights, &work->flight, publish_warm, work);
    /* Nobody wanted it a moment ago; somebody may have joined who does. A store that did not answer
     * for the nearest would not answer for the next. */
    sc_trust_state trust = sc_pipeline_trust(work->pipeline);
    if (!work->checking && work->seen_warm.entry != NULL)
        fresh = sc_trust_copy(&trust) == SC_TRUST_SERVE;
    if (fresh)
        sc_work_serve(work, nearest, SC_SOURCE_WARM);
    return SC_MOVE_NEXT;
}

/* ---- CONFIRM: the store's index ---------------------------------------------------------------- */

static void search_done(sc_store_call *call)
{
    sc_store_search *search = SC_CONTAINER(call, sc_store_search, call);
    sc_work_came_back(SC_CONTAINER(search, sc_meaning, search)->work);
}

static void search_start(sc_work *work)
{
    const sc_question *question = &work->origin->question;
    work->all_changes = atomic_load(&work->pipeline->changes);
    work->looking->meaning->search = (sc_store_search){
        .call = {.deadline = sc_in_ms(work->pipeline->options.search_timeout_ms), .done = search_done},
        .scope = work->origin->_scope,
        .guard = work->origin->_canonical.guard,
        .vector = work->vector,
        .k = question->top_k,
        /* Nothing beyond the nearest is served, unless its words forbid that. */
        .wanted = work->wider ? 0 : 1,
        .ef_runtime = question->ef_runtime,
        .moot = &work->flight.landed,
    };
    sc_work_expect(work);
    work->pipeline->store->ops->search(work->pipeline->store, &work->looking->meaning->search);
}

sc_move sc_move_confirm(sc_work *work)
{
    if (work->kind == SC_WORK_REFRESH || work->kind == SC_WORK_BYPASS)
        return SC_MOVE_NEXT;
    sc_work_reading(work);
    work->confirmed++;
    sc_work_begin(work);
    bool searches = compares(work) && can_compare(work);
    if (!work->looked)
        get_start(work, searches);
    if (searches)
        search_start(work);
    return sc_work_park(work);
}

/* Then nobody needs what the store found: who would take it takes the one in memory. Thousands of
 * questions may wait for the LLM, and a copy from the store takes 1 to 2 KB. */
static bool memory_has_nearer(const sc_work *work, const sc_candidate *found)
{
    return work->seen_warm.entry != NULL && work->seen_warm.distance <= found->distance;
}

static void publish_found(void *context)
{
    sc_work *work = context;
    work->seen_found = seen(&work->looking->meaning->search.found[0]);
}

static void unpublish_found(void *context)
{
    sc_work *work = context;
    sc_entry_unref(work->seen_found.entry);
    work->seen_found = (sc_candidate){0};
    if (near_in_store(work) == 0)
        return;
    sc_store_search *search = &work->looking->meaning->search;
    sc_candidates_unref(search->found, search->found_count);
    search->found_count = 0;
}

/* The store was asked for this scope and guard; what it gave is looked at once more, and at its words. */
static bool drop_foreign(sc_work *work)
{
    if (near_in_store(work) == 0)
        return false;
    sc_store_search *search = &work->looking->meaning->search;
    size_t           kept = 0;
    for (size_t i = 0; i < search->found_count; i++)
        if (sc_work_may_serve(work, search->found[i].entry)) {
            search->found[kept++] = search->found[i];
        } else {
            sc_work_refuse(work, &search->found[i]);
            sc_entry_unref(search->found[i].entry);
        }
    bool dropped = kept != search->found_count;
    search->found_count = kept;
    return dropped;
}

/* All that was found may not be served, but somebody would take it: perhaps what is behind it. Once. */
static bool looks_wider(sc_work *work)
{
    const sc_candidate *refused = &work->refused;
    if (work->wider || near_in_store(work) != 0 || refused->entry == NULL ||
        !somebody_wants(work, refused))
        return false;
    work->wider = true;
    return true;
}

/* An invalidation ended meanwhile, and there was something to serve: it may be there still. Not for
 * ever, should invalidations come without end. */
static bool reads_again(sc_work *work)
{
    enum { CONFIRM_MAX = 3 };
    bool found = work->looking->get.found != NULL || near_in_store(work) != 0;
    if (sc_work_still_true(work) || !found || work->confirmed == CONFIRM_MAX)
        return false;
    get_again(work);
    sc_flights_publish(work->pipeline->flights, &work->flight, unpublish_found, work);
    return true;
}

sc_move sc_move_confirm_after(sc_work *work)
{
    warm_up(work);
    if (drop_foreign(work) && looks_wider(work))
        return SC_MOVE_AGAIN;
    if (near_in_store(work) != 0) {
        if (!memory_has_nearer(work, &work->looking->meaning->search.found[0]))
            sc_flights_publish(work->pipeline->flights, &work->flight, publish_found, work);
        sc_work_serve(work, &work->looking->meaning->search.found[0], SC_SOURCE_REDIS);
    }
    return reads_again(work) ? SC_MOVE_AGAIN : SC_MOVE_NEXT;
}
