/* matrix.h - the rows of one scope: unit vectors, their int8 copies, and what selection asks.
 *
 * Rows lie in chunks that are never moved or copied: growth costs one allocation,
 * however large the matrix is. Room doubles with each chunk until a chunk has about
 * 4 MiB, so a scope of one row costs one row. Removal fills the hole with the last row.
 * Not thread-safe: the scope's lock guards it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"
#include "src/entry/entry.h"

/* Embedded in whatever the owner keeps per entry. */
typedef struct {
    sc_entry *entry;
    size_t    at; /* the matrix's: where the row is now */
} sc_row;

/* A unit vector x is stored as x, and as scale * codes + e with |e| <= error. */
typedef struct {
    size_t    room;       /* rows, a power of two */
    size_t    bytes;      /* of the allocation */
    sc_row  **rows;       /* [room] */
    float    *vectors;    /* [room, stride], 64-byte aligned */
    int8_t   *codes;      /* [room, code_stride], 64-byte aligned; NULL in small chunks */
    float    *scales;     /* [room] */
    float    *errors;     /* [room] */
    uint64_t *guards;     /* [room] */
    int64_t  *expires_ms; /* [room], wall clock */
    void     *memory;
} sc_chunk;

typedef struct {
    /* Fixed by init. */
    uint32_t dim;
    size_t   stride;         /* floats of a row, dim padded with zeros */
    size_t   code_stride;    /* bytes of a row's codes, padded with zeros */
    size_t   chunk_rows_max; /* a power of two */

    sc_chunk *chunks; /* [chunks_used] */
    size_t    chunks_used;
    size_t    chunks_room;
    size_t    rows_used;
    size_t    rows_room; /* of all chunks */
    size_t    bytes;     /* of all chunks */
    float     length_max; /* of scale * codes, over all rows since the matrix was empty */
} sc_matrix;

enum { SC_MATRIX_DIM_MAX = 32768 };

/* Takes no memory until the first row. dim is 1..SC_MATRIX_DIM_MAX. */
void sc_matrix_init(sc_matrix *matrix, uint32_t dim);
void sc_matrix_fini(sc_matrix *matrix);

/* Bytes that the next add will allocate; 0 when there is room. */
size_t sc_matrix_growth(const sc_matrix *matrix);

/* Adds the row factor * vector[dim], which must have unit length. Borrows row until it is removed.
 * Errors: SC_NO_MEMORY, and the matrix is as before. */
SC_MUST_CHECK sc_status sc_matrix_add(sc_matrix *matrix, sc_row *row, const float *vector,
                                      float factor);

/* Keeps an empty chunk as long as the next growth is near. */
void sc_matrix_remove(sc_matrix *matrix, sc_row *row);

/* Frees an empty last chunk at once. */
void sc_matrix_trim(sc_matrix *matrix);

/* Euclidean length, NaN or infinite when the vector has none. */
float sc_length(const float *vector, size_t dim);

/* codes[code_stride] and *scale such that vector[stride] is near scale * codes; *error bounds the
 * length of the difference from above, *length that of scale * codes. */
void sc_quantise(const float *vector, size_t stride, int8_t *codes, size_t code_stride,
                 float *scale, float *error, float *length);
