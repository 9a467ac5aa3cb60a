/* relay.h - how long the machine takes to run threads that are woken one after the other.
 *
 * What this measures is no fault of the program under test: threads that do nothing but pass a
 * baton on. A test that promises milliseconds on a busy machine compares with it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/base/clock.h"

typedef struct sc_relay sc_relay;

/* That many threads, at most 16, which pass the baton round and round, with 1 ms between two rounds. */
sc_relay *sc_relay_start(unsigned threads);
void      sc_relay_stop(sc_relay *relay);

/* The slowest of the rounds, the last 4096 at most, that ended after `since` or are still under way. */
int64_t sc_relay_slowest_us(sc_relay *relay, sc_instant since);

/* True when no more than ms_max passed, or no more than a relay of the process' own, which runs from
 * its start, was late by in that time. */
bool sc_on_time(sc_instant since, sc_instant until, int64_t ms_max);
