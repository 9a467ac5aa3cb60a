#include "tests/support/store/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base/random.h"

enum { WAIT_MS = 2000, TEXTS_MAX = 4096, TEXT_BYTES = 64 };

/* --- entries --------------------------------------------------------------------------- */

static const sc_str tags[] = {{"red", 3}, {"round", 5}};

static sc_str numbered(const char *format, unsigned number)
{
    static char             texts[TEXTS_MAX][TEXT_BYTES];
    static _Atomic unsigned next;

    char *text = texts[next++ % TEXTS_MAX];
    snprintf(text, TEXT_BYTES, "%s %u", format, number);
    return sc_str_of(text);
}

sc_entry_fields sc_test_fields(unsigned number)
{
    sc_str key = numbered("key", number);

    return (sc_entry_fields){
        .id = sc_sha256(key.ptr, key.len),
        .scope = sc_sha256("scope", 5),
        .guard = 0,
        .version = sc_random_u64() | 1,
        .created = sc_wall_now(),
        .expires = {sc_wall_now().ms + 3600000},
        .tenant = SC_STR("tenant"),
        .model = SC_STR("model"),
        .corpus_version = SC_STR("1"),
        .system_hash = sc_sha256("system", 6),
        .temperature = 0.25,
        .prompt = numbered("Prompt", number),
        .canonical = numbered("prompt", number),
        .answer = numbered("answer", number),
        .finish_reason = SC_STR("stop"),
        .answered_by = SC_STR("model-2026"),
        .prompt_tokens = number,
        .completion_tokens = number + 1,
        .tags = tags,
        .tags_count = 2,
    };
}

sc_entry *sc_test_entry(unsigned number)
{
    sc_entry_fields fields = sc_test_fields(number);
    sc_entry       *entry = sc_entry_make(&fields);
    if (entry == NULL)
        abort();
    return entry;
}

void sc_test_vector(float *out, uint32_t dim, unsigned number, double angle)
{
    memset(out, 0, dim * sizeof *out);
    out[0] = (float)cos(number * angle);
    out[1] = (float)sin(number * angle);
}

/* --- calls that wait ------------------------------------------------------------------- */

/* One at a time per thread: done() finds the flag through the call's address. */
typedef struct waiting {
    sc_store_call  *call;
    bool            done;
    struct waiting *next;
} waiting;

static pthread_mutex_t waiting_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t  waiting_changed = PTHREAD_COND_INITIALIZER;
static waiting        *waiting_list;

static void on_done(sc_store_call *call)
{
    pthread_mutex_lock(&waiting_lock);
    for (waiting *one = waiting_list; one != NULL; one = one->next)
        if (one->call == call)
            one->done = true;
    pthread_cond_broadcast(&waiting_changed);
    pthread_mutex_unlock(&waiting_lock);
}

static void begin(waiting *one, sc_store_call *call)
{
    call->deadline = sc_instant_after_ms(sc_now(), WAIT_MS);
    call->done = on_done;
    *one = (waiting){.call = call};
    pthread_mutex_lock(&waiting_lock);
    one->next = waiting_list;
    waiting_list = one;
    pthread_mutex_unlock(&waiting_lock);
}

static sc_status wait_for(waiting *one)
{
    pthread_mutex_lock(&waiting_lock);
    while (!one->done)
        pthread_cond_wait(&waiting_changed, &waiting_lock);
    waiting **at = &waiting_list;
    while (*at != one)
        at = &(*at)->next;
    *at = one->next;
    pthread_mutex_unlock(&waiting_lock);
    return one->call->status;
}

sc_status sc_test_put(sc_store *store, sc_entry *entry, const float *vector)
{
    sc_store_put put = {.entry = entry, .vector = vector};
    waiting      one;
    begin(&one, &put.call);
    store->ops->put(store, &put);
    return wait_for(&one);
}

sc_status sc_test_get(sc_store *store, const sc_digest *id, sc_entry **found)
{
    sc_store_get get = {.id = *id};
    waiting      one;
    begin(&one, &get.call);
    store->ops->get(store, &get);
    sc_status status = wait_for(&one);
    *found = get.found;
    return status;
}

