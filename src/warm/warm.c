/* Who is locked when.
 *
 * An entry is in two places: in the table of its key's shard (with the order of use), and as a
 * row in its scope's matrix. Both have their own lock, a third kind guards the tables of
 * scopes, and no two locks are ever held together, so there is no order to get wrong. What
 * makes that work:
 *   - whoever takes an item out of its shard's table owns it: nobody else will remove its
 *     row or free it;
 *   - a row is added before the item is published in the table, and removed after it was
 *     taken out: a search may see an entry a moment early or late, never one without memory;
 *   - a scope counts its holders (rows that are there, or on their way) under its shard's
 *     lock, and is in the table exactly while there are some, so that no row can be added to
 *     a scope that nobody finds.
 *
 * A hit locks one of 64 shards by its key, for a probe of the table and four list pointers. The
 * order of use over all shards is exact: a use stamps the item from one atomic counter, each
 * shard shows the stamp of its least recently used item, and eviction takes the least of the
 * 64. (One list for all would be one lock for all; sampling would need no lists but evicts
 * what a test cannot predict.)
 *
 * Bytes: each entry counts with its own allocation and an estimate for its table slots, each
 * scope with its chunks as they were allocated. A put is published before it evicts, because
 * a failed put must leave the set as it was: the budget can be passed for a moment by the
 * entries that are being put. A chunk is different, it may be 5 MiB: room for it is made first. */
#include "src/warm/warm.h"

#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "src/base/list.h"
#include "src/base/table.h"
#include "src/warm/matrix.h"
#include "src/warm/prefilter.h"

enum {
    SHARDS = 64, /* a power of two */
    SCRATCHES = 16,
    SLOTS_BYTES = 2 * sizeof(sc_table_slot), /* tables are 3/8 to 3/4 full */
};

static const uint64_t never = UINT64_MAX;

typedef struct {
    sc_digest   id;
    atomic_uint refs;    /* the table's, and one per search under way */
    size_t      holders; /* under the shard's lock */

    pthread_rwlock_t lock;
    sc_matrix        matrix; /* under lock */
} scope;

typedef struct {
    /* Fixed by put. */
    size_t bytes;
    scope *scope; /* NULL: found by its exact key only */
    sc_row row;   /* the entry; its place is under the scope's lock */

    /* Under the shard's lock. */
    sc_link  use;
    uint64_t used_at;
} item;

typedef struct {
    pthread_mutex_t lock;
    sc_table        items; /* by id */
    sc_link         uses;  /* most recent first */

    _Atomic uint64_t oldest;  /* used_at of the last in uses; changes under lock */
    char             pad[64]; /* one shard's users do not slow down another's */
} entry_shard;

typedef struct {
    pthread_mutex_t lock;
    sc_table        scopes;
    char            pad[64];
} scope_shard;

struct sc_warm {
    /* Fixed by open. */
    sc_warm_options   options;
    const sc_kernels *kernels;

    entry_shard entries[SHARDS];
    scope_shard scopes[SHARDS];

    _Atomic uint64_t uses; /* stamps so far */
    char             pad[64];

    atomic_size_t    bytes;
    atomic_size_t    entries_used;
    atomic_size_t    scopes_used;
    _Atomic uint64_t evicted;

    _Atomic(sc_scratch *) scratches[SCRATCHES]; /* idle ones */
};

static entry_shard *entry_shard_of(sc_warm *warm, const sc_digest *id)
{
    return &warm->entries[id->bytes[SC_DIGEST_BYTES - 1] % SHARDS];
}

static scope_shard *scope_shard_of(sc_warm *warm, const sc_digest *id)
{
    return &warm->scopes[id->bytes[SC_DIGEST_BYTES - 1] % SHARDS];
}

/* Scratch memory: as many idle ones as searches ran at once, up to SCRATCHES. */

static sc_scratch *scratch_idle(sc_warm *warm)
{
    for (size_t i = 0; i < SCRATCHES; i++)
        if (atomic_load_explicit(&warm->scratches[i], memory_order_relaxed) != NULL) {
            sc_scratch *scratch = atomic_exchange(&warm->scratches[i], NULL);
            if (scratch != NULL)
                return scratch;
        }
    return NULL;
}

/* open made one: without memory for another, this search waits for one of those under way. */
static sc_scratch *scratch_take(sc_warm *warm)
{
    for (;;) {
        sc_scratch *scratch = scratch_idle(warm);
        if (scratch == NULL)
            scratch = sc_scratch_make(warm->options.dim);
        if (scratch != NULL)
            return scratch;
        sched_yield();
    }
}

