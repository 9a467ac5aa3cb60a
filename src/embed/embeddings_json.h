/* embeddings_json.h - the reply of POST /v1/embeddings: bytes in, unit vectors out. */
#pragma once

#include <stdint.h>

#include "src/base/status.h"
#include "src/base/str.h"

/* Fills vectors[count, dim] with the embedding of each index, scaled to length 1, whatever order
 * they came in; each may be a base64 string of little-endian floats or an array of numbers.
 * *tokens: usage.total_tokens, 0 when not told. Nothing of a failed reply counts.
 * Errors: SC_CORRUPT (not JSON, wrong types, a missing or doubled index, NaN, a vector without
 * direction), SC_MISMATCH (another number of vectors, another dimension). */
SC_MUST_CHECK sc_status sc_embeddings_read(sc_str json, size_t count, uint32_t dim, float *vectors,
                                           uint32_t *tokens, sc_error *error);

/* The dimension of a reply's first vector. Errors: SC_CORRUPT. */
SC_MUST_CHECK sc_status sc_embeddings_dim(sc_str json, uint32_t *dim, sc_error *error);
