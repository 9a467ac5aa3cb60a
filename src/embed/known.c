#include "src/embed/known.h"

#include <pthread.h>
#include <stdlib.h>

#include "src/base/list.h"
#include "src/base/table.h"

/* Few entries in a shard would make "least recently used" a matter of luck. */
enum { SHARDS_MAX = 16, SHARD_ENTRIES_MIN = 64 };

/* A table slot of 40 bytes, at most 3/4 and at least 3/8 used. */
enum { TABLE_BYTES_PER_ENTRY = 80 };

typedef struct {
    sc_link       link;
    sc_digest     hash;
    sc_embed_note note;
    float         vector[]; /* [dim] */
} entry;

typedef struct {
    pthread_mutex_t lock;
    /* Under lock. */
    sc_table table;
    sc_link  used; /* most recent first */
    size_t   count;
} shard;

struct sc_known {
    /* Fixed by open. */
    size_t dim;
    size_t entry_bytes;
    size_t shard_entries_max;
    size_t shards_count; /* a power of two */
    shard  shards[SHARDS_MAX];
};

static size_t choose_shards(size_t entries_max)
{
    size_t shards = 1;
    while (shards < SHARDS_MAX && entries_max / (shards * 2) >= SHARD_ENTRIES_MIN)
        shards *= 2;
    return shards;
}

sc_status sc_known_open(uint32_t dim, size_t bytes_max, sc_known **out)
{
    sc_known *known = calloc(1, sizeof *known);
    *out = known;
    if (known == NULL)
        return SC_NO_MEMORY;
    known->dim = dim;
    known->entry_bytes = sizeof(entry) + sizeof(float) * dim;
    size_t entries_max = bytes_max / (known->entry_bytes + TABLE_BYTES_PER_ENTRY);
    known->shards_count = choose_shards(entries_max);
    known->shard_entries_max = entries_max / known->shards_count;
    for (size_t i = 0; i < known->shards_count; i++) {
        pthread_mutex_init(&known->shards[i].lock, NULL);
        sc_list_init(&known->shards[i].used);
    }
    return SC_OK;
}

static void shard_fini(shard *s)
{
    for (sc_link *link; (link = sc_list_pop_front(&s->used)) != NULL;)
        free(SC_CONTAINER(link, entry, link));
    sc_table_fini(&s->table);
    pthread_mutex_destroy(&s->lock);
}

void sc_known_close(sc_known *known)
{
    if (known == NULL)
        return;
    for (size_t i = 0; i < known->shards_count; i++)
        shard_fini(&known->shards[i]);
    free(known);
}

/* The table uses the digest's first bytes, so the shard is chosen by the last one. */
static shard *shard_of(sc_known *known, const sc_digest *hash)
{
    return &known->shards[hash->bytes[SC_DIGEST_BYTES - 1] & (known->shards_count - 1)];
}

static void touch(shard *s, entry *e)
{
    sc_list_remove(&e->link);
    sc_list_push_front(&s->used, &e->link);
}

bool sc_known_get(sc_known *known, const sc_digest *hash, float *vector, sc_embed_note *note)
{
    shard *s = shard_of(known, hash);
    pthread_mutex_lock(&s->lock);
    entry *e = sc_table_get(&s->table, hash);
    if (e != NULL) {
        touch(s, e);
        *note = e->note;
        if (e->note == SC_EMBED_USABLE)
            memcpy(vector, e->vector, sizeof(float) * known->dim);
    }
    pthread_mutex_unlock(&s->lock);
    return e != NULL;
}

static entry *evict(shard *s)
{
    entry *e = SC_CONTAINER(s->used.prev, entry, link);
    sc_table_remove(&s->table, &e->hash);
    sc_list_remove(&e->link);
    s->count--;
    return e;
}

/* A new entry in the table, or NULL without memory; under lock. */
static entry *add(sc_known *known, shard *s, const sc_digest *hash)
{
    entry *e = s->count >= known->shard_entries_max ? evict(s) : malloc(known->entry_bytes);
    if (e == NULL)
        return NULL;
    e->hash = *hash;
    e->link = (sc_link){0};
    if (sc_table_put(&s->table, hash, e, NULL) != SC_OK) {
        free(e);
        return NULL;
    }
    s->count++;
    return e;
}

void sc_known_put(sc_known *known, const sc_digest *hash, const float *vector, sc_embed_note note)
{
    if (known->shard_entries_max == 0)
        return;
    shard *s = shard_of(known, hash);
    pthread_mutex_lock(&s->lock);
    entry *e = sc_table_get(&s->table, hash);
    if (e == NULL)
        e = add(known, s, hash);
    if (e != NULL) {
        touch(s, e);
        e->note = note;
        if (note == SC_EMBED_USABLE)
            memcpy(e->vector, vector, sizeof(float) * known->dim);
    }
    pthread_mutex_unlock(&s->lock);
}

void sc_known_look(sc_known *known, size_t *entries, size_t *bytes)
{
    *entries = 0;
    for (size_t i = 0; i < known->shards_count; i++) {
        shard *s = &known->shards[i];
        pthread_mutex_lock(&s->lock);
        *entries += s->count;
        pthread_mutex_unlock(&s->lock);
    }
    *bytes = *entries * (known->entry_bytes + TABLE_BYTES_PER_ENTRY);
}
