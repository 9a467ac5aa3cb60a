/* chat.h - the language model behind an OpenAI-compatible chat endpoint. */
#pragma once

#include "src/http/http.h"
#include "src/llm/llm.h"
#include "src/llm/options.h"

/* shared: the upstream when options names none. Keeps copies of what it needs; borrows http until
 * close(), which waits for calls under way (cancel them first, or wait for their deadlines).
 *
 * How calls end: SC_UNAVAILABLE for whatever the upstream did wrong, 429 and an empty answer
 * included; SC_CORRUPT for a reply of another shape; SC_TOO_LARGE for an answer over the bound;
 * SC_TIMEOUT; SC_CANCELLED; SC_BUSY when the queue is full; SC_INVALID for parameters that cannot
 * be sent or that the upstream refuses.
 * Errors of open: SC_INVALID for a bad URL or key, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_chat_open(const sc_llm_options *options,
                                     const sc_endpoint_options *shared, sc_http *http, sc_llm **out,
                                     sc_error *error);
