#include "src/config/config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/config/env_file.h"
#include "src/config/secret.h"
#include "src/config/slot.h"
#include "src/config/value.h"

enum { SECRET_FILE_BYTES_MAX = 16 * 1024 };

static const char file_suffix[] = "_FILE";

/* ---- slots ---- */

static bool name_seen(const sc_config *config, size_t before, const char *name)
{
    for (size_t i = 0; i < before; i++)
        if (strcmp(config->slots[i].row->name, name) == 0)
            return true;
    return false;
}

static sc_status make_slots(sc_config *config, const sc_config_part *parts, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += parts[i].table->count;
    config->slots = calloc(total == 0 ? 1 : total, sizeof *config->slots);
    if (config->slots == NULL)
        return SC_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        for (size_t r = 0; r < parts[i].table->count; r++) {
            const sc_setting *row = &parts[i].table->rows[r];
            assert(strlen(row->name) < SC_FLAG_BYTES - 8);
            config->slots[config->slots_count] = (sc_slot){
                .row = row,
                .table = parts[i].table,
                .options = parts[i].options,
                .text = row->fallback,
                .repeated = name_seen(config, config->slots_count, row->name),
            };
            config->slots_count++;
        }
    return SC_OK;
}

static void slot_free_text(sc_slot *slot)
{
    if (slot->guarded)
        sc_secret_free(slot->owned);
    else
        free(slot->owned);
    slot->owned = NULL;
    slot->text = NULL;
}

static sc_status slot_set(sc_slot *slot, sc_str text, sc_origin origin)
{
    if (origin < slot->origin)
        return SC_OK;
    /* A URL may hold a password. */
    bool  guarded = slot->row->type == SC_SETTING_SECRET ||
                   (text.len != 0 && memchr(text.ptr, '@', text.len) != NULL);
    char *copy = guarded ? sc_secret_copy(text) : strndup(text.len == 0 ? "" : text.ptr, text.len);
    if (copy == NULL)
        return SC_NO_MEMORY;
    slot_free_text(slot);
    slot->owned = copy;
    slot->guarded = guarded;
    slot->text = copy;
    slot->origin = origin;
    return SC_OK;
}

/* ---- a secret's file ---- */

static sc_status read_file(const char *path, size_t bytes_max, sc_buf *into)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return errno == ENOENT ? SC_NOT_FOUND : SC_UNAVAILABLE;
    setvbuf(file, NULL, _IONBF, 0); /* no copy of a secret in stdio's buffer */
    char   chunk[1024];
    size_t n;
    sc_buf_init(into, bytes_max);
    sc_buf_append(into, "", 0);
    while ((n = fread(chunk, 1, sizeof chunk, file)) != 0)
        sc_buf_append(into, chunk, n);
    explicit_bzero(chunk, sizeof chunk);
    sc_status status = ferror(file) ? SC_UNAVAILABLE : into->failed;
    fclose(file);
    return status;
}

static void wipe(sc_buf *buf)
{
    if (buf->data != NULL)
        explicit_bzero(buf->data, buf->room);
    sc_buf_fini(buf);
}

static const char *reason(sc_status status)
{
    return status == SC_NOT_FOUND    ? "no such file"
           : status == SC_TOO_LARGE  ? "the file is too large"
           : status == SC_NO_MEMORY  ? "no memory"
                                     : strerror(errno);
}

