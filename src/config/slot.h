/* slot.h - a setting and the text that is in effect for it. Used within src/config alone. */
#pragma once

#include <stdbool.h>

#include "src/config/config.h"

/* In the order of precedence. */
typedef enum { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENVIRONMENT, ORIGIN_FLAG } sc_origin;

typedef struct {
    const sc_setting       *row;
    const sc_setting_table *table;
    void                   *options;
    const char             *text;  /* NULL: absent */
    char                   *owned; /* what to free of it */
    bool                    guarded; /* owned came from sc_secret_copy */
    sc_origin               origin;
    bool                    repeated; /* an earlier slot has the same name: printed once */
} sc_slot;

struct sc_config {
    sc_slot       *slots; /* [slots_count] */
    size_t         slots_count;
    sc_config_mode mode;
    const char    *env_file; /* borrowed from the sources */
    bool           env_file_wanted;
};

const char *sc_origin_name(sc_origin origin);

/* TOP_K to "--top-k". into[64]. */
enum { SC_FLAG_BYTES = 64 };
void sc_flag_name(const char *name, char *into);