sc_status sc_test_verify(sc_store *store, const sc_digest *id, uint64_t version, bool *fresh)
{
    sc_store_verify verify = {.id = *id, .version = version};
    waiting         one;
    begin(&one, &verify.call);
    store->ops->verify(store, &verify);
    sc_status status = wait_for(&one);
    *fresh = verify.fresh;
    return status;
}

sc_status sc_test_search(sc_store *store, sc_store_search *search)
{
    waiting one;
    begin(&one, &search->call);
    store->ops->search(store, search);
    return wait_for(&one);
}

sc_status sc_test_invalidate(sc_store *store, sc_store_invalidate *invalidate)
{
    waiting one;
    begin(&one, &invalidate->call);
    invalidate->call.deadline = sc_instant_after_ms(sc_now(), 10 * WAIT_MS);
    store->ops->invalidate(store, invalidate);
    sc_status status = wait_for(&one);
    sc_candidates_unref(invalidate->examples, invalidate->examples_count);
    return status;
}

void sc_test_close(sc_store *store)
{
    store->ops->close(store, sc_instant_after_ms(sc_now(), WAIT_MS));
}

/* --- a feed that remembers
 * ------------------------------------------------------------------------- */

static void remember_put(void *context, sc_entry *entry, const float *vector)
{
    sc_test_memory *memory = context;

    pthread_mutex_lock(&memory->lock);
    memory->puts++;
    memory->with_vector += vector != NULL;
    if (sc_table_put(&memory->versions, &entry->f.id, (void *)(uintptr_t)entry->f.version, NULL) !=
        SC_OK)
        abort();
    pthread_mutex_unlock(&memory->lock);
}

static void remember_removed(void *context, const sc_digest *id)
{
    sc_test_memory *memory = context;

    pthread_mutex_lock(&memory->lock);
    memory->removals++;
    sc_table_remove(&memory->versions, id);
    pthread_mutex_unlock(&memory->lock);
}

static void remember_cleared(void *context)
{
    sc_test_memory *memory = context;

    pthread_mutex_lock(&memory->lock);
    memory->clears++;
    sc_table_fini(&memory->versions);
    pthread_mutex_unlock(&memory->lock);
}

static void remember_live(void *context, bool live)
{
    sc_test_memory *memory = context;

    pthread_mutex_lock(&memory->lock);
    memory->live = live;
    memory->lives += live;
    pthread_mutex_unlock(&memory->lock);
}

static uint64_t known(void *context, const sc_digest *id)
{
    return sc_test_memory_version(context, id);
}

void sc_test_memory_init(sc_test_memory *memory)
{
    *memory = (sc_test_memory){0};
    pthread_mutex_init(&memory->lock, NULL);
}

void sc_test_memory_fini(sc_test_memory *memory)
{
    sc_table_fini(&memory->versions);
    pthread_mutex_destroy(&memory->lock);
}

sc_store_feed sc_test_memory_feed(sc_test_memory *memory)
{
    return (sc_store_feed){.context = memory,
                           .put = remember_put,
                           .removed = remember_removed,
                           .cleared = remember_cleared,
                           .live = remember_live,
                           .known = known};
}

uint64_t sc_test_memory_version(sc_test_memory *memory, const sc_digest *id)
{
    pthread_mutex_lock(&memory->lock);
    uint64_t version = (uint64_t)(uintptr_t)sc_table_get(&memory->versions, id);
    pthread_mutex_unlock(&memory->lock);
    return version;
}

bool sc_test_memory_live(sc_test_memory *memory)
{
    pthread_mutex_lock(&memory->lock);
    bool live = memory->live;
    pthread_mutex_unlock(&memory->lock);
    return live;
}

size_t sc_test_memory_count(sc_test_memory *memory)
{
    pthread_mutex_lock(&memory->lock);
    size_t count = memory->versions.used;
    pthread_mutex_unlock(&memory->lock);
    return count;
}

unsigned sc_test_memory_lives(sc_test_memory *memory)
{
    pthread_mutex_lock(&memory->lock);
    unsigned lives = memory->lives;
    pthread_mutex_unlock(&memory->lock);
    return lives;
}

unsigned sc_test_memory_clears(sc_test_memory *memory)
{
    pthread_mutex_lock(&memory->lock);
    unsigned clears = memory->clears;
    pthread_mutex_unlock(&memory->lock);
    return clears;
}
