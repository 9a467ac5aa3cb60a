/* Reads and writes overlap: an entry that the store has just given may be removed, and the removal
 * be heard of, before the entry is put into memory, where it would then stay. No lock can
 * be held across I/O, so what is read is put, and taken out again when its id has changed
 * since. Whoever removes counts first and removes then; whoever puts, puts first and looks
 * at the count then: one of the two always meets the other.
 *
 * An answer of the LLM has no version in the store that could have changed; for it, and only for
 * it, there are epochs. A put into the store is not taken back so easily: hence the lock. */
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
    pthread_rwlock_wrlock(&pipeline->keeping);
    atomic_fetch_add(&pipeline->invalidating, 1);
    atomic_fetch_add(&pipeline->invalidations, 1);
    pthread_rwlock_unlock(&pipeline->keeping);
}

void sc_pipeline_invalidation_ends(sc_pipeline *pipeline)
{
    atomic_fetch_sub(&pipeline->invalidating, 1);
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
