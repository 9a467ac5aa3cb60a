/* load.h - asks a server as often as told, and measures.
 *
 * Closed loop: `concurrency` callers, each asks again as soon as it has its answer; latency is
 * what the caller waited. Open loop (rate > 0): questions are due at fixed times, whether or not
 * earlier ones were answered; latency counts from when a question was due, so a server that stalls
 * cannot hide behind questions that were never asked. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/lib/client.h"
#include "client/load/histogram.h"
#include "src/base/status.h"

enum { LOAD_CODES = 17, LOAD_SOURCES = 8 };

typedef struct {
    sc_client_options client;
    unsigned          connections;
    unsigned          concurrency; /* over all connections; with a rate, at most so many under way */
    double            rate;        /* questions per second; 0: closed loop */
    double            seconds;     /* measured; 0: until count */
    double            warmup_seconds; /* before that, not measured */
    uint64_t          count;       /* measured questions; 0: until seconds */
    int64_t           timeout_ms;  /* of each call */
    pid_t             server;      /* whose CPU time is read; 0: none */

    const char *question;  /* "{n}" becomes a number */
    uint64_t    distinct;  /* the number goes round from 0 to this, exclusive; at least 1 */
    double      fresh;     /* this part of the questions gets a number never used before */
    double      max_distance; /* below 0: the server's */
    int         cache_mode;
} load_options;

typedef struct {
    histogram latency;
    uint64_t  codes[LOAD_CODES];     /* answers by gRPC's number */
    uint64_t  sources[LOAD_SOURCES]; /* OK answers by Source */
    double    seconds;
    double    server_cpu_seconds; /* below 0: not known */
} load_result;

/* Blocks until done. */
SC_MUST_CHECK sc_status load_run(const load_options *options, load_result *result, sc_error *error);
