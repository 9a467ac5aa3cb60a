/* figures.h - the numbers in a text, which an embedding hardly sees.
 *
 * With all-MiniLM-L6-v2 "the side effects of 5 mg of prednisone" lie at a distance of 0.04 from those
 * of 50 mg, and "Python 3.11" at 0.05 from "Python 3.12". */
#pragma once

#include "src/base/arena.h"
#include "src/base/str.h"

/* The figures of a canonical text in order, each behind a space, or behind the signs that stand
 * between it and the one before, or behind a sign of its own: "is -5 + 3 or 3.11 more than 30 days"
 * gives " -5+3 3.11 30". Empty when there are none; ptr NULL without memory, of which it takes at
 * most the text's length and two bytes. */
sc_str sc_figures(sc_str text, sc_arena *arena);
