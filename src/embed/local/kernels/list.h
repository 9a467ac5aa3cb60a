/* list.h - the kernels there are; each stands in the file of its name. */
#pragma once

#include "src/embed/local/kernels/kernel.h"

extern const sc_kernel sc_kernel_openblas;
#if defined(__x86_64__)
extern const sc_kernel sc_kernel_avx2;
extern const sc_kernel sc_kernel_avx512;
#elif defined(__aarch64__)
extern const sc_kernel sc_kernel_neon;
#endif
