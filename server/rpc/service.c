#include "server/rpc/service.h"

sc_status sc_service_register(sc_service *service)
{
    const sc_rpc_method methods[] = {
        {"/semcache.v1.SemanticCache/Answer", sc_service_answer, service, 32, false},
        {"/semcache.v1.SemanticCache/Stats", sc_service_stats, service, 2, false},
        {"/semcache.v1.SemanticCache/Invalidate", sc_service_invalidate, service, 2, false},
    };
    sc_status status = SC_OK;
    for (size_t i = 0; status == SC_OK && i < sizeof methods / sizeof methods[0]; i++)
        status = sc_rpc_serve(service->rpc, &methods[i]);
    return status;
}
