/* Reads and writes overlap: an entry that the store has just given may be removed, and the removal
 * be heard of, before the entry is put into memory, where it would then stay. No lock can
 * be held across I/O, so what is read is put, and taken out again when its id has changed
 * since. Whoever removes counts first and removes then; whoever puts, puts first and looks
 * at the count then: one of the two always meets the other.
 *
 * An answer of the LLM has no version in the store that could have changed; for it, and only for
 * it, there are epochs. Nor is a put into the store taken back so easily, and it may overtake, or be
 * overtaken by, the store's search for what to remove. So an invalidation lets no put begin, and
 * waits for those under way; each has the store's deadline. */
#include "src/pipeline/work.h"

uint64_t sc_pipeline_epoch(const sc_pipeline *pipeline)
{
    /* In this order: an invalidation that begins between the two is in the count when it is ended. */
    uint64_t begun = atomic_load(&pipeline->invalidations);
    return atomic_load(&pipeline->invalidating) == 0 ? begun + 1 : 0;
}

bool sc_pipeline_same_epoch(const sc_pipeline *pipeline, uint64_t epoch)
{
    return epoch != 0 && atomic_load(&pipeline->invalidations) + 1 == epoch;
}

void sc_pipeline_invalidation_begins(sc_pipeline *pipeline)
{
    pthread_mutex_lock(&pipeline->keeping);
    atomic_fetch_add(&pipeline->invalidating, 1);
    atomic_fetch_add(&pipeline->invalidations, 1);
    pthread_mutex_unlock(&pipeline->keeping);
}

void sc_pipeline_invalidation_ends(sc_pipeline *pipeline)
{
    atomic_fetch_add(&pipeline->invalidated, 1);
    atomic_fetch_sub(&pipeline->invalidating, 1);
}

bool sc_pipeline_put_begins(sc_pipeline *pipeline, uint64_t epoch)
{
    pthread_mutex_lock(&pipeline->keeping);
    bool same = sc_pipeline_same_epoch(pipeline, epoch);
    if (same)
        pipeline->puts++;
    pthread_mutex_unlock(&pipeline->keeping);
    return same;
}

void sc_pipeline_put_ends(sc_pipeline *pipeline)
{
    sc_link quiet;
    sc_list_init(&quiet);
    pthread_mutex_lock(&pipeline->keeping);
    if (--pipeline->puts == 0)
        sc_list_splice_back(&quiet, &pipeline->parked);
    pthread_mutex_unlock(&pipeline->keeping);
    for (sc_link *link; (link = sc_list_pop_front(&quiet)) != NULL;)
        sc_invalidation_go_on(SC_CONTAINER(link, sc_invalidation, _link));
}

bool sc_pipeline_is_quiet(sc_pipeline *pipeline, sc_invalidation *invalidation)
{
    pthread_mutex_lock(&pipeline->keeping);
    bool quiet = pipeline->puts == 0;
    if (!quiet)
        sc_list_push_back(&pipeline->parked, &invalidation->_link);
    pthread_mutex_unlock(&pipeline->keeping);
    return quiet;
}

static size_t slot_of(const sc_digest *id)
{
    return sc_digest_u64(id) % SC_CHANGES_SLOTS;
}

uint32_t sc_pipeline_changes_of(const sc_pipeline *pipeline, const sc_digest *id)
{
    return atomic_load(&pipeline->changes_of[slot_of(id)]);
}

static void note_change(sc_pipeline *pipeline, const sc_digest *id)
{
    atomic_fetch_add(&pipeline->changes_of[slot_of(id)], 1);
    atomic_fetch_add(&pipeline->changes, 1);
}

void sc_pipeline_learn(sc_pipeline *pipeline, sc_entry *entry, const float *vector)
{
    note_change(pipeline, &entry->f.id);
    sc_status status = sc_warm_put(pipeline->parts.warm, entry, vector);
    (void)status; /* no room is no harm: the store still has it */
}

void sc_pipeline_forget(sc_pipeline *pipeline, const sc_digest *id)
{
    note_change(pipeline, id);
    sc_warm_remove(pipeline->parts.warm, id, 0);
}

void sc_pipeline_forget_all(sc_pipeline *pipeline)
{
    for (size_t i = 0; i < SC_CHANGES_SLOTS; i++)
        atomic_fetch_add(&pipeline->changes_of[i], 1);
    atomic_fetch_add(&pipeline->changes, 1);
    sc_warm_clear(pipeline->parts.warm);
}

void sc_pipeline_recall(sc_pipeline *pipeline, sc_entry *entry, const float *vector, uint32_t seen)
{
    const sc_digest *id = &entry->f.id;
    if (sc_pipeline_changes_of(pipeline, id) != seen)
        return;
    sc_status status = sc_warm_put(pipeline->parts.warm, entry, vector);
    (void)status; /* as above */
    if (sc_pipeline_changes_of(pipeline, id) != seen)
        sc_warm_remove(pipeline->parts.warm, id, entry->f.version);
}
