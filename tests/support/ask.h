/* ask.h - the three methods as plain calls, for tests that read like a story.
 *
 * A failed call is an answer with a status; tests look at it. Functions stop the test when the
 * transport itself does not do what it should. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/semcache/v1/semantic_cache.pb-c.h"
#include "src/base/status.h"
#include "src/base/str.h"

typedef Semcache__V1__AnswerRequest      sc_ask_request;
typedef Semcache__V1__AnswerResponse     sc_ask_response;
typedef Semcache__V1__StatsResponse      sc_stats_response;
typedef Semcache__V1__InvalidateRequest  sc_invalidate_request;
typedef Semcache__V1__InvalidateResponse sc_invalidate_response;

typedef struct sc_asker sc_asker;

/* How a call went. */
typedef struct {
    sc_status status; /* as client/lib translates gRPC's code */
    char      text[SC_ERROR_TEXT_BYTES];
    int64_t   retry_after_ms;
} sc_outcome;

enum { SC_ASK_TIMEOUT_MS = 20000 };

/* Any number of threads may ask through one asker. */
sc_asker *sc_asker_open(const char *target);

/* The same as a caller with an API key. */
sc_asker *sc_asker_open_as(const char *target, const char *key);

void      sc_asker_close(sc_asker *asker);

/* A request with that user prompt, to be changed at will; borrows prompt. */
sc_ask_request sc_ask_init(const char *prompt);

/* Sends it. NULL unless the status is SC_OK; to be freed with sc_ask_free. outcome may be NULL: then
 * anything but SC_OK stops the test. */
sc_ask_response *sc_ask(sc_asker *asker, const sc_ask_request *request, sc_outcome *outcome);
void             sc_ask_free(sc_ask_response *response);

/* The source of the answer to a question with default fields. */
Semcache__V1__Source sc_ask_source(sc_asker *asker, const char *prompt);

sc_stats_response *sc_ask_stats(sc_asker *asker);
void               sc_stats_free(sc_stats_response *response);

/* NULL unless the status is SC_OK, as for sc_ask. */
sc_invalidate_response *sc_ask_invalidate(sc_asker *asker, const sc_invalidate_request *request,
                                          sc_outcome *outcome);
void                    sc_invalidate_free(sc_invalidate_response *response);

/* Sends any bytes to any method; for what no client library would send. */
sc_outcome sc_ask_raw(sc_asker *asker, const char *path, sc_str bytes);
