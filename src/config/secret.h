/* secret.h - memory for keys: left out of core dumps, wiped when freed. */
#pragma once

#include "src/base/str.h"

/* A NUL-terminated copy, or NULL without memory. */
char *sc_secret_copy(sc_str text);

/* NULL is welcome. */
void sc_secret_free(char *secret);
