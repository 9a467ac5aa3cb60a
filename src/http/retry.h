/* retry.h - whether and when to ask an upstream once more. Pure functions. */
#pragma once

#include "src/http/http.h"

/* Could the same request fare better a little later? True for 408, 429, 5xx and for a connection
 * that could not be made or broke; false for refusals, timeouts and cancellation. */
bool sc_retry_may_help(const sc_http_request *request);

/* When attempt number `attempt` (1: the first repetition) should start: the upstream's wish, or
 * a quarter second doubled with each attempt up to 8 s, either with jitter. Gives
 * SC_INSTANT_NEVER when that would be at or after the deadline: better to fail at once. */
sc_instant sc_retry_start(unsigned attempt, int64_t retry_after_ms, sc_instant now,
                          sc_instant deadline);
