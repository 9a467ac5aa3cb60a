#include "src/base/status.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const names[SC_STATUS_COUNT] = {
    [SC_OK] = "ok",
    [SC_INVALID] = "invalid",
    [SC_NOT_FOUND] = "not_found",
    [SC_EXISTS] = "exists",
    [SC_MISMATCH] = "mismatch",
    [SC_CORRUPT] = "corrupt",
    [SC_TOO_LARGE] = "too_large",
    [SC_NO_MEMORY] = "no_memory",
    [SC_BUSY] = "busy",
    [SC_UNAVAILABLE] = "unavailable",
    [SC_TIMEOUT] = "timeout",
    [SC_CANCELLED] = "cancelled",
    [SC_UNAUTHENTICATED] = "unauthenticated",
    [SC_PERMISSION_DENIED] = "permission_denied",
    [SC_UNSUPPORTED] = "unsupported",
    [SC_INTERNAL] = "internal",
};

const char *sc_status_name(sc_status status)
{
    return (unsigned)status < SC_STATUS_COUNT ? names[status] : "unknown";
}

sc_status sc_fail(sc_error *error, sc_status status, const char *format, ...)
{
    if (error == NULL)
        return status;
    va_list args;
    va_start(args, format);
    error->status = status;
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return status;
}
