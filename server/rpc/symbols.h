/* symbols.h - which .proto file declares a name: an index over a FileDescriptorSet.
 *
 * Reads the wire form itself, and keeps the files as the bytes they came in, so that reflection
 * sends what protoc wrote. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/status.h"
#include "src/base/str.h"

typedef struct sc_symbols sc_symbols;

/* Borrows set for the life of the index.
 * Errors: SC_CORRUPT, SC_TOO_LARGE (over 256 files or 65 536 names), SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_symbols_open(const void *set, size_t len, sc_symbols **out);
void                    sc_symbols_close(sc_symbols *symbols);

/* Number of a file by its path, or by a full name in it (message, field, enum, value, service or
 * method); -1 when there is none. */
int sc_symbols_file_by_path(const sc_symbols *symbols, sc_str path);
int sc_symbols_file_by_name(const sc_symbols *symbols, sc_str name);

/* The file and all it imports, each once, itself first: FileDescriptorProtos into out[max].
 * Returns their number. */
size_t sc_symbols_closure(const sc_symbols *symbols, int file, sc_str *out, size_t max);

/* True when the name is a message's. */
bool sc_symbols_is_message(const sc_symbols *symbols, sc_str name);

/* The nth service's full name; empty beyond the last. */
sc_str sc_symbols_service(const sc_symbols *symbols, size_t nth);

enum { SC_SYMBOLS_FILES_MAX = 256 };