static void scratch_give(sc_warm *warm, sc_scratch *scratch)
{
    for (size_t i = 0; i < SCRATCHES; i++) {
        sc_scratch *none = NULL;
        if (atomic_compare_exchange_strong(&warm->scratches[i], &none, scratch))
            return;
    }
    sc_scratch_free(scratch);
}

/* Scopes */

static void scope_unref(scope *s)
{
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    sc_matrix_fini(&s->matrix);
    pthread_rwlock_destroy(&s->lock);
    free(s);
}

static scope *scope_make(const sc_digest *id, uint32_t dim)
{
    scope *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->id = *id;
    atomic_init(&s->refs, 1);
    sc_matrix_init(&s->matrix, dim);
    /* Searches overlap without end on a busy scope: a writer that waited for a gap would starve. */
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&s->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    return s;
}

static const size_t scope_bytes = sizeof(scope) + SLOTS_BYTES;

/* With a reference for a search, or NULL. */
static scope *scope_find(sc_warm *warm, const sc_digest *id)
{
    scope_shard *shard = scope_shard_of(warm, id);
    pthread_mutex_lock(&shard->lock);
    scope *s = sc_table_get(&shard->scopes, id);
    if (s != NULL)
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&shard->lock);
    return s;
}

/* The scope for a row that is on its way, made when there is none. NULL without memory. */
static scope *scope_hold(sc_warm *warm, const sc_digest *id)
{
    scope_shard *shard = scope_shard_of(warm, id);
    pthread_mutex_lock(&shard->lock);
    scope *s = sc_table_get(&shard->scopes, id);
    if (s == NULL) {
        s = scope_make(id, warm->options.dim);
        if (s != NULL && sc_table_put(&shard->scopes, id, s, NULL) != SC_OK) {
            scope_unref(s);
            s = NULL;
        }
        if (s != NULL) {
            atomic_fetch_add(&warm->bytes, scope_bytes);
            atomic_fetch_add(&warm->scopes_used, 1);
        }
    }
    if (s != NULL)
        s->holders++;
    pthread_mutex_unlock(&shard->lock);
    return s;
}

static void scope_let_go(sc_warm *warm, scope *s)
{
    scope_shard *shard = scope_shard_of(warm, &s->id);
    pthread_mutex_lock(&shard->lock);
    bool last = --s->holders == 0;
    if (last)
        sc_table_remove(&shard->scopes, &s->id);
    pthread_mutex_unlock(&shard->lock);
    if (!last)
        return;
    atomic_fetch_sub(&warm->bytes, scope_bytes);
    atomic_fetch_sub(&warm->scopes_used, 1);
    scope_unref(s);
}

/* Rows */

/* Call with the scope's lock, after its matrix had `before` bytes. */
static void account(sc_warm *warm, const scope *s, size_t before)
{
    atomic_fetch_add(&warm->bytes, s->matrix.bytes - before);
}

static void row_remove(sc_warm *warm, item *it, bool trim)
{
    scope *s = it->scope;
    if (s == NULL)
        return;
    pthread_rwlock_wrlock(&s->lock);
    size_t before = s->matrix.bytes;
    sc_matrix_remove(&s->matrix, &it->row);
    if (trim)
        sc_matrix_trim(&s->matrix);
    account(warm, s, before);
    pthread_rwlock_unlock(&s->lock);
    scope_let_go(warm, s);
}

static bool evict_one(sc_warm *warm);

/* Adds the row when it needs no new chunk, or when that fits into the budget; else says SC_BUSY. */
static sc_status row_try(sc_warm *warm, item *it, const float *vector, float factor, bool force)
{
    scope    *s = it->scope;
    sc_status status = SC_BUSY;
    pthread_rwlock_wrlock(&s->lock);
    size_t before = s->matrix.bytes, growth = sc_matrix_growth(&s->matrix);
    if (growth == 0 || force || atomic_load(&warm->bytes) + growth <= warm->options.bytes_max) {
        status = sc_matrix_add(&s->matrix, &it->row, vector, factor);
        account(warm, s, before);
    }
    pthread_rwlock_unlock(&s->lock);
    return status;
}

