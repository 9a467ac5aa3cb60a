#include "src/store/memory/memory.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "src/base/table.h"

typedef struct {
    sc_link   by_use;
    sc_entry *entry;
    float    *vector; /* [dim], NULL: none */
} item;

typedef struct {
    sc_store base;

    /* Fixed by open. */
    size_t        entries_max;
    sc_store_feed feed;

    pthread_mutex_t lock;
    /* Under lock. */
    sc_table      items;
    sc_link       by_use; /* least recently used first */
    sc_store_info info;
} memory;

static memory *memory_of(sc_store *store)
{
    return SC_CONTAINER(store, memory, base);
}

static void finish(sc_store_call *call, sc_status status, const char *text)
{
    call->status = status;
    call->error = (sc_error){0};
    if (status != SC_OK)
        sc_fail(&call->error, status, "%s", text);
    call->done(call);
}

static void item_free(item *of)
{
    if (of == NULL)
        return;
    sc_list_remove(&of->by_use);
    sc_entry_unref(of->entry);
    free(of->vector);
    free(of);
}

static void touch(memory *store, item *of)
{
    sc_list_remove(&of->by_use);
    sc_list_push_back(&store->by_use, &of->by_use);
}

static void remove_item(memory *store, item *of)
{
    sc_table_remove(&store->items, &of->entry->f.id);
    item_free(of);
}

/* The item of an id that has not expired, or NULL; an expired one goes. Under lock. */
static item *find(memory *store, const sc_digest *id)
{
    item *found = sc_table_get(&store->items, id);

    if (found == NULL || found->entry->f.expires.ms > sc_wall_now().ms)
        return found;
    remove_item(store, found);
    return NULL;
}

static void get(sc_store *base, sc_store_get *call)
{
    memory *store = memory_of(base);

    pthread_mutex_lock(&store->lock);
    store->info.calls++;
    item *found = find(store, &call->id);
    if (found != NULL)
        touch(store, found);
    call->found = found == NULL ? NULL : sc_entry_ref(found->entry);
    pthread_mutex_unlock(&store->lock);
    finish(&call->call, SC_OK, NULL);
}

static float distance_between(const float *a, const float *b, uint32_t dim)
{
    double dot = 0;
    for (uint32_t i = 0; i < dim; i++)
        dot += (double)a[i] * (double)b[i];
    return (float)fmin(fmax(1 - dot, 0), 2);
}

static void keep_nearest(sc_store_search *call, sc_entry *entry, float distance)
{
    size_t at = call->found_count, wanted = sc_store_wanted(call);

    if (at == wanted && call->found[at - 1].distance <= distance)
        return;
    if (at == wanted)
        sc_entry_unref(call->found[--at].entry);
    for (; at > 0 && call->found[at - 1].distance > distance; at--)
        call->found[at] = call->found[at - 1];
    call->found[at] = (sc_candidate){sc_entry_ref(entry), distance};
    if (call->found_count < wanted)
        call->found_count++;
}

static void search(sc_store *base, sc_store_search *call)
{
    memory *store = memory_of(base);
    int64_t now_ms = sc_wall_now().ms;

    call->found_count = 0;
    if (call->k == 0 || call->k > SC_STORE_CANDIDATES_MAX) {
        finish(&call->call, SC_INVALID, "search: k is out of range");
        return;
    }
    pthread_mutex_lock(&store->lock);
    store->info.calls++;
    SC_LIST_EACH (link, &store->by_use) {
        const item *of = SC_CONTAINER(link, item, by_use);
        if (of->vector != NULL && of->entry->f.guard == call->guard &&
            of->entry->f.expires.ms > now_ms && sc_digest_equal(&of->entry->f.scope, &call->scope))
            keep_nearest(call, of->entry, distance_between(of->vector, call->vector, base->dim));
    }
    pthread_mutex_unlock(&store->lock);
    finish(&call->call, SC_OK, NULL);
}

static void verify(sc_store *base, sc_store_verify *call)
{
    memory *store = memory_of(base);

    pthread_mutex_lock(&store->lock);
    store->info.calls++;
    item *found = find(store, &call->id);
    call->fresh = found != NULL && found->entry->f.version == call->version;
    if (call->fresh)
        touch(store, found);
    pthread_mutex_unlock(&store->lock);
    finish(&call->call, SC_OK, NULL);
}

static item *make_item(const sc_store_put *call, uint32_t dim)
{
    item  *made = calloc(1, sizeof *made);
    size_t bytes = dim * sizeof *call->vector;

    if (made == NULL)
        return NULL;
    if (call->vector != NULL) {
        made->vector = malloc(bytes);
        if (made->vector == NULL) {
            free(made);
            return NULL;
        }
        memcpy(made->vector, call->vector, bytes);
    }
    made->entry = sc_entry_ref(call->entry);
    return made;
}

/* Takes made. Under lock. */
static sc_status insert(memory *store, item *made)
{
    void     *old = NULL;
    sc_status status = sc_table_put(&store->items, &made->entry->f.id, made, &old);

    if (status != SC_OK) {
        item_free(made);
        return status;
    }
    sc_list_push_back(&store->by_use, &made->by_use);
    item_free(old);
    return SC_OK;
}

