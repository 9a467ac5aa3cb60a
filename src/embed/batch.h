/* batch.h - gathers texts into batches, and never embeds the same text twice at a time.
 *
 * Group commit: a batch leaves at once while the provider has a free slot; what
 * arrives while all slots are busy forms the next batch. So an idle server adds no
 * wait, and a busy one gets large batches without a timer. A bounded map from text
 * to vector answers repeats; identical texts under way share one place in a batch. */
#pragma once

#include "src/base/hash.h"
#include "src/base/list.h"
#include "src/embed/embed.h"

typedef struct sc_embedder sc_embedder;

/* One text's wait, embedded in what waits for it. The caller keeps it and text alive until
 * done(). */
typedef struct sc_embed_call {
    sc_str     text;   /* borrowed */
    sc_digest  hash;   /* SHA-256 of text */
    float     *vector; /* [dim], the caller's memory */
    sc_instant deadline;

    /* Set before done(). */
    sc_status     status; /* SC_OK, SC_BUSY (queue full), SC_TIMEOUT, SC_UNAVAILABLE, ... */
    sc_error      error;
    sc_embed_note note;      /* vector counts only with SC_OK and USABLE */
    bool          from_map;  /* known text: nothing was computed */
    uint32_t      batch_size;

    /* Called exactly once with no lock held: at once, by sc_embedder_ask itself, for a known text
     * or a refusal; otherwise on a provider's or timer's thread. */
    void (*done)(struct sc_embed_call *call);

    sc_link _link;
} sc_embed_call;

typedef struct {
    uint32_t texts_waiting_max; /* queued texts; beyond them SC_BUSY */
    uint32_t linger_us;         /* extra wait for company, 0 by default */
    int64_t  timeout_ms;        /* of one batch */
    size_t   map_bytes_max;     /* of known vectors; least recently used leave first */
    unsigned breaker_failures;
    int64_t  breaker_open_ms;
} sc_embedder_options;

/* Keeps provider and closes it. Errors: SC_NO_MEMORY, and the provider is still the caller's. */
SC_MUST_CHECK sc_status sc_embedder_open(const sc_embedder_options *options,
                                         sc_embed_provider *provider, sc_embedder **out);

/* Waits for batches under way; nothing may be asked any more. NULL is welcome. */
void sc_embedder_close(sc_embedder *embedder);

/* Any thread. Cost for a known text: one look-up and a copy of dim floats. */
void sc_embedder_ask(sc_embedder *embedder, sc_embed_call *call);

/* The provider, for its dim, model and name. */
const sc_embed_provider *sc_embedder_provider(const sc_embedder *embedder);

typedef struct {
    uint64_t batches, texts, known, shared, refused, failed;
    uint64_t batch_size_max;
    size_t   waiting, map_entries, map_bytes;
    int      breaker_state; /* sc_breaker_state */
    uint64_t breaker_opened;
} sc_embedder_stats;

void sc_embedder_look(sc_embedder *embedder, sc_embedder_stats *out);
