/* config.h - fills every module's options from its settings table.
 *
 * A later source wins: default < .env file < environment < flag. Names that no table
 * knows are other programs' in the environment and in the file, and mistakes as flags. An
 * empty value in either file or environment means "absent".
 *
 * A secret is never a flag, since everybody can read a command line: beside the variable
 * NAME there is NAME_FILE (and --name-file), a file that holds it. */
#pragma once

#include <stddef.h>

#include "src/base/buf.h"
#include "src/base/status.h"
#include "src/config/setting.h"

typedef struct sc_config sc_config;

/* A table and the options struct that its offsets belong to. */
typedef struct {
    const sc_setting_table *table;
    void                   *options;
} sc_config_part;

typedef struct {
    int          argc;
    char *const *argv;        /* [argc], argv[0] is not looked at; NULL: no flags */
    char *const *environment; /* NULL-terminated NAME=VALUE; NULL: none */
    const char  *env_file;    /* read if it is there (".env"); NULL: none. --env-file replaces it */
} sc_config_sources;

/* What the flags ask the program to do. */
typedef enum {
    SC_CONFIG_RUN,
    SC_CONFIG_HELP,           /* --help */
    SC_CONFIG_VERSION,        /* --version */
    SC_CONFIG_PRINT_MARKDOWN, /* --print-settings=markdown: the README's tables */
    SC_CONFIG_PRINT_ENV,      /* --print-settings=env: an example .env */
    SC_CONFIG_PRINT_VALUES,   /* --print-settings: what is in effect, and from where */
} sc_config_mode;

/* Reads the sources and fills the options of parts[count], which *out borrows. Texts in them live
 * until sc_config_close. A name in several tables sets each of them.
 * Errors: SC_INVALID with one line naming the setting, its value (no secret's) and its bounds;
 * SC_NO_MEMORY. The options are undefined then. */
SC_MUST_CHECK sc_status sc_config_open(const sc_config_sources *sources,
                                       const sc_config_part *parts, size_t count, sc_config **out,
                                       sc_error *error);
void                    sc_config_close(sc_config *config);

/* Overwrites with NULs the secrets (and URLs with a password) that came from environment, whose
 * strings would else be in every core dump and in /proc. Before other threads start. */
void sc_config_wipe_environment(const sc_config *config, char *const *environment);

sc_config_mode sc_config_get_mode(const sc_config *config);

/* Appends what a PRINT mode or HELP shows. */
void sc_config_print(const sc_config *config, sc_config_mode mode, sc_buf *out);

/* Calls visit for each setting in effect, secrets as "set", passwords in URLs as "***": for the log
 * at start, and for Stats. source is "default", "file", "environment" or "flag". */
void sc_config_each(const sc_config *config,
                    void (*visit)(void *context, const char *name, const char *value,
                                  const char *source),
                    void *context);
