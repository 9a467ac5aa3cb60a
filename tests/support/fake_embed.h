/* fake_embed.h - an embedding provider without a model: a text's vector follows from its hash, so
 * that two texts are far from each other unless the test has placed them. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "src/base/list.h"
#include "src/embed/embed.h"
#include "tests/support/later.h"

enum { FAKE_EMBED_DIM = 32, FAKE_EMBED_PLACES_MAX = 16 };

typedef struct {
    char          text[64];
    char          near[64];
    float         distance;
    sc_embed_note note;
} fake_embed_place;

typedef struct {
    sc_embed_provider base;
    later            *clock;

    /* The script; any thread, any time. */
    atomic_int     status;
    _Atomic double failure_rate; /* of jobs that fail with SC_UNAVAILABLE */
    atomic_int     delay_us;     /* up to this, at random; 0: at once, within submit */
    atomic_bool    hold;         /* jobs wait for fake_embed_let_go */

    /* What was seen. */
    atomic_uint jobs, texts;

    pthread_mutex_t  lock;
    sc_link          held;
    atomic_uint      held_count;
    fake_embed_place places[FAKE_EMBED_PLACES_MAX];
    size_t           places_count;
} fake_embed;

void fake_embed_init(fake_embed *fake, unsigned batch_max, unsigned slots);

/* `text` (canonical) lies at that distance from `near`, which is not placed itself. */
void fake_embed_put(fake_embed *fake, const char *text, const char *near, float distance);
void fake_embed_put_note(fake_embed *fake, const char *text, sc_embed_note note);

/* Completes every held job, on this thread. */
void fake_embed_let_go(fake_embed *fake);

/* The vector that the text gets, into out[FAKE_EMBED_DIM]. */
void fake_embed_vector(fake_embed *fake, sc_str text, float *out);