static sc_status slot_set_from_file(sc_slot *slot, const char *path, sc_origin origin,
                                    sc_error *error)
{
    sc_buf    text = {.bytes_max = SECRET_FILE_BYTES_MAX};
    sc_status status = read_file(path, SECRET_FILE_BYTES_MAX, &text);
    if (status == SC_OK) {
        sc_str line = sc_buf_view(&text);
        while (line.len != 0 && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r'))
            line.len--;
        if (memchr(line.ptr, '\0', line.len) != NULL)
            status = sc_fail(error, SC_INVALID, "%s%s=%s: a NUL byte", slot->row->name, file_suffix,
                             path);
        else
            status = slot_set(slot, line, origin);
    } else {
        status = sc_fail(error, SC_INVALID, "%s%s=%s: %s", slot->row->name, file_suffix, path,
                         reason(status));
    }
    wipe(&text);
    return status;
}

/* ---- names ---- */

typedef enum { NO_NAME, NAME, NAME_OF_FILE } name_kind;

static name_kind compare_name(const sc_setting *row, sc_str name)
{
    size_t len = strlen(row->name);
    if (name.len < len || memcmp(row->name, name.ptr, len) != 0)
        return NO_NAME;
    if (name.len == len)
        return NAME;
    sc_str rest = {name.ptr + len, name.len - len};
    bool   file = row->type == SC_SETTING_SECRET && sc_str_equal(rest, sc_str_of(file_suffix));
    return file ? NAME_OF_FILE : NO_NAME;
}

/* Sets every slot of that name; *known says whether there is one. value ends with a NUL. */
static sc_status set_by_name(sc_config *config, sc_str name, sc_str value, sc_origin origin,
                             bool *known, sc_error *error)
{
    sc_status status = SC_OK;
    *known = false;
    for (size_t i = 0; i < config->slots_count && status == SC_OK; i++) {
        sc_slot  *slot = &config->slots[i];
        name_kind kind = compare_name(slot->row, name);
        *known |= kind != NO_NAME;
        if (kind == NAME_OF_FILE)
            status = slot_set_from_file(slot, value.ptr, origin, error);
        else if (kind == NAME)
            status = slot_set(slot, value, origin);
    }
    return status;
}

/* ---- flags ---- */

/* "top-k" to "TOP_K". False when it cannot be a setting's. */
static bool name_of_flag(sc_str flag, char *into)
{
    if (flag.len == 0 || flag.len >= SC_FLAG_BYTES)
        return false;
    for (size_t i = 0; i < flag.len; i++) {
        char c = flag.ptr[i];
        bool letter = c >= 'a' && c <= 'z';
        if (!letter && !(c >= '0' && c <= '9') && c != '-')
            return false;
        into[i] = letter ? (char)(c - 'a' + 'A') : c == '-' ? '_' : c;
    }
    into[flag.len] = '\0';
    return true;
}

static const sc_setting *find_row(const sc_config *config, const char *name)
{
    for (size_t i = 0; i < config->slots_count; i++)
        if (compare_name(config->slots[i].row, sc_str_of(name)) != NO_NAME)
            return config->slots[i].row;
    return NULL;
}

static sc_status take_mode(sc_config *config, const char *argument, bool *taken, sc_error *error)
{
    static const struct {
        const char    *argument;
        sc_config_mode mode;
    } modes[] = {
        {"--help", SC_CONFIG_HELP},
        {"-h", SC_CONFIG_HELP},
        {"--version", SC_CONFIG_VERSION},
        {"--print-settings", SC_CONFIG_PRINT_VALUES},
        {"--print-settings=values", SC_CONFIG_PRINT_VALUES},
        {"--print-settings=markdown", SC_CONFIG_PRINT_MARKDOWN},
        {"--print-settings=env", SC_CONFIG_PRINT_ENV},
    };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(argument, modes[i].argument) == 0) {
            config->mode = modes[i].mode;
            *taken = true;
            return SC_OK;
        }
    if (strncmp(argument, "--print-settings=", 17) == 0)
        return sc_fail(error, SC_INVALID, "%.60s is none of values|markdown|env", argument);
    return SC_OK;
}

typedef struct {
    char        name[SC_FLAG_BYTES]; /* of the setting */
    const char *value;               /* NULL: none given with '=' */
    bool        negated;             /* --no-NAME */
} flag;

