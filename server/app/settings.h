/* settings.h - every module's options in one place, filled from its own table. */
#pragma once

#include "server/admin/admin.h"
#include "server/doors/doors.h"
#include "server/rpc/options.h"
#include "server/rpc/service.h"
#include "src/base/buf.h"
#include "src/base/log.h"
#include "src/base/status.h"
#include "src/config/config.h"
#include "src/embed/local/local.h"
#include "src/embed/options.h"
#include "src/http/options.h"
#include "src/llm/options.h"
#include "src/pipeline/pipeline.h"
#include "src/prompt/options.h"
#include "src/store/redis/redis.h"
#include "src/warm/warm.h"

/* What belongs to the process itself. */
typedef struct {
    int  log_level; /* sc_log_level */
    bool core_dumps;
} sc_process_options;

typedef struct {
    sc_process_options  process;
    sc_rpc_options      rpc;
    sc_doors_options    doors;
    sc_admin_options    admin;
    sc_pipeline_options pipeline;
    sc_prompt_options   prompt;
    sc_http_setup       http;
    sc_embed_options    embed;
    sc_local_options    local;
    sc_llm_options      llm;
    sc_warm_options     warm;
    sc_redis_options    redis;

    sc_config        *config;
    sc_setting_shown *shown; /* [shown_count], for Stats */
    size_t            shown_count;
} sc_settings;

/* Reads flags, environment and .env. Errors: as sc_config_open. */
SC_MUST_CHECK sc_status sc_settings_open(int argc, char *const *argv, char *const *environment,
                                         sc_settings **out, sc_error *error);
void                    sc_settings_close(sc_settings *settings); /* NULL is welcome */

/* False: the flags ask to print something instead. */
bool sc_settings_serves(const sc_settings *settings);
void sc_settings_print(const sc_settings *settings, sc_buf *out);

#define SC_VERSION "0.1.0"
