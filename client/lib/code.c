#include "client/lib/client.h"

static const struct {
    const char *name;
    sc_status   status;
} codes[] = {
    {"OK", SC_OK},
    {"CANCELLED", SC_CANCELLED},
    {"UNKNOWN", SC_INTERNAL},
    {"INVALID_ARGUMENT", SC_INVALID},
    {"DEADLINE_EXCEEDED", SC_TIMEOUT},
    {"NOT_FOUND", SC_NOT_FOUND},
    {"ALREADY_EXISTS", SC_EXISTS},
    {"PERMISSION_DENIED", SC_PERMISSION_DENIED},
    {"RESOURCE_EXHAUSTED", SC_BUSY},
    {"FAILED_PRECONDITION", SC_MISMATCH},
    {"ABORTED", SC_INTERNAL},
    {"OUT_OF_RANGE", SC_INVALID},
    {"UNIMPLEMENTED", SC_UNSUPPORTED},
    {"INTERNAL", SC_INTERNAL},
    {"UNAVAILABLE", SC_UNAVAILABLE},
    {"DATA_LOSS", SC_CORRUPT},
    {"UNAUTHENTICATED", SC_UNAUTHENTICATED},
};

enum { CODES = sizeof codes / sizeof codes[0] };

const char *sc_client_code_name(int code)
{
    return code >= 0 && code < CODES ? codes[code].name : "UNKNOWN";
}

sc_status sc_client_code_status(int code)
{
    return code >= 0 && code < CODES ? codes[code].status : SC_INTERNAL;
}
