/* panels.h - the matrix product over packed panels, in tiles that live in registers.
 *
 * Included once by each kernel's file, after vectors.h, ROWS, VECTORS (a panel is VECTORS * LANES
 * columns wide) and widen() for halves. A tile of ROWS x panel is accumulated over the whole depth
 * in ROWS * VECTORS registers, so each step costs VECTORS loads of weights and ROWS broadcasts of
 * activations for ROWS * VECTORS fused multiply-adds, and c is touched once.
 *
 * Panels are the outer loop: a panel (at most 192 KB) comes from memory once and serves all rows
 * out of the second-level cache. With a dozen rows the weights stream from memory at the speed of
 * the arithmetic, so each step asks for what is AHEAD of it. */

enum { WIDTH = VECTORS * LANES, AHEAD_BYTES = 4096 };

SC_INLINE void load_panel(const void *panel, size_t k, bool halves, vec b[VECTORS])
{
    for (int v = 0; v < VECTORS; v++) {
        size_t at = k * WIDTH + (size_t)v * LANES;
        b[v] = halves ? widen((const uint16_t *)panel + at) : load((const float *)panel + at);
    }
}

SC_INLINE void ask_ahead(const void *panel, size_t k, bool halves)
{
    const size_t step = halves ? WIDTH * 2 : WIDTH * 4; /* bytes of a row */
    const char  *at = (const char *)panel + k * step + AHEAD_BYTES;
    for (size_t line = 0; line < step; line += 64)
        __builtin_prefetch(at + line, 0, 3);
}

/* rows and halves are constants wherever this is inlined: the arrays become registers. */
SC_INLINE void tile(const sc_product *product, const float *a, const void *panel, const float *bias,
                    float *c, const int rows, const bool halves)
{
    vec          sums[ROWS][VECTORS];
    const size_t stride = product->a_stride;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            sums[r][v] = bias == NULL ? (vec){0} : load(bias + v * LANES);
    for (size_t k = 0; k < product->depth; k++) {
        vec b[VECTORS];
        load_panel(panel, k, halves, b);
        ask_ahead(panel, k, halves);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++)
                sums[r][v] += a[(size_t)r * stride + k] * b[v];
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            float *to = c + (size_t)r * product->c_stride + v * LANES;
            store(to, product->mode == SC_PRODUCT_ADD ? load(to) + sums[r][v] : sums[r][v]);
        }
}

/* One tile; each number of rows has its own code. */
SC_INLINE void run_tile(const sc_product *product, const float *a, const void *panel,
                        const float *bias, float *c, size_t rows, const bool halves)
{
#define ROWS_ARE(n)                                                                                \
    case n:                                                                                        \
        if (n <= ROWS)                                                                             \
            tile(product, a, panel, bias, c, n <= ROWS ? n : 1, halves);                           \
        break;
    switch (rows) {
        ROWS_ARE(1)
        ROWS_ARE(2)
        ROWS_ARE(3)
        ROWS_ARE(4)
        ROWS_ARE(5)
        ROWS_ARE(6)
        ROWS_ARE(7)
        ROWS_ARE(8)
        ROWS_ARE(9)
        ROWS_ARE(10)
        ROWS_ARE(11)
        ROWS_ARE(12)
    default:
        break;
    }
#undef ROWS_ARE
}

/* While it is still in the first-level cache. */
TARGET static void gelu_tile(float *c, size_t stride, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        for (int v = 0; v < VECTORS; v++) {
            float *at = c + r * stride + v * LANES;
            store(at, gelu(load(at)));
        }
}

/* All rows of one panel's columns, in tiles of nearly equal height: 8 rows as 4 + 4 keep the
 * multipliers busier than 6 + 2. */
SC_INLINE void run_panel(const sc_product *product, const void *panel, size_t column,
                         const bool halves)
{
    const float *bias = product->bias == NULL ? NULL : product->bias + column;
    size_t       tiles = (product->rows + ROWS - 1) / ROWS;
    for (size_t i = 0, row = 0; i < tiles; i++) {
        size_t rows = (product->rows - row + tiles - i - 1) / (tiles - i);
        float *c = product->c + row * product->c_stride + column;
        run_tile(product, product->a + row * product->a_stride, panel, bias, c, rows, halves);
        if (product->mode == SC_PRODUCT_GELU)
            gelu_tile(c, product->c_stride, rows);
        row += rows;
    }
}

TARGET static void multiply_floats(const sc_product *product)
{
    const float *panel = product->panels;
    for (size_t column = 0; column < product->columns; column += WIDTH)
        run_panel(product, panel + column * product->depth, column, false);
}

TARGET static void multiply_halves(const sc_product *product)
{
    const uint16_t *panel = product->panels;
    for (size_t column = 0; column < product->columns; column += WIDTH)
        run_panel(product, panel + column * product->depth, column, true);
}

static void multiply(const sc_product *product)
{
    if (product->halves)
        multiply_halves(product);
    else
        multiply_floats(product);
}
