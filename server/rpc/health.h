/* health.h - grpc.health.v1: Check and Watch, for load balancers and orchestrators.
 *
 * When the server stops, every service turns NOT_SERVING by itself, and stays so. */
#pragma once

#include <stdbool.h>

#include "server/rpc/rpc.h"

typedef struct sc_health sc_health;

/* Adds the service to rpc, before its start. services[count] are the names that can be asked for,
 * beside "" for the whole server; they must outlive rpc. All are NOT_SERVING at first.
 * Errors: SC_TOO_LARGE for more than 7, SC_NO_MEMORY, those of sc_rpc_serve. */
SC_MUST_CHECK sc_status sc_health_open(sc_rpc *rpc, const char *const *services, size_t count,
                                       sc_health **out);

/* After the rpc server was closed. NULL is welcome. */
void sc_health_close(sc_health *health);

/* Sets all services, and tells those who watch. Any thread. */
void sc_health_set(sc_health *health, bool serving);
