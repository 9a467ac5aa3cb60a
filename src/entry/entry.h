/* entry.h - one stored answer, and all that must be known before it may be served.
 *
 * Immutable once made, but for the two atomics at its end, and shared by reference
 * count: the warm set, a pending write and a reply on its way out may hold the same
 * entry. Its texts lie in its own allocation. Any thread may ref and unref. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/hash.h"
#include "src/base/status.h"
#include "src/base/str.h"

enum { SC_ENTRY_TAGS_MAX = 32 };

typedef struct {
    sc_digest id;      /* the exact key */
    sc_digest scope;   /* digest of every scope field */
    uint64_t  guard;   /* fingerprint of what must be the same in a question that it answers; 0: nothing */
    uint64_t  version; /* random for each write; tells a replaced entry from its successor */
    sc_wall   created;
    sc_wall   expires;

    /* Scope fields by which entries are invalidated and looked at. */
    sc_str    tenant;
    sc_str    model;
    sc_str    corpus_version;
    sc_digest system_hash;
    double    temperature;

    sc_str prompt;    /* as the first caller wrote it */
    sc_str canonical; /* what was embedded */
    sc_str answer;
    sc_str finish_reason;
    sc_str answered_by; /* the model's name in the LLM's reply */

    uint32_t prompt_tokens;
    uint32_t completion_tokens;

    const sc_str *tags; /* [tags_count] */
    uint32_t      tags_count;
} sc_entry_fields;

typedef struct sc_entry {
    sc_entry_fields f;          /* never changes */
    size_t          held_bytes; /* of this allocation */
    atomic_uint     refs;

    _Atomic int64_t last_hit_ms; /* wall clock; 0: never hit */
    _Atomic int64_t verified_ns; /* monotonic: when the store last confirmed this version */
} sc_entry;

/* A copy of the fields with one reference, in one allocation. NULL without memory. */
sc_entry *sc_entry_make(const sc_entry_fields *fields);

sc_entry *sc_entry_ref(sc_entry *entry);

/* Frees the entry with its last reference. NULL is welcome. */
void sc_entry_unref(sc_entry *entry);

/* An entry and its cosine distance to a question. Holds a reference. */
typedef struct {
    sc_entry *entry;
    float     distance;
} sc_candidate;

void sc_candidates_unref(sc_candidate *candidates, size_t count);
