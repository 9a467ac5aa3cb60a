/* volatile.h - finds the values in a text that change from caller to caller.
 *
 * Used by canonical.c alone. A matcher is fixed once open, and any thread may use it. */
#pragma once

#include "src/prompt/canonical.h"

typedef struct sc_matcher sc_matcher;

/* patterns as in sc_canon_options. Errors: SC_INVALID with class, offset, problem; SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_matcher_open(const char *const patterns[SC_VOLATILE_CLASSES],
                                        sc_matcher **out, sc_error *error);
void                    sc_matcher_close(sc_matcher *matcher);

/* The values found so far. */
typedef struct {
    sc_volatile *at; /* [used] of room, in the arena */
    size_t       used, room;
} sc_volatile_list;

/* Overwrites every value in work with spaces. work is a copy of text (folded); what is added to
 * list points into text, in order of appearance. Errors: SC_TOO_LARGE, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_matcher_take(const sc_matcher *matcher, sc_str text, char *work,
                                        sc_arena *arena, sc_volatile_list *list, sc_error *error);

/* Is there any value? Errors: SC_TOO_LARGE, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_matcher_look(const sc_matcher *matcher, sc_str text, bool *found,
                                        sc_error *error);