/* An eviction may free a row of this very scope: then no chunk is needed any more. */
static sc_status row_add(sc_warm *warm, item *it, const float *vector, float factor)
{
    it->scope = scope_hold(warm, &it->row.entry->f.scope);
    if (it->scope == NULL)
        return SC_NO_MEMORY;
    sc_status status;
    bool      force = false;
    while ((status = row_try(warm, it, vector, factor, force)) == SC_BUSY)
        force = !evict_one(warm);
    if (status == SC_OK)
        return SC_OK;
    scope_let_go(warm, it->scope);
    it->scope = NULL;
    return status;
}

/* Items */

static item *item_make(sc_entry *entry)
{
    item *it = calloc(1, sizeof *it);
    if (it == NULL)
        return NULL;
    it->bytes = sizeof *it + SLOTS_BYTES + entry->held_bytes;
    it->row.entry = sc_entry_ref(entry);
    return it;
}

static void item_free(item *it)
{
    if (it == NULL)
        return;
    sc_entry_unref(it->row.entry);
    free(it);
}

/* For the owner of an item that is in no table any more. */
static void item_release(sc_warm *warm, item *it)
{
    row_remove(warm, it, false);
    atomic_fetch_sub(&warm->bytes, it->bytes);
    item_free(it);
}

static item *item_of(sc_link *use)
{
    return SC_CONTAINER(use, item, use);
}

static uint64_t stamp(sc_warm *warm)
{
    return atomic_fetch_add_explicit(&warm->uses, 1, memory_order_relaxed);
}

/* Call with the shard's lock, as all of the following. */
static void show_oldest(entry_shard *shard)
{
    atomic_store(&shard->oldest,
                 sc_list_empty(&shard->uses) ? never : item_of(shard->uses.prev)->used_at);
}

static void push_use(sc_warm *warm, entry_shard *shard, item *it)
{
    it->used_at = stamp(warm);
    sc_list_push_front(&shard->uses, &it->use);
}

static void drop_use(entry_shard *shard, item *it)
{
    bool last = shard->uses.prev == &it->use;
    sc_list_remove(&it->use);
    if (last)
        show_oldest(shard);
}

static void touch(sc_warm *warm, entry_shard *shard, item *it, sc_wall now)
{
    bool last = shard->uses.prev == &it->use;
    sc_list_remove(&it->use);
    push_use(warm, shard, it);
    if (last)
        show_oldest(shard);
    atomic_store_explicit(&it->row.entry->last_hit_ms, now.ms, memory_order_relaxed);
}

/* Makes the caller the item's owner. */
static void take_out(sc_warm *warm, entry_shard *shard, item *it)
{
    sc_table_remove(&shard->items, &it->row.entry->f.id);
    drop_use(shard, it);
    atomic_fetch_sub(&warm->entries_used, 1);
}

/* Eviction */

static entry_shard *coldest(sc_warm *warm, uint64_t *oldest)
{
    entry_shard *found = NULL;
    *oldest = never;
    for (size_t i = 0; i < SHARDS; i++) {
        uint64_t at = atomic_load(&warm->entries[i].oldest);
        if (at < *oldest) {
            *oldest = at;
            found = &warm->entries[i];
        }
    }
    return found;
}

/* False: there is nothing left. */
static bool evict_one(sc_warm *warm)
{
    uint64_t oldest;
    for (entry_shard *shard; (shard = coldest(warm, &oldest)) != NULL;) {
        item *it = NULL;
        pthread_mutex_lock(&shard->lock);
        if (atomic_load(&shard->oldest) == oldest) {
            it = item_of(shard->uses.prev);
            take_out(warm, shard, it);
        }
        pthread_mutex_unlock(&shard->lock);
        if (it == NULL)
            continue; /* it was used in between; look again */
        item_release(warm, it);
        atomic_fetch_add(&warm->evicted, 1);
        return true;
    }
    return false;
}

static void evict_to_budget(sc_warm *warm)
{
    while (atomic_load(&warm->bytes) > warm->options.bytes_max && evict_one(warm)) {
    }
}

/* The calls of warm.h */

static void shards_init(sc_warm *warm)
{
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&warm->entries[i].lock, NULL);
        sc_list_init(&warm->entries[i].uses);
        atomic_init(&warm->entries[i].oldest, never);
        pthread_mutex_init(&warm->scopes[i].lock, NULL);
    }
}

