/* resp.h - writes commands, and limits what a reader takes in.
 *
 * redisFormatCommandArgv would allocate and copy once per command; a search carries a vector of
 * kilobytes, so commands are written straight into the buffer that leaves. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

#include "src/base/buf.h"

/* Begins a command of that many words; exactly as many must follow. */
void sc_resp_command(sc_buf *out, size_t words);
void sc_resp_str(sc_buf *out, sc_str word);
void sc_resp_text(sc_buf *out, const char *word);
void sc_resp_int(sc_buf *out, int64_t word);

/* A number's digits, in out. */
enum { SC_RESP_DIGITS_MAX = 24 };
const char *sc_resp_digits(uint64_t number, char out[SC_RESP_DIGITS_MAX]);

/* A whole command of words without NUL, ended by a NULL. */
void sc_resp_words(sc_buf *out, const char *const *words);

/* The whole command of a verb and a key. */
void sc_resp_key_command(sc_buf *out, const char *verb, sc_str key);

/* A hiredis parser that keeps its buffer and refuses arrays of more than elements_max: the header
 * of an array is all it takes to make hiredis allocate it. NULL without memory. */
enum { SC_RESP_ELEMENTS_MAX = 1 << 20 };
redisReader *sc_resp_reader(void);
