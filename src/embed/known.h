/* known.h - vectors of texts seen before, least recently used out first.
 *
 * Split into shards by hash, each with its own lock, so that threads that find their text
 * seldom meet. Memory is bounded and, once full, reused without a trip to the heap. Any thread. */
#pragma once

#include "src/base/hash.h"
#include "src/embed/embed.h"

typedef struct sc_known sc_known;

/* Room for bytes_max of vectors and book-keeping; 0 keeps nothing. Errors: SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_known_open(uint32_t dim, size_t bytes_max, sc_known **out);
void sc_known_close(sc_known *known); /* NULL is welcome */

/* True: *note is set, and vector[dim] when it is USABLE. */
bool sc_known_get(sc_known *known, const sc_digest *hash, float *vector, sc_embed_note *note);

/* Copies vector[dim]; out of memory, it forgets instead. */
void sc_known_put(sc_known *known, const sc_digest *hash, const float *vector, sc_embed_note note);

void sc_known_look(sc_known *known, size_t *entries, size_t *bytes);
