/* quantity.h - whole numbers with a unit: "500ms", "1h", "64KiB", "7". The one parser of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"
#include "src/base/str.h"

/* Reads text as a number of `unit`s ("us", "ms", "s", "bytes", or any other word, which takes no
 * suffix). A number alone is in the unit itself.
 * Errors: SC_INVALID for what is no such number or not a whole one in this unit, SC_TOO_LARGE
 * beyond int64_t. */
SC_MUST_CHECK sc_status sc_quantity_parse(sc_str text, const char *unit, int64_t *out);

/* Is the unit one that sc_quantity_show writes behind the number? */
bool sc_quantity_has_suffix(const char *unit);

enum { SC_QUANTITY_BYTES = 48 };

/* The shortest exact way to write value: 3600000 "ms" is "1h", 65536 "bytes" is "64KiB", 5
 * "entries" is "5". Into out[SC_QUANTITY_BYTES]. */
void sc_quantity_show(int64_t value, const char *unit, char *out);
