/* safetensors.h - reads the index of a safetensors file: names, shapes and places of tensors.
 *
 * Everything is checked when it is opened: a tensor that can be found lies inside the file and
 * has the bytes its shape asks for. Not for writing; float32 is the only type that is lent. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

typedef struct sc_safetensors sc_safetensors;

/* Borrows bytes, at least 4-byte aligned, until close.
 * Errors: SC_CORRUPT with what is wrong, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_safetensors_open(const void *bytes, size_t len, sc_safetensors **out,
                                            sc_error *error);

/* NULL is welcome. */
void sc_safetensors_close(sc_safetensors *file);

/* Lends the float32 tensor of that name and shape: [rows, columns], or [columns] when rows is 0.
 * Errors: SC_NOT_FOUND, SC_MISMATCH for another type or shape. */
SC_MUST_CHECK sc_status sc_safetensors_find(const sc_safetensors *file, const char *name,
                                            size_t rows, size_t columns, const float **out,
                                            sc_error *error);
