/* service.h - SemanticCache on the wire: turns messages into questions and answers into messages.
 *
 * Generated messages stay in answer.c, stats.c, invalidate.c and question.c. */
#pragma once

#include "server/doors/doors.h"
#include "server/rpc/rpc.h"
#include "src/pipeline/pipeline.h"

/* A setting in force, as Stats shows it. */
typedef struct {
    const char *name;
    const char *value; /* never a secret */
} sc_setting_shown;

/* What the thread of a queue has put aside, apart from its neighbour's. */
typedef struct {
    sc_gather_tray tray;
    char           pad[64];
} sc_service_tray;

typedef struct {
    sc_pipeline            *pipeline;
    sc_rpc                 *rpc;
    sc_doors               *doors;
    const char             *chat_model; /* of calls that name none */
    uint32_t                ef_runtime; /* likewise */
    uint32_t                inflight_max;
    const char             *version;
    sc_wall                 started;
    sc_instant              started_at;
    const sc_setting_shown *settings; /* [settings_count] */
    size_t                  settings_count;
    sc_service_tray         trays[SC_RPC_QUEUES_MAX]; /* register's */
} sc_service;

/* Serves the three methods on rpc. Borrows service until rpc is closed. */
SC_MUST_CHECK sc_status sc_service_register(sc_service *service);

/* Lets the caller in when it may do that, or answers the call with the refusal. On SC_OK *pass is to
 * be given back with sc_doors_leave. */
SC_MUST_CHECK sc_status sc_service_admit(const sc_service *service, sc_rpc_call *call,
                                         sc_right right, sc_pass *pass);

sc_rpc_handler sc_service_answer, sc_service_stats, sc_service_invalidate;