static sc_status read_flag(const sc_config *config, const char *argument, flag *out,
                           const sc_setting **row, sc_error *error)
{
    size_t len = strcspn(argument, "=");
    bool   named = len > 2 && strncmp(argument, "--", 2) == 0 &&
                 name_of_flag((sc_str){argument + 2, len - 2}, out->name);
    out->value = argument[len] == '=' ? argument + len + 1 : NULL;
    *row = named ? find_row(config, out->name) : NULL;
    if (named && *row == NULL && strncmp(out->name, "NO_", 3) == 0 && out->value == NULL) {
        memmove(out->name, out->name + 3, strlen(out->name) - 2);
        *row = find_row(config, out->name);
        out->negated = true;
        if (*row != NULL && (*row)->type != SC_SETTING_BOOL)
            *row = NULL;
    }
    if (*row == NULL)
        return sc_fail(error, SC_INVALID, "%.*s: no such flag; --help lists them",
                       (int)(len < 64 ? len : 64), argument);
    if (compare_name(*row, sc_str_of(out->name)) == NAME && (*row)->type == SC_SETTING_SECRET)
        return sc_fail(error, SC_INVALID,
                       "--%.*s: a secret on the command line is everybody's; set %s or %s%s",
                       (int)(len - 2), argument + 2, (*row)->name, (*row)->name, file_suffix);
    return SC_OK;
}

/* Handles argv[*at], and the value behind it if it needs one. */
static sc_status take_flag(sc_config *config, const sc_config_sources *sources, int *at,
                           sc_error *error)
{
    const char       *argument = sources->argv[*at];
    flag              given = {.value = NULL};
    const sc_setting *row = NULL;
    bool              known = false;
    sc_status         status = read_flag(config, argument, &given, &row, error);
    if (status != SC_OK)
        return status;
    if (given.value == NULL && row->type == SC_SETTING_BOOL)
        given.value = given.negated ? "false" : "true";
    if (given.value == NULL && *at + 1 < sources->argc)
        given.value = sources->argv[++*at];
    if (given.value == NULL)
        return sc_fail(error, SC_INVALID, "%.64s needs a value", argument);
    return set_by_name(config, sc_str_of(given.name), sc_str_of(given.value), ORIGIN_FLAG, &known,
                       error);
}

static sc_status take_env_file_flag(sc_config *config, const sc_config_sources *sources, int *at,
                                    bool *taken, sc_error *error)
{
    static const char name[] = "--env-file";
    size_t            len = sizeof name - 1;
    const char       *argument = sources->argv[*at];
    if (strncmp(argument, name, len) != 0 || (argument[len] != '\0' && argument[len] != '='))
        return SC_OK;
    *taken = true;
    config->env_file = argument[len] == '=' ? argument + len + 1 : NULL;
    if (config->env_file == NULL && *at + 1 < sources->argc)
        config->env_file = sources->argv[++*at];
    if (config->env_file == NULL)
        return sc_fail(error, SC_INVALID, "%s needs a value", name);
    config->env_file_wanted = config->env_file[0] != '\0';
    return SC_OK;
}

static sc_status load_flags(sc_config *config, const sc_config_sources *sources, sc_error *error)
{
    for (int at = 1; at < sources->argc; at++) {
        bool      taken = false;
        sc_status status = take_mode(config, sources->argv[at], &taken, error);
        if (status == SC_OK && !taken)
            status = take_env_file_flag(config, sources, &at, &taken, error);
        if (status == SC_OK && !taken)
            status = take_flag(config, sources, &at, error);
        if (status != SC_OK)
            return status;
    }
    return SC_OK;
}

/* ---- environment and file ---- */

static sc_status load_environment(sc_config *config, char *const *environment, sc_error *error)
{
    for (; environment != NULL && *environment != NULL; environment++) {
        const char *equals = strchr(*environment, '=');
        bool        known;
        if (equals == NULL || equals[1] == '\0')
            continue;
        sc_str    name = {*environment, (size_t)(equals - *environment)};
        sc_status status = set_by_name(config, name, sc_str_of(equals + 1), ORIGIN_ENVIRONMENT,
                                       &known, error);
        if (status != SC_OK)
            return status;
    }
    return SC_OK;
}

