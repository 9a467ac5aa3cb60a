/* reflection.h - grpc.reflection v1 and v1alpha: tools learn the methods without a .proto file. */
#pragma once

#include "server/rpc/rpc.h"

typedef struct sc_reflection sc_reflection;

/* Adds both versions to rpc, before its start. Borrows the FileDescriptorSet.
 * Errors: SC_CORRUPT, SC_TOO_LARGE, SC_NO_MEMORY, those of sc_rpc_serve. */
SC_MUST_CHECK sc_status sc_reflection_open(sc_rpc *rpc, const void *descriptors, size_t len,
                                           sc_reflection **out);

/* After the rpc server was closed. NULL is welcome. */
void sc_reflection_close(sc_reflection *reflection);
