/* encoder.h - tokens to unit vectors: the forward pass of all-MiniLM-L6-v2.
 *
 * Several texts go through together, side by side without padding: the dense products see one
 * matrix of all tokens, attention sees each text alone. */
#pragma once

#include <stddef.h>

#include "src/base/status.h"
#include "src/embed/local/tokenizer.h"
#include "src/embed/local/weights.h"

/* Tokens in one pass. Activations of so many stay in the second-level cache beside a panel of
 * weights; more would not make the products faster. Any one text fits. */
enum { SC_ENCODER_TOKENS_MAX = SC_TOKENS_MAX };

/* What a pass works in, 3.5 MB. One pass at a time. */
typedef struct sc_encoder_space sc_encoder_space;

/* Errors: SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_encoder_space_open(sc_encoder_space **out);

/* NULL is welcome. */
void sc_encoder_space_close(sc_encoder_space *space);

/* vectors[i] of SC_MODEL_DIM floats receives the unit vector of texts[i]. The texts have at most
 * SC_ENCODER_TOKENS_MAX tokens together. Allocates nothing. */
void sc_encoder_run(const sc_weights *weights, sc_encoder_space *space,
                    const sc_tokens *const *texts, float *const *vectors, size_t count);
