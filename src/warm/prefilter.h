/* prefilter.h - the nearest rows of a matrix for a batch of queries, exactly.
 *
 * Pure but for its scratch memory; the matrix must not change meanwhile. */
#pragma once

#include "src/warm/kernels/kernels.h"
#include "src/warm/matrix.h"
#include "src/warm/warm.h"

/* Room for one batch of queries in every form that the kernels read. One search at a time. */
typedef struct sc_scratch sc_scratch;

/* NULL without memory. */
sc_scratch *sc_scratch_make(uint32_t dim);
void        sc_scratch_free(sc_scratch *scratch);

/* Fills hits, hits_used and refused of each query, as sc_warm_search() promises. */
void sc_prefilter(const sc_matrix *matrix, const sc_kernels *kernels, sc_warm_pass pass,
                  sc_scratch *scratch, sc_wall now, sc_warm_query *queries, size_t count);
