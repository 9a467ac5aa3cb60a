/* utf8.h - is it text? Strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/str.h"

/* False: *bad (when not NULL) is the position of the first byte of the first bad sequence.
 * Eight bytes at a time while they are ASCII. */
bool sc_utf8_valid(sc_str text, size_t *bad);

/* Length of the longest prefix of at most bytes_max bytes that cuts no character; text is valid. */
size_t sc_utf8_prefix(sc_str text, size_t bytes_max);
