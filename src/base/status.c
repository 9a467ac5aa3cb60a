#include "src/base/status.h"

#include <stdarg.h>
#include <stddef.h>
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

/* Error texts travel in protobuf strings, which must be whole UTF-8 characters. */
static void cut_at_character(char *text, size_t len)
{
    size_t start = len;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0 || (unsigned char)text[start - 1] < 0xc0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t        need = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (len - start < need)
        text[start - 1] = '\0';
}

sc_status sc_fail(sc_error *error, sc_status status, const char *format, ...)
{
    if (error == NULL)
        return status;
    va_list args;
    va_start(args, format);
    error->status = status;
    int len = vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    if (len >= (int)sizeof error->text)
        cut_at_character(error->text, sizeof error->text - 1);
    return status;
}
