/* status.h - the one table from our statuses to gRPC's codes. */
#pragma once

#include "src/base/status.h"

/* The number that goes out as grpc-status. */
int sc_rpc_code(sc_status status);
