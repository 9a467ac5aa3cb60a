#include "src/base/breaker.h"

#include "src/base/random.h"

void sc_breaker_init(sc_breaker *breaker, unsigned failures_max, int64_t open_ms)
{
    *breaker = (sc_breaker){.failures_max = failures_max, .open_ms = open_ms};
    pthread_mutex_init(&breaker->lock, NULL);
}

void sc_breaker_fini(sc_breaker *breaker)
{
    pthread_mutex_destroy(&breaker->lock);
}

/* Between 3/4 and 5/4 of open_ms: many servers that lost one dependency at the same moment
 * must not all probe it at the same moment. */
static sc_instant next_probe(const sc_breaker *breaker, sc_instant now)
{
    int64_t quarter = breaker->open_ms / 4;
    return sc_instant_after_ms(now, breaker->open_ms + sc_random_between(-quarter, quarter));
}

bool sc_breaker_allow(sc_breaker *breaker, sc_instant now)
{
    bool allowed = true;
    pthread_mutex_lock(&breaker->lock);
    if (breaker->state != SC_BREAKER_CLOSED) {
        allowed = !sc_instant_before(now, breaker->probe_at);
        if (allowed) {
            breaker->state = SC_BREAKER_HALF_OPEN;
            breaker->probe_at = next_probe(breaker, now);
        }
    }
    pthread_mutex_unlock(&breaker->lock);
    return allowed;
}

void sc_breaker_success(sc_breaker *breaker)
{
    pthread_mutex_lock(&breaker->lock);
    /* While OPEN it can only be a call from before: old news does not close the breaker. */
    if (breaker->state != SC_BREAKER_OPEN) {
        breaker->state = SC_BREAKER_CLOSED;
        breaker->failures = 0;
    }
    pthread_mutex_unlock(&breaker->lock);
}

static void trip(sc_breaker *breaker, sc_instant now)
{
    breaker->state = SC_BREAKER_OPEN;
    breaker->failures = 0;
    breaker->probe_at = next_probe(breaker, now);
    breaker->opened++;
}

void sc_breaker_failure(sc_breaker *breaker, sc_instant now)
{
    pthread_mutex_lock(&breaker->lock);
    /* While OPEN it is old news too, and must not put the probe off. */
    if (breaker->state == SC_BREAKER_HALF_OPEN)
        trip(breaker, now);
    else if (breaker->state == SC_BREAKER_CLOSED && breaker->failures_max != 0 &&
             ++breaker->failures >= breaker->failures_max)
        trip(breaker, now);
    pthread_mutex_unlock(&breaker->lock);
}

sc_breaker_state sc_breaker_look(sc_breaker *breaker, uint64_t *opened)
{
    pthread_mutex_lock(&breaker->lock);
    sc_breaker_state state = breaker->state;
    if (opened != NULL)
        *opened = breaker->opened;
    pthread_mutex_unlock(&breaker->lock);
    return state;
}

const char *sc_breaker_state_name(sc_breaker_state state)
{
    static const char *const names[] = {"closed", "open", "half_open"};
    return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}
