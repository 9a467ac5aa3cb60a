#include <stdlib.h>

#include "src/pipeline/work.h"

/* Removing one entry: memory first, so that no hit is served between the two. */
static void removing(void *context, const sc_digest *id)
{
    sc_pipeline *pipeline = context;
    sc_quota_forget(pipeline->quota, id);
    sc_pipeline_forget(pipeline, id);
}

/* ---- what memory has and the store may not know yet --------------------------------------- */

typedef struct {
    const sc_store_filter *filter;
    sc_digest             *ids; /* [room] */
    size_t                 count, room;
    bool                   full;
} sweep;

static bool visit(void *context, sc_entry *entry)
{
    sweep *s = context;
    float  distance;
    if (!sc_store_filter_matches(s->filter, &entry->f, NULL, 0, &distance))
        return true;
    if (s->count == s->room) {
        size_t     room = s->room == 0 ? 64 : s->room * 2;
        sc_digest *ids = realloc(s->ids, room * sizeof *ids);
        if (ids == NULL) {
            s->full = true;
            return false;
        }
        s->ids = ids;
        s->room = room;
    }
    s->ids[s->count++] = entry->f.id;
    return true;
}

/* Entries whose write still waits, or that were lost by a store which is away, live in memory only. */
static void sweep_memory(sc_pipeline *pipeline, const sc_store_filter *filter)
{
    sweep s = {.filter = filter};
    if (filter->near != NULL)
        return; /* vectors are compared where they are: in the store */
    sc_warm_each(pipeline->parts.warm, visit, &s);
    for (size_t i = 0; i < s.count; i++)
        sc_pipeline_forget(pipeline, &s.ids[i]);
    /* Without memory for the list, more is forgotten than was asked: the safe side. */
    if (s.full)
        sc_pipeline_forget_all(pipeline);
    free(s.ids);
}

static void finish(sc_invalidation *invalidation)
{
    if (!invalidation->store.dry_run)
        sc_pipeline_invalidation_ends(invalidation->_pipeline);
    free(invalidation->_vector);
    invalidation->_vector = NULL;
    sc_arena_fini(&invalidation->_arena);
    invalidation->finished(invalidation);
}

static void store_done(sc_store_call *call)
{
    sc_invalidation *invalidation = SC_CONTAINER(SC_CONTAINER(call, sc_store_invalidate, call),
                                                 sc_invalidation, store);
    /* Once more: what a flight kept between the first sweep and the store's scan. */
    if (!invalidation->store.dry_run)
        sweep_memory(invalidation->_pipeline, &invalidation->store.filter);
    finish(invalidation);
}

void sc_invalidation_go_on(sc_invalidation *invalidation)
{
    sc_pipeline *pipeline = invalidation->_pipeline;
    invalidation->store.call.done = store_done;
    invalidation->store.removing = removing;
    invalidation->store.removing_context = pipeline;
    if (!invalidation->store.dry_run)
        sweep_memory(pipeline, &invalidation->store.filter);
    pipeline->store->ops->invalidate(pipeline->store, &invalidation->store);
}

static void ask_store(sc_invalidation *invalidation)
{
    if (invalidation->store.dry_run || sc_pipeline_is_quiet(invalidation->_pipeline, invalidation))
        sc_invalidation_go_on(invalidation);
}

static void fail(sc_invalidation *invalidation, sc_status status)
{
    invalidation->store.call.status = status;
    finish(invalidation);
}

static void embed_done(sc_embed_call *call)
{
    sc_invalidation *invalidation = SC_CONTAINER(call, sc_invalidation, _embed);
    sc_error        *error = &invalidation->store.call.error;
    if (call->status != SC_OK) {
        *error = call->error;
        fail(invalidation, call->status);
    } else if (call->note != SC_EMBED_USABLE) {
        fail(invalidation, sc_fail(error, SC_INVALID,
                                   "meaning.prompt: too long, or in words that the embedding model "
                                   "does not know; name it by exact"));
    } else {
        invalidation->store.filter.near = invalidation->_vector;
        ask_store(invalidation);
    }
}

static sc_status embed(sc_invalidation *invalidation)
{
    sc_pipeline *pipeline = invalidation->_pipeline;
    sc_error    *error = &invalidation->store.call.error;
    sc_canonical canonical;
    sc_status    status = sc_canon_apply(pipeline->parts.canon, invalidation->near_text,
                                         &invalidation->_arena, &canonical, error);
    if (status != SC_OK)
        return status;
    if (canonical.text.len == 0)
        return sc_fail(error, SC_INVALID, "meaning.prompt: nothing is left of it to compare");
    invalidation->_vector = malloc(pipeline->dim * sizeof(float));
    if (invalidation->_vector == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory for a vector");
    invalidation->_embed = (sc_embed_call){
        .text = canonical.text,
        .hash = sc_sha256(canonical.text.ptr, canonical.text.len),
        .vector = invalidation->_vector,
        .deadline = sc_instant_after_ms(sc_now(), pipeline->options.embed_timeout_ms),
        .done = embed_done,
    };
    sc_embedder_ask(pipeline->parts.embedder, &invalidation->_embed);
    return SC_OK;
}

void sc_pipeline_invalidate(sc_pipeline *pipeline, sc_invalidation *invalidation)
{
    invalidation->_pipeline = pipeline;
    sc_arena_init(&invalidation->_arena, 4 << 20);
    if (!invalidation->store.dry_run)
        sc_pipeline_invalidation_begins(pipeline);
    if (invalidation->near_text.ptr == NULL) {
        ask_store(invalidation);
        return;
    }
    sc_status status = embed(invalidation);
    if (status != SC_OK)
        fail(invalidation, status);
}

void sc_invalidation_fini(sc_invalidation *invalidation)
{
    sc_candidates_unref(invalidation->store.examples, invalidation->store.examples_count);
    invalidation->store.examples_count = 0;
}
