/* base64.h - RFC 4648, as embeddings arrive. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/str.h"

/* Decodes text into exactly len bytes; padding may be there or not, nothing else may.
 * False, and out undefined, when it is not base64 of that many bytes. */
bool sc_base64_decode(sc_str text, void *out, size_t len);

/* Bytes that text would decode to, if it is base64. */
size_t sc_base64_decoded_len(sc_str text);
