/* file.h - a pinned file, mapped: its bytes are those that were published, or it is refused. */
#pragma once

#include <stddef.h>

#include "src/base/status.h"

/* Maps folder/name for reading and compares its SHA-256 with sha256_hex.
 * Gives: *out of *len bytes, to be unmapped with sc_file_unmap().
 * Errors: SC_NOT_FOUND, SC_MISMATCH, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_file_map_pinned(const char *folder, const char *name,
                                           const char *sha256_hex, void **out, size_t *len,
                                           sc_error *error);

/* NULL is welcome. */
void sc_file_unmap(void *bytes, size_t len);
