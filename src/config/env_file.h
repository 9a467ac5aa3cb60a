/* env_file.h - reads NAME=VALUE lines, as in a .env file.
 *
 * Understood: blank lines, # comments, `export ` in front, 'literal' and "escaped \n \t \" \\ \$"
 * values, CRLF. Nothing is expanded, and a value ends with its line. Touches no file. */
#pragma once

#include "src/base/buf.h"
#include "src/base/status.h"
#include "src/base/str.h"

enum { SC_ENV_FILE_BYTES_MAX = 256 * 1024, SC_ENV_VALUE_BYTES_MAX = 16 * 1024 };

typedef struct {
    sc_str   rest; /* borrowed */
    unsigned line; /* of the last pair, from 1 */
    sc_buf   value;
} sc_env_reader;

void sc_env_reader_init(sc_env_reader *reader, sc_str text);
void sc_env_reader_fini(sc_env_reader *reader);

/* The next pair; both views hold until the next call, and the value ends with a NUL. SC_NOT_FOUND
 * at the end. Errors: SC_INVALID with the line's number and what is wrong there, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_env_next(sc_env_reader *reader, sc_str *name, sc_str *value,
                                    sc_error *error);
