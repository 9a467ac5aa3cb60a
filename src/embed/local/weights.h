/* weights.h - the parameters of all-MiniLM-L6-v2, packed for a kernel.
 *
 * The file is pinned: anything but the published weights, by their SHA-256, is refused. So is the
 * vocabulary. Word embeddings stay in the mapped file (47 MB, of which a process touches a few
 * rows); matrices are packed into memory of our own (42 MB, half that as float16), and their pages
 * of the file are given back. Immutable once open: any thread may read. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/base/status.h"
#include "src/embed/local/kernels/kernel.h"

enum {
    SC_MODEL_DIM = 384,
    SC_MODEL_LAYERS = 6,
    SC_MODEL_HEADS = 12,
    SC_MODEL_HEAD_DIM = SC_MODEL_DIM / SC_MODEL_HEADS,
    SC_MODEL_HIDDEN = 1536,
    SC_MODEL_WORDS = 30522,
    SC_MODEL_POSITIONS = 256, /* of the file's 512: what the model was trained to read */
};

typedef struct {
    const void  *panels;
    const float *bias; /* [columns] */
    size_t       depth, columns;
} sc_linear;

typedef struct {
    const float *gain, *shift; /* [SC_MODEL_DIM] */
} sc_norm;

typedef struct {
    sc_linear attend; /* query, key and value side by side; query carries log2(e) / sqrt(head dim) */
    sc_linear join;
    sc_norm   join_norm;
    sc_linear up;
    sc_linear down;
    sc_norm   down_norm;
} sc_layer;

typedef struct {
    const sc_kernel *kernel;
    bool             halves;    /* how the panels are stored */
    const float     *words;     /* [SC_MODEL_WORDS, SC_MODEL_DIM] */
    const float     *positions; /* [SC_MODEL_POSITIONS, SC_MODEL_DIM], the type's vector added */
    sc_norm          embedding_norm;
    sc_layer         layers[SC_MODEL_LAYERS];

    void  *_map;
    size_t _map_bytes;
    void  *_block; /* everything that is not in the map */
    size_t _block_bytes;
} sc_weights;

/* Reads folder/model.safetensors; float16: matrices are rounded to half precision.
 * Errors: SC_NOT_FOUND, SC_MISMATCH for another file than the pinned one, SC_NO_MEMORY.
 * Takes a few tenths of a second. */
SC_MUST_CHECK sc_status sc_weights_open(const char *folder, const sc_kernel *kernel, bool float16,
                                        sc_weights **out, sc_error *error);

/* NULL is welcome. */
void sc_weights_close(sc_weights *weights);
