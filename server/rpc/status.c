#include "server/rpc/status.h"

#include <assert.h>
#include <grpc/status.h>

/* CORRUPT and MISMATCH are faults between our parts or in what a dependency sent; what a caller
 * sent wrong is INVALID before it gets here. TOO_LARGE says what gRPC itself says when a message
 * is over its limit. */
static const int codes[SC_STATUS_COUNT] = {
    [SC_OK] = GRPC_STATUS_OK,
    [SC_INVALID] = GRPC_STATUS_INVALID_ARGUMENT,
    [SC_NOT_FOUND] = GRPC_STATUS_NOT_FOUND,
    [SC_EXISTS] = GRPC_STATUS_ALREADY_EXISTS,
    [SC_MISMATCH] = GRPC_STATUS_FAILED_PRECONDITION,
    [SC_CORRUPT] = GRPC_STATUS_INTERNAL,
    [SC_TOO_LARGE] = GRPC_STATUS_RESOURCE_EXHAUSTED,
    [SC_NO_MEMORY] = GRPC_STATUS_RESOURCE_EXHAUSTED,
    [SC_BUSY] = GRPC_STATUS_RESOURCE_EXHAUSTED,
    [SC_UNAVAILABLE] = GRPC_STATUS_UNAVAILABLE,
    [SC_TIMEOUT] = GRPC_STATUS_DEADLINE_EXCEEDED,
    [SC_CANCELLED] = GRPC_STATUS_CANCELLED,
    [SC_UNAUTHENTICATED] = GRPC_STATUS_UNAUTHENTICATED,
    [SC_PERMISSION_DENIED] = GRPC_STATUS_PERMISSION_DENIED,
    [SC_UNSUPPORTED] = GRPC_STATUS_UNIMPLEMENTED,
    [SC_INTERNAL] = GRPC_STATUS_INTERNAL,
};

int sc_rpc_code(sc_status status)
{
    assert(status >= SC_OK && status < SC_STATUS_COUNT);
    return codes[status];
}
