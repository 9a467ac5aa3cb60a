#include "src/embed/local/kernels/kernel.h"

#include <string.h>

#include "src/embed/local/kernels/list.h"

const sc_kernel *const sc_kernels[] = {
#if defined(__x86_64__)
    &sc_kernel_avx512,
    &sc_kernel_avx2,
#elif defined(__aarch64__)
    &sc_kernel_neon,
#endif
    &sc_kernel_openblas,
};
const size_t sc_kernels_count = sizeof sc_kernels / sizeof sc_kernels[0];

const sc_kernel *sc_kernel_best(void)
{
    size_t i = 0;
    while (!sc_kernels[i]->available()) /* the last one always is */
        i++;
    return sc_kernels[i];
}

const sc_kernel *sc_kernel_named(const char *name)
{
    for (size_t i = 0; i < sc_kernels_count; i++)
        if (strcmp(sc_kernels[i]->name, name) == 0 && sc_kernels[i]->available())
            return sc_kernels[i];
    return NULL;
}

static size_t panel_width(const sc_kernel *kernel, size_t columns)
{
    return kernel->panel_columns == 0 ? columns : kernel->panel_columns;
}

size_t sc_kernel_packed_count(const sc_kernel *kernel, size_t depth, size_t columns)
{
    size_t width = panel_width(kernel, columns);
    return (columns + width - 1) / width * width * depth;
}

/* In the order of b's memory. */
static void pack_panel(const float *b, size_t k_stride, size_t j_stride, size_t depth, size_t used,
                       size_t width, float *panel)
{
    if (used < width)
        memset(panel, 0, depth * width * sizeof *panel);
    if (j_stride == 1) {
        for (size_t k = 0; k < depth; k++)
            memcpy(panel + k * width, b + k * k_stride, used * sizeof *panel);
        return;
    }
    for (size_t j = 0; j < used; j++)
        for (size_t k = 0; k < depth; k++)
            panel[k * width + j] = b[k * k_stride + j * j_stride];
}

void sc_kernel_pack(const sc_kernel *kernel, const float *b, size_t k_stride, size_t j_stride,
                    size_t depth, size_t columns, float *panels)
{
    size_t width = panel_width(kernel, columns);
    for (size_t at = 0; at < columns; at += width) {
        size_t used = columns - at < width ? columns - at : width;
        pack_panel(b + at * j_stride, k_stride, j_stride, depth, used, width, panels);
        panels += depth * width;
    }
}