sc_status sc_warm_open(const sc_warm_options *options, sc_warm **out)
{
    *out = NULL;
    if (options->dim == 0 || options->dim > SC_MATRIX_DIM_MAX)
        return SC_INVALID;
    sc_warm    *warm = calloc(1, sizeof *warm);
    sc_scratch *scratch = sc_scratch_make(options->dim);
    if (warm == NULL || scratch == NULL) {
        sc_scratch_free(scratch);
        free(warm);
        return SC_NO_MEMORY;
    }
    warm->options = *options;
    warm->kernels = sc_kernels_best();
    shards_init(warm);
    atomic_init(&warm->scratches[0], scratch);
    /* Searches run side by side on our threads; helpers of its own would only fight with them. */
    openblas_set_num_threads(1);
    *out = warm;
    return SC_OK;
}

void sc_warm_close(sc_warm *warm)
{
    if (warm == NULL)
        return;
    sc_warm_clear(warm);
    for (size_t i = 0; i < SHARDS; i++) {
        sc_table_fini(&warm->entries[i].items);
        sc_table_fini(&warm->scopes[i].scopes);
        pthread_mutex_destroy(&warm->entries[i].lock);
        pthread_mutex_destroy(&warm->scopes[i].lock);
    }
    for (size_t i = 0; i < SCRATCHES; i++)
        sc_scratch_free(atomic_load(&warm->scratches[i]));
    free(warm);
}

/* What the entry needs when it is alone in the set. */
static size_t bytes_alone(const sc_warm *warm, const item *it, bool with_row)
{
    sc_matrix one;
    sc_matrix_init(&one, warm->options.dim);
    return it->bytes + (with_row ? scope_bytes + sc_matrix_growth(&one) : 0);
}

/* Brings a vector to unit length; one that is so but for rounding stays as it is. */
static bool direction(const float *vector, size_t dim, float *factor)
{
    float length = sc_length(vector, dim);
    *factor = fabsf(length - 1) < 1e-5f ? 1 : 1 / length;
    return isfinite(length) && isfinite(*factor);
}

static sc_status publish(sc_warm *warm, item *it)
{
    void        *old = NULL;
    entry_shard *shard = entry_shard_of(warm, &it->row.entry->f.id);
    pthread_mutex_lock(&shard->lock);
    sc_status status = sc_table_put(&shard->items, &it->row.entry->f.id, it, &old);
    if (status == SC_OK) {
        push_use(warm, shard, it);
        if (old != NULL)
            drop_use(shard, old);
        else
            atomic_fetch_add(&warm->entries_used, 1);
        show_oldest(shard);
        atomic_fetch_add(&warm->bytes, it->bytes);
    }
    pthread_mutex_unlock(&shard->lock);
    if (old != NULL)
        item_release(warm, old);
    return status;
}

sc_status sc_warm_put(sc_warm *warm, sc_entry *entry, const float *vector)
{
    sc_status status = SC_OK;
    float     factor = 1;
    if (vector != NULL && !direction(vector, warm->options.dim, &factor))
        return SC_INVALID;
    item *it = item_make(entry);
    if (it == NULL)
        return SC_NO_MEMORY;
    if (bytes_alone(warm, it, vector != NULL) > warm->options.bytes_max)
        status = SC_TOO_LARGE;
    if (status == SC_OK && vector != NULL)
        status = row_add(warm, it, vector, factor);
    if (status != SC_OK)
        goto out;
    status = publish(warm, it);
    if (status != SC_OK) {
        row_remove(warm, it, true);
        goto out;
    }
    it = NULL; /* the table's; another thread may have evicted it by now */
    evict_to_budget(warm);
out:
    item_free(it);
    return status;
}

bool sc_warm_remove(sc_warm *warm, const sc_digest *id, uint64_t version)
{
    entry_shard *shard = entry_shard_of(warm, id);
    pthread_mutex_lock(&shard->lock);
    item *it = sc_table_get(&shard->items, id);
    if (it != NULL && version != 0 && it->row.entry->f.version != version)
        it = NULL;
    if (it != NULL)
        take_out(warm, shard, it);
    pthread_mutex_unlock(&shard->lock);
    if (it == NULL)
        return false;
    item_release(warm, it);
    return true;
}

static void clear_shard(sc_warm *warm, entry_shard *shard)
{
    sc_link gone;
    sc_list_init(&gone);
    pthread_mutex_lock(&shard->lock);
    atomic_fetch_sub(&warm->entries_used, shard->items.used);
    sc_list_splice_back(&gone, &shard->uses);
    sc_table_fini(&shard->items);
    show_oldest(shard);
    pthread_mutex_unlock(&shard->lock);
    for (sc_link *use; (use = sc_list_pop_front(&gone)) != NULL;)
        item_release(warm, item_of(use));
}