static sc_status load_pairs(sc_config *config, sc_str text, sc_error *error)
{
    sc_env_reader reader;
    sc_str        name, value;
    sc_error      problem = {0};
    sc_status     status;
    sc_env_reader_init(&reader, text);
    while ((status = sc_env_next(&reader, &name, &value, &problem)) == SC_OK) {
        bool known;
        if (value.len != 0)
            status = set_by_name(config, name, value, ORIGIN_FILE, &known, error);
        if (status != SC_OK)
            goto out;
    }
    if (status == SC_INVALID)
        sc_fail(error, status, "%.100s, %s", config->env_file, problem.text);
    if (status == SC_NOT_FOUND)
        status = SC_OK;
out:
    sc_env_reader_fini(&reader);
    return status;
}

static sc_status load_env_file(sc_config *config, sc_error *error)
{
    if (config->env_file == NULL || config->env_file[0] == '\0')
        return SC_OK;
    sc_buf    text = {.bytes_max = SC_ENV_FILE_BYTES_MAX};
    sc_status status = read_file(config->env_file, SC_ENV_FILE_BYTES_MAX, &text);
    if (status == SC_OK)
        status = load_pairs(config, sc_buf_view(&text), error);
    else if (status == SC_NOT_FOUND && !config->env_file_wanted)
        status = SC_OK;
    else
        status = sc_fail(error, SC_INVALID, "%.100s: %s", config->env_file, reason(status));
    wipe(&text);
    return status;
}

/* ---- the whole ---- */

static sc_status store_all(sc_config *config, sc_error *error)
{
    for (size_t i = 0; i < config->slots_count; i++) {
        sc_slot  *slot = &config->slots[i];
        sc_status status = sc_value_store(slot->row, slot->text, slot->options, error);
        if (status != SC_OK)
            return status;
    }
    return SC_OK;
}

static sc_status load(sc_config *config, const sc_config_sources *sources, sc_error *error)
{
    sc_status status = load_flags(config, sources, error);
    /* Help is needed most when something is set wrong. */
    if (status != SC_OK ||
        (config->mode != SC_CONFIG_RUN && config->mode != SC_CONFIG_PRINT_VALUES))
        return status;
    status = load_environment(config, sources->environment, error);
    if (status == SC_OK)
        status = load_env_file(config, error);
    return status == SC_OK ? store_all(config, error) : status;
}

sc_status sc_config_open(const sc_config_sources *sources, const sc_config_part *parts,
                         size_t count, sc_config **out, sc_error *error)
{
    sc_config *config = calloc(1, sizeof *config);
    *out = NULL;
    if (config == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory for the settings");
    config->env_file = sources->env_file;
    sc_status status = make_slots(config, parts, count);
    if (status == SC_OK)
        status = load(config, sources, error);
    if (status == SC_NO_MEMORY)
        sc_fail(error, status, "no memory for the settings");
    if (status == SC_OK) {
        *out = config;
        config = NULL;
    }
    sc_config_close(config);
    return status;
}

void sc_config_close(sc_config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < config->slots_count; i++)
        slot_free_text(&config->slots[i]);
    free(config->slots);
    free(config);
}

static bool is_guarded(const sc_config *config, sc_str name)
{
    for (size_t i = 0; i < config->slots_count; i++)
        if (config->slots[i].guarded && compare_name(config->slots[i].row, name) == NAME)
            return true;
    return false;
}

void sc_config_wipe_environment(const sc_config *config, char *const *environment)
{
    for (; environment != NULL && *environment != NULL; environment++) {
        char *equals = strchr(*environment, '=');
        if (equals != NULL &&
            is_guarded(config, (sc_str){*environment, (size_t)(equals - *environment)}))
            explicit_bzero(equals + 1, strlen(equals + 1));
    }
}

sc_config_mode sc_config_get_mode(const sc_config *config)
{
    return config->mode;
}
