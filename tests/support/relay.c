#include "tests/support/relay.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "src/base/clock.h"

enum { THREADS_MAX = 16, PAUSE_US = 1000, ROUNDS_KEPT = 4096, OWN_THREADS = 4 };

typedef struct {
    sc_relay *relay;
    unsigned  place;
    int       mine;
    pthread_t thread;
} runner;

typedef struct {
    sc_instant ended;
    int64_t    us;
} past_round;

struct sc_relay {
    /* Fixed by start. */
    unsigned count;
    runner   runners[THREADS_MAX];

    atomic_bool     stop;
    pthread_mutex_t lock;
    /* Under lock. */
    sc_instant began; /* of the round under way; NEVER: none is */
    past_round rounds[ROUNDS_KEPT]; /* a ring */
    unsigned   next;
};

static void stop_test(const char *what)
{
    perror(what);
    abort();
}

static void pass_to(runner *next)
{
    if (eventfd_write(next->mine, 1) != 0)
        stop_test("relay: eventfd_write");
}

static void round_over(sc_relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    sc_instant now = sc_now();
    relay->rounds[relay->next++ % ROUNDS_KEPT] = (past_round){now, sc_elapsed_us(relay->began, now)};
    relay->began = SC_INSTANT_NEVER;
    pthread_mutex_unlock(&relay->lock);
}

static void round_is_to_begin(sc_relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    relay->began = (sc_instant){sc_now().ns + PAUSE_US * 1000};
    pthread_mutex_unlock(&relay->lock);
}

/* What the first one sleeps beyond its pause is part of the round. */
static void *run(void *argument)
{
    runner   *me = argument;
    sc_relay *relay = me->relay;
    eventfd_t value;
    while (eventfd_read(me->mine, &value) == 0) {
        bool last = atomic_load(&relay->stop);
        if (me->place == 0 && !last) {
            round_over(relay);
            round_is_to_begin(relay);
            usleep(PAUSE_US);
        }
        pass_to(&relay->runners[(me->place + 1) % relay->count]);
        if (last)
            break;
    }
    return NULL;
}

sc_relay *sc_relay_start(unsigned threads)
{
    sc_relay *relay = calloc(1, sizeof *relay);
    if (relay == NULL || threads > THREADS_MAX)
        stop_test("relay: calloc");
    relay->count = threads;
    relay->began = SC_INSTANT_NEVER;
    pthread_mutex_init(&relay->lock, NULL);
    for (unsigned i = 0; i < threads; i++) {
        relay->runners[i] = (runner){.relay = relay, .place = i, .mine = eventfd(0, EFD_CLOEXEC)};
        if (relay->runners[i].mine < 0)
            stop_test("relay: eventfd");
    }
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&relay->runners[i].thread, NULL, run, &relay->runners[i]) != 0)
            stop_test("relay: pthread_create");
    pass_to(&relay->runners[0]);
    return relay;
}

void sc_relay_stop(sc_relay *relay)
{
    atomic_store(&relay->stop, true);
    for (unsigned i = 0; i < relay->count; i++)
        pthread_join(relay->runners[i].thread, NULL);
    for (unsigned i = 0; i < relay->count; i++)
        close(relay->runners[i].mine);
    pthread_mutex_destroy(&relay->lock);
    free(relay);
}

int64_t sc_relay_slowest_us(sc_relay *relay, sc_instant since)
{
    pthread_mutex_lock(&relay->lock);
    int64_t us = sc_elapsed_us(relay->began, sc_now());
    for (unsigned i = 0; i < ROUNDS_KEPT; i++)
        if (sc_instant_before(since, relay->rounds[i].ended) && relay->rounds[i].us > us)
            us = relay->rounds[i].us;
    pthread_mutex_unlock(&relay->lock);
    return us;
}

static sc_relay *own;

__attribute__((constructor)) static void start_own(void)
{
    own = sc_relay_start(OWN_THREADS);
}

__attribute__((destructor)) static void stop_own(void)
{
    sc_relay_stop(own);
}

bool sc_on_time(sc_instant since, sc_instant until, int64_t ms_max)
{
    return sc_elapsed_us(since, until) <= ms_max * 1000 + sc_relay_slowest_us(own, since);
}
