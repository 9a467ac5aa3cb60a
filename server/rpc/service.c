#include "server/rpc/service.h"

static void search(void *context, unsigned queue)
{
    sc_service *service = context;
    sc_pipeline_search(service->pipeline, &service->trays[queue].tray);
}

sc_status sc_service_register(sc_service *service)
{
    const sc_rpc_method methods[] = {
        {"/semcache.v1.SemanticCache/Answer", sc_service_answer, service, .armed = 32},
        {"/semcache.v1.SemanticCache/Stats", sc_service_stats, service, .armed = 2},
        {"/semcache.v1.SemanticCache/Invalidate", sc_service_invalidate, service, .armed = 2},
    };
    sc_status status = SC_OK;
    for (int i = 0; i < SC_RPC_QUEUES_MAX; i++)
        sc_gather_tray_init(&service->trays[i].tray);
    sc_rpc_on_idle(service->rpc, search, service);
    for (size_t i = 0; status == SC_OK && i < sizeof methods / sizeof methods[0]; i++)
        status = sc_rpc_serve(service->rpc, &methods[i]);
    return status;
}

sc_status sc_service_admit(const sc_service *service, sc_rpc_call *call, sc_right right,
                           sc_pass *pass)
{
    char    identity[SC_SAN_BYTES_MAX + 1];
    int64_t retry_after_ms = 0;
    bool    known = sc_rpc_identity(call, identity, sizeof identity);
    sc_str  authorization = sc_rpc_metadata(call, SC_STR("authorization"));
    sc_status status =
        sc_doors_admit(service->doors, authorization, known ? sc_str_of(identity) : SC_STR(""),
                       right, sc_now(), pass, &retry_after_ms);
    if (status != SC_OK)
        sc_rpc_fail(call, status, sc_doors_text(status), retry_after_ms);
    return status;
}
