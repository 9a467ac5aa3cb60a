/* openai.h - the embedding provider that asks an OpenAI-compatible upstream. */
#pragma once

#include "src/embed/embed.h"
#include "src/embed/options.h"
#include "src/http/http.h"

/* shared: the upstream when options names none. Keeps copies of what it needs; borrows http until
 * the provider is closed. Waits up to a batch's timeout for the upstream when the dimension is
 * neither set nor known for the model.
 * Errors: SC_INVALID for a bad URL or key, SC_UNAVAILABLE, SC_TIMEOUT or SC_CORRUPT when the
 * upstream would not tell the dimension, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_openai_open(const sc_embed_options *options,
                                       const sc_endpoint_options *shared, sc_http *http,
                                       sc_embed_provider **out, sc_error *error);

/* The dimension of a well-known model's vectors; 0 for others. */
uint32_t sc_openai_known_dim(const char *model);
