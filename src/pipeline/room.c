/* Room in the store for one tenant's new entry. What has to leave is forgotten by memory at once and
 * removed from the store beside the write of the new one; nobody waits for it. What could not be
 * removed goes back onto the tenant's account, so the next write tries again. */
#include <stdlib.h>

#include "src/pipeline/work.h"

enum {
    LEAVING_MAX = 16, /* one removal of the Redis store: each repairs its index' graph */
    REMOVAL_MS = 10000,
};

typedef struct {
    sc_store_invalidate removal;
    sc_pipeline        *pipeline;
    sc_quota_item       items[LEAVING_MAX];
    sc_digest           ids[LEAVING_MAX];
    bool                removed[LEAVING_MAX];
    size_t              count;
    sc_str              tenant; /* behind the struct */
} leaving;

static uint64_t bytes_of(const sc_pipeline *pipeline, const sc_entry *entry, const float *vector)
{
    return entry->held_bytes + (vector == NULL ? 0 : pipeline->dim * sizeof *vector);
}

void sc_room_note(sc_pipeline *pipeline, const sc_entry *entry, const float *vector)
{
    sc_quota_note(pipeline->quota, &entry->f, bytes_of(pipeline, entry, vector));
}

bool sc_room_suffices(sc_pipeline *pipeline, const sc_quota_limits *limits, const sc_entry *entry,
                      const float *vector)
{
    if (limits->bytes_max == 0 || bytes_of(pipeline, entry, vector) <= limits->bytes_max)
        return true;
    sc_counter_add(&pipeline->metrics->quota_refused, 1, sc_now());
    return false;
}

static void removing(void *context, const sc_digest *id)
{
    leaving *l = context;
    for (size_t i = 0; i < l->count; i++)
        if (sc_digest_equal(&l->ids[i], id))
            l->removed[i] = true;
}

static void removal_done(sc_store_call *call)
{
    leaving *l = SC_CONTAINER(SC_CONTAINER(call, sc_store_invalidate, call), leaving, removal);
    /* With SC_OK, what was not removed was not there. */
    for (size_t i = 0; call->status != SC_OK && i < l->count; i++)
        if (!l->removed[i])
            sc_quota_take_back(l->pipeline->quota, l->tenant, &l->items[i]);
    sc_candidates_unref(l->removal.examples, l->removal.examples_count);
    free(l);
}

static leaving *make(sc_pipeline *pipeline, sc_str tenant)
{
    leaving *l = calloc(1, sizeof *l + tenant.len);
    if (l == NULL)
        return NULL;
    memcpy(l + 1, tenant.ptr, tenant.len);
    l->pipeline = pipeline;
    l->tenant = (sc_str){(const char *)(l + 1), tenant.len};
    return l;
}

static void go(leaving *l)
{
    sc_pipeline *pipeline = l->pipeline;
    for (size_t i = 0; i < l->count; i++) {
        l->ids[i] = l->items[i].id;
        sc_pipeline_forget(pipeline, &l->ids[i]);
    }
    sc_counter_add(&pipeline->metrics->quota_evicted, l->count, sc_now());
    l->removal = (sc_store_invalidate){
        .call = {.deadline = sc_instant_after_ms(sc_now(), REMOVAL_MS), .done = removal_done},
        .filter = {.tenant = l->tenant, .ids = l->ids, .ids_count = l->count},
        .removing = removing,
        .removing_context = l,
    };
    pipeline->store->ops->invalidate(pipeline->store, &l->removal);
}

void sc_room_make(sc_pipeline *pipeline, sc_str tenant, const sc_quota_limits *limits,
                  const sc_digest *keep)
{
    if (tenant.len == 0 || (limits->entries_max == 0 && limits->bytes_max == 0))
        return;
    leaving *l = make(pipeline, tenant);
    if (l == NULL)
        return; /* the next write makes more room */
    l->count = sc_quota_make_room(pipeline->quota, tenant, limits, keep, l->items, LEAVING_MAX);
    if (l->count == 0)
        free(l);
    else
        go(l);
}
