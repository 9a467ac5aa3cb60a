/* list.h - the kernels there are; each stands in the file of its name. */
#pragma once

#include "src/embed/local/kernels/kernel.h"

extern const sc_kernel sc_kernel_openblas;
