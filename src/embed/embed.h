/* embed.h - the port between whoever needs vectors and whoever makes them.
 *
 * A provider turns a batch of texts into unit vectors. It knows nothing of requests,
 * scopes or caches; batch.h gathers texts in front of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/base/str.h"

/* Why a text has no vector that may be compared with others'. */
typedef enum {
    SC_EMBED_USABLE,
    SC_EMBED_TRUNCATED, /* longer than the model reads: two such texts may share a vector */
    SC_EMBED_UNKNOWN,   /* word pieces the model does not know: likewise */
} sc_embed_note;

/* One batch. The gatherer owns it and everything it points to until done() is called. */
typedef struct sc_embed_job {
    const sc_str *texts; /* [count], canonical, not empty, valid UTF-8 */
    size_t        count;
    sc_instant    deadline; /* the batch's, from the embedding timeout */

    float         *vectors; /* [count, dim], filled by the provider: unit length, finite */
    sc_embed_note *notes;   /* [count]; the row of a text that is not USABLE is undefined */

    sc_status status; /* set before done(); the vectors count only with SC_OK */
    sc_error  error;
    uint32_t  tokens; /* the provider's usage figure, 0 when unknown */

    /* Called exactly once, on a thread of the provider's, with no lock held. */
    void (*done)(struct sc_embed_job *job);

    void *_provider; /* the provider's, while it has the job */
} sc_embed_job;

typedef struct sc_embed_provider sc_embed_provider;

struct sc_embed_provider {
    const char *name;      /* "local", "openai" */
    sc_str      model;     /* part of the index' identity: other models' vectors do not compare */
    uint32_t    dim;       /* floats in a vector */
    uint32_t    batch_max; /* texts in a job, at most */
    uint32_t    slots;     /* jobs that make progress at the same time */

    /* Takes the job; done() follows, possibly before this returns. Any thread. */
    void (*submit)(sc_embed_provider *provider, sc_embed_job *job);

    /* Waits for jobs under way, then frees the provider. */
    void (*close)(sc_embed_provider *provider);
};
