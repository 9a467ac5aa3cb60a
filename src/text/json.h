/* json.h - jansson within bounds, and strings on their way out.
 *
 * jansson is kept for reading: it is strict, old and fuzzed. It bounds neither size nor
 * depth as tightly as bytes from a network want it, so both are checked before it runs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "src/base/buf.h"
#include "src/base/status.h"
#include "src/base/str.h"

/* A tree takes up to 200 bytes a value, in "[[],[],..." for 3 bytes of text: bytes alone bound no
 * memory. 128 vectors of 3072 written as numbers are 400 000 values. */
enum { SC_JSON_DEPTH_MAX = 32, SC_JSON_VALUES_MAX = 1 << 19 };

/* Parses a whole text. Gives: *out, to be released with json_decref(); NULL on error.
 * Errors: SC_CORRUPT with the place, SC_TOO_LARGE for bytes_max, SC_JSON_DEPTH_MAX or
 * SC_JSON_VALUES_MAX, found before anything is built. */
SC_MUST_CHECK sc_status sc_json_parse(sc_str text, size_t bytes_max, json_t **out, sc_error *error);

/* Is the text one JSON value (of any type), no deeper than SC_JSON_DEPTH_MAX? */
bool sc_json_valid(sc_str text);

/* Appends text (valid UTF-8) as a JSON string, with its quotes. */
void sc_json_put_string(sc_buf *out, sc_str text);
