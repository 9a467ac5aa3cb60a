/* The reference, and what runs where no kernel of ours fits. OpenBLAS packs the weights again on
 * each call, so with a dozen rows it reaches half of the processor's peak. */
#include <cblas.h>

#define LANES 4
#define TARGET
#include "src/embed/local/kernels/vectors.inc"

#include "src/embed/local/kernels/list.h"

static bool available(void)
{
    return true;
}

static void start_rows(const sc_product *product)
{
    for (size_t i = 0; i < product->rows; i++) {
        float *row = product->c + i * product->c_stride;
        for (size_t j = 0; j < product->columns; j++) {
            float bias = product->bias == NULL ? 0.0f : product->bias[j];
            row[j] = product->mode == SC_PRODUCT_ADD ? row[j] + bias : bias;
        }
    }
}

static void gelu_row(float *row, size_t columns)
{
    for (size_t j = 0; j < columns; j += LANES)
        store(row + j, gelu(load(row + j)));
}

static void multiply(const sc_product *product)
{
    size_t b_stride = product->plain_stride != 0 ? product->plain_stride : product->columns;
    start_rows(product);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)product->rows,
                (blasint)product->columns, (blasint)product->depth, 1.0f, product->a,
                (blasint)product->a_stride, product->panels, (blasint)b_stride, 1.0f, product->c,
                (blasint)product->c_stride);
    if (product->mode == SC_PRODUCT_GELU)
        for (size_t i = 0; i < product->rows; i++)
            gelu_row(product->c + i * product->c_stride, product->columns);
}

static void turn(const float *from, size_t stride, size_t depth, size_t columns, float *panels)
{
    for (size_t j = 0; j < columns; j++)
        for (size_t k = 0; k < depth; k++)
            panels[k * columns + j] = from[j * stride + k];
}

const sc_kernel sc_kernel_openblas = {
    .name = "openblas",
    .panel_columns = 0,
    .reads_halves = false,
    .available = available,
    .multiply = multiply,
    .turn = turn,
    .softmax = softmax,
    .layer_norm = layer_norm,
};
