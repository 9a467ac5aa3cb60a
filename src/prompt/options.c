#include "src/prompt/options.h"

#define FIELD(member) SC_SETTING_FIELD(sc_prompt_options, member)

static const sc_setting rows[] = {
    {"PROMPT_BYTES_MAX", SC_SETTING_INT, FIELD(prompt_bytes_max), 1, 1 << 20, "64KiB", "bytes",
     NULL, "Longest user prompt; a longer one is refused."},
    {"VOLATILE_TIME", SC_SETTING_CHOICE, FIELD(canon.match[SC_VOLATILE_TIME]), 0, 0, "ignore", "",
     "ignore|match",
     "Must ISO dates and timestamps be the same for two questions to share an answer?"},
    {"VOLATILE_UUID", SC_SETTING_CHOICE, FIELD(canon.match[SC_VOLATILE_UUID]), 0, 0, "match", "",
     "ignore|match", "Must UUIDs be the same?"},
    {"VOLATILE_NUMBER", SC_SETTING_CHOICE, FIELD(canon.match[SC_VOLATILE_NUMBER]), 0, 0, "match",
     "", "ignore|match", "Must numbers of six digits or more be the same?"},
    {"MATCH_FIGURES", SC_SETTING_CHOICE, FIELD(canon.match_figures), 0, 0, "match", "",
     "ignore|match", "Must all other numbers be the same (5 mg, 30 days, 3.11)?"},
    {"MATCH_DENIAL", SC_SETTING_CHOICE, FIELD(canon.match_denial), 0, 0, "match", "",
     "ignore|match", "Must both questions deny something, or neither (not, never, without)?"},
    {"MATCH_DIRECTION", SC_SETTING_CHOICE, FIELD(canon.match_direction), 0, 0, "match", "",
     "ignore|match",
     "Are questions kept apart that name opposites (enable, disable; English) or have the same "
     "words in another order?"},
    {"VOLATILE_TIME_PATTERN", SC_SETTING_TEXT, FIELD(canon.patterns[SC_VOLATILE_TIME]), 0, 4096,
     NULL, "", NULL, "PCRE2 pattern for dates and times in lower-case text; `off` for none."},
    {"VOLATILE_UUID_PATTERN", SC_SETTING_TEXT, FIELD(canon.patterns[SC_VOLATILE_UUID]), 0, 4096,
     NULL, "", NULL, "The same for UUIDs."},
    {"VOLATILE_NUMBER_PATTERN", SC_SETTING_TEXT, FIELD(canon.patterns[SC_VOLATILE_NUMBER]), 0, 4096,
     NULL, "", NULL, "The same for long numbers."},
};

const sc_setting_table sc_prompt_settings = {
    .title = "Canonical text",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
};
