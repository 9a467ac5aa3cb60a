#include "tests/support/fake_embed.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/hash.h"
#include "src/base/random.h"

typedef struct {
    sc_link       link;
    fake_embed   *fake;
    sc_embed_job *job;
} held_job;

static void normalise(float *v)
{
    double sum = 0;
    for (size_t i = 0; i < FAKE_EMBED_DIM; i++)
        sum += (double)v[i] * (double)v[i];
    for (size_t i = 0; i < FAKE_EMBED_DIM; i++)
        v[i] = (float)((double)v[i] / sqrt(sum));
}

static void direction(sc_str text, char salt, float *v)
{
    for (unsigned i = 0; i < FAKE_EMBED_DIM; i++) {
        sc_hasher hasher;
        sc_hasher_init(&hasher);
        sc_hasher_u64(&hasher, (uint64_t)i << 8 | (unsigned char)salt);
        sc_hasher_field(&hasher, text);
        sc_digest digest = sc_hasher_final(&hasher);
        v[i] = (float)((double)(sc_digest_u64(&digest) >> 11) / (double)(1ULL << 52) - 1);
    }
    normalise(v);
}

/* The unit vector at `distance` from `from`, turned towards `to`. */
static void turn(const float *from, float *to, double distance)
{
    double along = 0, cosine = 1 - distance, sine = sqrt(1 - cosine * cosine);
    for (size_t i = 0; i < FAKE_EMBED_DIM; i++)
        along += (double)from[i] * (double)to[i];
    for (size_t i = 0; i < FAKE_EMBED_DIM; i++)
        to[i] = (float)((double)to[i] - along * (double)from[i]);
    normalise(to);
    for (size_t i = 0; i < FAKE_EMBED_DIM; i++)
        to[i] = (float)(cosine * (double)from[i] + sine * (double)to[i]);
}

/* Under lock. */
static const fake_embed_place *place_of(const fake_embed *fake, sc_str text)
{
    for (size_t i = 0; i < fake->places_count; i++)
        if (sc_str_equal(sc_str_of(fake->places[i].text), text))
            return &fake->places[i];
    return NULL;
}

static sc_embed_note embed(fake_embed *fake, sc_str text, float *out)
{
    pthread_mutex_lock(&fake->lock);
    const fake_embed_place *found = place_of(fake, text);
    fake_embed_place        place = found == NULL ? (fake_embed_place){.note = SC_EMBED_USABLE} : *found;
    pthread_mutex_unlock(&fake->lock);
    direction(text, 'v', out);
    if (place.near[0] != '\0') {
        float near[FAKE_EMBED_DIM];
        direction(sc_str_of(place.near), 'v', near);
        turn(near, out, (double)place.distance);
    }
    return place.note;
}

void fake_embed_vector(fake_embed *fake, sc_str text, float *out)
{
    embed(fake, text, out);
}

static void complete(fake_embed *fake, sc_embed_job *job)
{
    job->status = (sc_status)atomic_load(&fake->status);
    if ((double)sc_random_between(0, 999) < atomic_load(&fake->failure_rate) * 1000)
        job->status = SC_UNAVAILABLE;
    if (job->status != SC_OK)
        sc_fail(&job->error, job->status, "the fake provider fails");
    for (size_t i = 0; i < job->count && job->status == SC_OK; i++)
        job->notes[i] = embed(fake, job->texts[i], job->vectors + i * FAKE_EMBED_DIM);
    job->done(job);
}

static void complete_later(void *argument)
{
    held_job held = *(held_job *)argument;
    free(argument);
    complete(held.fake, held.job);
}

static void submit(sc_embed_provider *provider, sc_embed_job *job)
{
    fake_embed *fake = SC_CONTAINER(provider, fake_embed, base);
    atomic_fetch_add(&fake->jobs, 1);
    atomic_fetch_add(&fake->texts, (unsigned)job->count);
    int delay_us = atomic_load(&fake->delay_us);
    if (!atomic_load(&fake->hold) && delay_us == 0) {
        complete(fake, job);
        return;
    }
    held_job *held = later_alloc(sizeof *held);
    *held = (held_job){.fake = fake, .job = job};
    if (!atomic_load(&fake->hold)) {
        later_post(fake->clock, sc_random_between(0, delay_us), complete_later, held);
        return;
    }
    pthread_mutex_lock(&fake->lock);
    sc_list_push_back(&fake->held, &held->link);
    atomic_fetch_add(&fake->held_count, 1);
    pthread_mutex_unlock(&fake->lock);
}

void fake_embed_let_go(fake_embed *fake)
{
    sc_link all;
    sc_list_init(&all);
    pthread_mutex_lock(&fake->lock);
    sc_list_splice_back(&all, &fake->held);
    atomic_store(&fake->held_count, 0);
    pthread_mutex_unlock(&fake->lock);
    for (sc_link *link; (link = sc_list_pop_front(&all)) != NULL;)
        complete_later(SC_CONTAINER(link, held_job, link));
}

static void close_provider(sc_embed_provider *provider)
{
    fake_embed *fake = SC_CONTAINER(provider, fake_embed, base);
    later_close(fake->clock);
    pthread_mutex_destroy(&fake->lock);
}

void fake_embed_init(fake_embed *fake, unsigned batch_max, unsigned slots)
{
    *fake = (fake_embed){.base = {.name = "fake",
                                  .model = SC_STR("fake"),
                                  .dim = FAKE_EMBED_DIM,
                                  .batch_max = batch_max,
                                  .slots = slots,
                                  .submit = submit,
                                  .close = close_provider},
                         .clock = later_open(2)};
    pthread_mutex_init(&fake->lock, NULL);
    sc_list_init(&fake->held);
}

static fake_embed_place *place_add(fake_embed *fake, const char *text)
{
    if (fake->places_count == FAKE_EMBED_PLACES_MAX || strlen(text) >= sizeof fake->places[0].text)
        abort();
    fake_embed_place *place = &fake->places[fake->places_count++];
    memcpy(place->text, text, strlen(text) + 1);
    return place;
}

void fake_embed_put(fake_embed *fake, const char *text, const char *near, float distance)
{
    pthread_mutex_lock(&fake->lock);
    fake_embed_place *place = place_add(fake, text);
    if (strlen(near) >= sizeof place->near)
        abort();
    memcpy(place->near, near, strlen(near) + 1);
    place->distance = distance;
    pthread_mutex_unlock(&fake->lock);
}

void fake_embed_put_note(fake_embed *fake, const char *text, sc_embed_note note)
{
    pthread_mutex_lock(&fake->lock);
    place_add(fake, text)->note = note;
    pthread_mutex_unlock(&fake->lock);
}
