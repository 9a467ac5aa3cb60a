#include "server/app/settings.h"

#include <stdlib.h>
#include <string.h>

static const sc_setting process_rows[] = {
    {"LOG_LEVEL", SC_SETTING_CHOICE, SC_SETTING_FIELD(sc_process_options, log_level), 0, 0, "info",
     "", "debug|info|warn|error|off", "Events below this level are not logged."},
    {"CORE_DUMPS", SC_SETTING_BOOL, SC_SETTING_FIELD(sc_process_options, core_dumps), 0, 0, "false", "",
     NULL, "Allows core dumps, and debuggers of the same user: both see questions, answers and keys."},
};

static const sc_setting_table process_settings = {
    "Process", process_rows, sizeof process_rows / sizeof process_rows[0]};

enum { SHOWN_MAX = 256 };

/* A copy of each, because the configuration lends them only for the visit. */
static void show(void *context, const char *name, const char *value, const char *source)
{
    (void)source;
    sc_settings *settings = context;
    if (settings->shown_count == SHOWN_MAX)
        return;
    char *name_copy = strdup(name);
    char *value_copy = strdup(value);
    if (name_copy == NULL || value_copy == NULL) {
        free(name_copy);
        free(value_copy);
        return;
    }
    settings->shown[settings->shown_count++] = (sc_setting_shown){name_copy, value_copy};
}

static sc_status open_config(int argc, char *const *argv, char *const *environment,
                             sc_settings *settings, sc_error *error)
{
    const sc_config_part parts[] = {
        {&sc_rpc_settings, &settings->rpc},
        {&sc_doors_settings, &settings->doors},
        {&sc_admin_settings, &settings->admin},
        {&sc_pipeline_settings, &settings->pipeline},
        {&sc_prompt_settings, &settings->prompt},
        {&sc_http_settings, &settings->http},
        {&sc_embed_settings, &settings->embed},
        {&sc_local_settings, &settings->local},
        {&sc_llm_settings, &settings->llm},
        {&sc_warm_settings, &settings->warm},
        {&sc_store_settings, &settings->redis},
        {&process_settings, &settings->process},
    };
    sc_config_sources sources = {argc, argv, environment, ".env"};
    return sc_config_open(&sources, parts, sizeof parts / sizeof parts[0], &settings->config,
                          error);
}

sc_status sc_settings_open(int argc, char *const *argv, char *const *environment,
                           sc_settings **out, sc_error *error)
{
    sc_settings *settings = calloc(1, sizeof *settings);
    sc_status    status = SC_NO_MEMORY;
    *out = NULL;
    if (settings == NULL)
        return sc_fail(error, status, "no memory for the settings");
    settings->shown = calloc(SHOWN_MAX, sizeof *settings->shown);
    if (settings->shown != NULL)
        status = open_config(argc, argv, environment, settings, error);
    if (status != SC_OK) {
        sc_settings_close(settings);
        return status;
    }
    sc_config_each(settings->config, show, settings);
    sc_log_set_level((sc_log_level)settings->process.log_level);
    *out = settings;
    return SC_OK;
}

void sc_settings_close(sc_settings *settings)
{
    if (settings == NULL)
        return;
    for (size_t i = 0; i < settings->shown_count; i++) {
        free((char *)(uintptr_t)settings->shown[i].name);
        free((char *)(uintptr_t)settings->shown[i].value);
    }
    free(settings->shown);
    sc_config_close(settings->config);
    free(settings);
}

bool sc_settings_serves(const sc_settings *settings)
{
    return sc_config_get_mode(settings->config) == SC_CONFIG_RUN;
}

void sc_settings_print(const sc_settings *settings, sc_buf *out)
{
    sc_config_mode mode = sc_config_get_mode(settings->config);
    if (mode == SC_CONFIG_VERSION)
        sc_buf_printf(out, "semcached %s\n", SC_VERSION);
    else
        sc_config_print(settings->config, mode, out);
}