/* Tells of entries that left for lack of room. With no lock held: the feed may call back. */
static void evict(memory *store)
{
    for (;;) {
        pthread_mutex_lock(&store->lock);
        item     *oldest = NULL;
        sc_digest id = {{0}};
        if (store->items.used > store->entries_max) {
            oldest = SC_CONTAINER(store->by_use.next, item, by_use);
            id = oldest->entry->f.id;
            remove_item(store, oldest);
        }
        pthread_mutex_unlock(&store->lock);
        if (oldest == NULL)
            return;
        if (store->feed.removed != NULL)
            store->feed.removed(store->feed.context, &id);
    }
}

static void put(sc_store *base, sc_store_put *call)
{
    memory   *store = memory_of(base);
    item     *made = make_item(call, base->dim);
    sc_status status = SC_NO_MEMORY;

    pthread_mutex_lock(&store->lock);
    store->info.calls++;
    if (made != NULL)
        status = insert(store, made);
    pthread_mutex_unlock(&store->lock);
    if (status == SC_OK && store->feed.put != NULL)
        store->feed.put(store->feed.context, call->entry, call->vector);
    evict(store);
    finish(&call->call, status, sc_status_name(status));
}

static void note_match(sc_store_invalidate *call, sc_entry *entry, float distance)
{
    call->removed++;
    if (call->examples_count < SC_STORE_EXAMPLES_MAX)
        call->examples[call->examples_count++] = (sc_candidate){sc_entry_ref(entry), distance};
}

/* Moves what matches to `gone`; nothing moves in a dry run. Under lock. */
static void take_matches(memory *store, sc_store_invalidate *call, sc_link *gone)
{
    SC_LIST_EACH_SAFE (link, after, &store->by_use) {
        item *of = SC_CONTAINER(link, item, by_use);
        float distance;
        if (!sc_store_filter_matches(&call->filter, &of->entry->f, of->vector, store->base.dim,
                                     &distance))
            continue;
        note_match(call, of->entry, distance);
        if (call->dry_run)
            continue;
        sc_table_remove(&store->items, &of->entry->f.id);
        sc_list_remove(&of->by_use);
        sc_list_push_back(gone, &of->by_use);
    }
}

static void invalidate(sc_store *base, sc_store_invalidate *call)
{
    memory  *store = memory_of(base);
    sc_link  gone;
    sc_link *link;

    sc_list_init(&gone);
    call->removed = 0;
    call->examples_count = 0;
    pthread_mutex_lock(&store->lock);
    store->info.calls++;
    take_matches(store, call, &gone);
    pthread_mutex_unlock(&store->lock);
    while ((link = sc_list_pop_front(&gone)) != NULL) {
        item *of = SC_CONTAINER(link, item, by_use);
        if (call->removing != NULL)
            call->removing(call->removing_context, &of->entry->f.id);
        if (store->feed.removed != NULL)
            store->feed.removed(store->feed.context, &of->entry->f.id);
        item_free(of);
    }
    finish(&call->call, SC_OK, NULL);
}

static void used(sc_store *base, const sc_digest *id, sc_wall when)
{
    memory *store = memory_of(base);
    (void)when;

    pthread_mutex_lock(&store->lock);
    item *found = find(store, id);
    if (found != NULL)
        touch(store, found);
    pthread_mutex_unlock(&store->lock);
}

static void look(sc_store *base, sc_store_info *out)
{
    memory *store = memory_of(base);

    pthread_mutex_lock(&store->lock);
    *out = store->info;
    out->documents = store->items.used;
    pthread_mutex_unlock(&store->lock);
}

static void close_store(sc_store *base, sc_instant deadline)
{
    memory  *store = memory_of(base);
    sc_link *link;
    (void)deadline;

    while ((link = sc_list_pop_front(&store->by_use)) != NULL)
        item_free(SC_CONTAINER(link, item, by_use));
    sc_table_fini(&store->items);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static const sc_store_ops memory_ops = {get,        search, verify, put,
                                        invalidate, used,   look,   close_store};

sc_status sc_memory_store_open(const sc_memory_store_options *options, const sc_store_feed *feed,
                               sc_store **out)
{
    *out = NULL;
    if (options->dim == 0 || options->entries_max == 0)
        return SC_INVALID;
    memory *store = calloc(1, sizeof *store);
    if (store == NULL)
        return SC_NO_MEMORY;
    store->base = (sc_store){&memory_ops, options->dim};
    store->entries_max = options->entries_max;
    pthread_mutex_init(&store->lock, NULL);
    sc_list_init(&store->by_use);
    store->info = (sc_store_info){.connected = true,
                                  .feed_live = true,
                                  .index_state = "ready",
                                  .index_name = "memory",
                                  .percent_indexed = 1};
    if (feed != NULL)
        store->feed = *feed;
    if (store->feed.live != NULL)
        store->feed.live(store->feed.context, true);
    *out = &store->base;
    return SC_OK;
}