void sc_warm_clear(sc_warm *warm)
{
    for (size_t i = 0; i < SHARDS; i++)
        clear_shard(warm, &warm->entries[i]);
}

sc_entry *sc_warm_exact(sc_warm *warm, const sc_digest *id, sc_wall now)
{
    sc_entry    *entry = NULL;
    entry_shard *shard = entry_shard_of(warm, id);
    pthread_mutex_lock(&shard->lock);
    item *it = sc_table_get(&shard->items, id);
    if (it != NULL && it->row.entry->f.expires.ms > now.ms) {
        entry = sc_entry_ref(it->row.entry);
        touch(warm, shard, it, now);
    }
    pthread_mutex_unlock(&shard->lock);
    return entry;
}

uint64_t sc_warm_version(sc_warm *warm, const sc_digest *id)
{
    entry_shard *shard = entry_shard_of(warm, id);
    pthread_mutex_lock(&shard->lock);
    const item *it = sc_table_get(&shard->items, id);
    uint64_t    version = it == NULL ? 0 : it->row.entry->f.version;
    pthread_mutex_unlock(&shard->lock);
    return version;
}

void sc_warm_used(sc_warm *warm, const sc_digest *id, sc_wall now)
{
    entry_shard *shard = entry_shard_of(warm, id);
    pthread_mutex_lock(&shard->lock);
    item *it = sc_table_get(&shard->items, id);
    if (it != NULL)
        touch(warm, shard, it, now);
    pthread_mutex_unlock(&shard->lock);
}

/* A row is only ever put into its entry's scope. Should that fail, nobody must be told another's
 * answer: what a search found is looked at once more. */
static void drop_foreign(const sc_digest *scope_id, sc_warm_query *query)
{
    size_t kept = 0;
    for (size_t i = 0; i < query->hits_used; i++)
        if (sc_digest_equal(&query->hits[i].entry->f.scope, scope_id))
            query->hits[kept++] = query->hits[i];
        else
            sc_entry_unref(query->hits[i].entry);
    query->hits_used = kept;
    sc_entry *refused = query->refused.entry;
    if (refused != NULL && !sc_digest_equal(&refused->f.scope, scope_id)) {
        sc_entry_unref(refused);
        query->refused = (sc_candidate){NULL, 0};
    }
}

size_t sc_warm_rows(sc_warm *warm, const sc_digest *scope_id)
{
    scope *s = scope_find(warm, scope_id);
    if (s == NULL)
        return 0;
    pthread_rwlock_rdlock(&s->lock);
    size_t rows = s->matrix.rows_used;
    pthread_rwlock_unlock(&s->lock);
    scope_unref(s);
    return rows;
}

void sc_warm_search(sc_warm *warm, const sc_digest *scope_id, sc_wall now, sc_warm_query *queries,
                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        queries[i].hits_used = 0;
        queries[i].refused = (sc_candidate){NULL, 0};
    }
    scope *s = count == 0 ? NULL : scope_find(warm, scope_id);
    if (s == NULL)
        return;
    sc_scratch *scratch = scratch_take(warm);
    pthread_rwlock_rdlock(&s->lock);
    sc_prefilter(&s->matrix, warm->kernels, warm->options.pass, scratch, now, queries, count);
    pthread_rwlock_unlock(&s->lock);
    scratch_give(warm, scratch);
    scope_unref(s);
    for (size_t i = 0; i < count; i++)
        drop_foreign(scope_id, &queries[i]);
}

static bool each_of_shard(entry_shard *shard, bool (*visit)(void *context, sc_entry *entry),
                          void *context)
{
    bool go_on = true;
    pthread_mutex_lock(&shard->lock);
    for (sc_link *use = shard->uses.next; go_on && use != &shard->uses; use = use->next)
        go_on = visit(context, item_of(use)->row.entry);
    pthread_mutex_unlock(&shard->lock);
    return go_on;
}

void sc_warm_each(sc_warm *warm, bool (*visit)(void *context, sc_entry *entry), void *context)
{
    for (size_t i = 0; i < SHARDS; i++)
        if (!each_of_shard(&warm->entries[i], visit, context))
            return;
}

void sc_warm_look(sc_warm *warm, sc_warm_stats *out)
{
    *out = (sc_warm_stats){
        .entries = atomic_load(&warm->entries_used),
        .scopes = atomic_load(&warm->scopes_used),
        .bytes = atomic_load(&warm->bytes),
        .bytes_max = warm->options.bytes_max,
        .evicted = atomic_load(&warm->evicted),
    };
}
