/* setting.h - a setting is one table row; each module keeps its own table.
 *
 * The row makes the environment variable, the flag (`CACHE_TTL_SECONDS` is
 * `--cache-ttl-seconds`), --help, the example file and the README's section. */
#pragma once

#include <stddef.h>

typedef enum {
    SC_SETTING_TEXT,   /* const char *, owned by the sc_config; NULL when absent */
    SC_SETTING_SECRET, /* the same, and its value is never shown */
    SC_SETTING_INT,    /* any integer field; its width is taken from `size` */
    SC_SETTING_REAL,   /* double */
    SC_SETTING_BOOL,   /* bool: true false yes no on off 1 0 */
    SC_SETTING_CHOICE, /* enum, integer or bool field: position of the word in `choices` */
} sc_setting_type;

typedef struct {
    const char     *name; /* the environment variable */
    sc_setting_type type;
    size_t          offset; /* of the field in the module's options struct ... */
    size_t          size;   /* ... and its size */
    double          min, max;
    const char     *fallback; /* the default, as one would write it; NULL: absent */
    const char     *unit;     /* "ms", "bytes", "entries"; "" when it has none */
    const char     *choices;  /* "local|openai"; NULL unless CHOICE */
    const char     *sentence;
} sc_setting;

#define SC_SETTING_FIELD(options, member) offsetof(options, member), sizeof(((options *)0)->member)

typedef struct {
    const char       *title; /* of the section in --help and README */
    const sc_setting *rows;
    size_t            count;
} sc_setting_table;
