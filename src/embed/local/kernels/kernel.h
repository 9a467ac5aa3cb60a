/* kernel.h - the arithmetic of the encoder, once per kind of processor.
 *
 * All kernels compute the same in float32; OpenBLAS' is the reference the others are tested
 * against. Weights are packed once, at open, into panels: `panel_columns` neighbouring columns of
 * the right-hand matrix, row after row, so that a product reads them front to back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    SC_PRODUCT_SET,  /* c = a b + bias */
    SC_PRODUCT_ADD,  /* c += a b + bias */
    SC_PRODUCT_GELU, /* c = gelu(a b + bias), gelu by erf as the model was trained */
} sc_product_mode;

/* One matrix product, all row-major: a [rows, depth], b [depth, columns] in panels, c [rows, columns].
 * A last panel of fewer columns is padded with zeros, and c must have room for the padding. */
typedef struct {
    const float    *a;
    size_t          a_stride; /* floats from row to row */
    size_t          rows, depth, columns;
    const void     *panels;       /* floats, or halves (IEEE binary16) */
    size_t          plain_stride; /* not 0: no panels but b itself, so many floats from row to row;
                                     its columns are a multiple of 32 */
    bool            halves;       /* only where the kernel reads them */
    const float    *bias;   /* [columns] (padded like c); NULL is zero */
    float          *c;
    size_t          c_stride;
    sc_product_mode mode;
} sc_product;

typedef struct {
    const char *name;
    uint32_t    panel_columns; /* divides 32; 0: a whole matrix is one panel */
    bool        reads_halves;  /* otherwise weights of reduced precision are widened when packed */

    /* Whether this processor can run it. */
    bool (*available)(void);

    void (*multiply)(const sc_product *product);

    /* Packs the transpose of rows `stride` floats apart: row j becomes column j. depth is a multiple
     * of 16. Of padding, what fills up to 16 columns becomes 0; the rest stays as it was. */
    void (*turn)(const float *from, size_t stride, size_t depth, size_t columns, float *panels);

    /* rows of `stride` floats, in place: 2^(x - max) / sum over the first `count`. What fills up to
     * the next multiple of 16 is the kernel's to use. */
    void (*softmax)(float *rows, size_t stride, size_t row_count, size_t count);

    /* Rows of `width` floats (a multiple of 16) without gaps, in place. */
    void (*layer_norm)(float *rows, size_t row_count, size_t width, const float *gain,
                       const float *shift);
} sc_kernel;

/* In order of preference, the reference last. Those that this build has; ask available(). */
extern const sc_kernel *const sc_kernels[];
extern const size_t           sc_kernels_count;

/* The first available one, or the one of that name; NULL when it cannot run here. */
const sc_kernel *sc_kernel_best(void);
const sc_kernel *sc_kernel_named(const char *name);

/* Floats that a packed [depth, columns] matrix takes. */
size_t sc_kernel_packed_count(const sc_kernel *kernel, size_t depth, size_t columns);

/* Packs b, whose element (k, j) is b[k * k_stride + j * j_stride], into panels of floats. */
void sc_kernel_pack(const sc_kernel *kernel, const float *b, size_t k_stride, size_t j_stride,
                    size_t depth, size_t columns, float *panels);
