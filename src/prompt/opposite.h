/* opposite.h - may two questions that are near each other share an answer? Their words say no when
 *
 *   one denies and the other does not     "are refunds allowed", "are refunds not allowed"
 *   they name opposites                   "enable two-factor login", "disable two-factor login"
 *   a word of one negates the other's     "lock my account", "unlock my account"
 *   the same words stand in another order "flights from Paris to London", "from London to Paris"
 *
 * All of these lie within 0.12 of each other with all-MiniLM-L6-v2, most within 0.05, where
 * paraphrases begin at 0.05. A false alarm costs one call of the LLM; the reverse is a wrong answer.
 * Pure functions over canonical texts; any thread. */
#pragma once

#include <stdbool.h>

#include "src/prompt/lexicon.h"

/* Is something denied in the text: "not", "isn't", "never", "without"? */
bool sc_denies(const sc_lexicon *lexicon, sc_str text);

/* Do they name opposites, or the same words in another order? Denial is not looked at. Costs some
 * microseconds; of texts beyond 128 words only the beginnings are compared. */
bool sc_opposed(const sc_lexicon *lexicon, sc_str a, sc_str b);
