/* buf.h - a growing run of bytes that names its ceiling when it is made.
 *
 * An append that does not fit changes nothing and makes the buffer `failed`, which
 * sticks: a writer appends freely and looks once at the end. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/status.h"
#include "src/base/str.h"

typedef struct {
    char     *data; /* [len], NUL after it when not NULL */
    size_t    len;
    size_t    room;
    size_t    bytes_max;
    sc_status failed; /* SC_OK, SC_TOO_LARGE or SC_NO_MEMORY */
} sc_buf;

void sc_buf_init(sc_buf *buf, size_t bytes_max);
void sc_buf_fini(sc_buf *buf);

/* Empty again, memory and ceiling kept, failure forgotten. */
void sc_buf_clear(sc_buf *buf);

/* Each returns buf->failed; the callers that look once at the end may ignore it. */
sc_status sc_buf_append(sc_buf *buf, const void *bytes, size_t len);
sc_status sc_buf_str(sc_buf *buf, sc_str text);
sc_status sc_buf_byte(sc_buf *buf, char byte);
sc_status sc_buf_printf(sc_buf *buf, const char *format, ...) SC_PRINTF(2, 3);

/* Drops the first n bytes (a parser's consumed input). */
void sc_buf_consume(sc_buf *buf, size_t n);

/* Hands the bytes over (malloc'd, NUL-terminated, NULL only when failed); the buffer is empty. */
char *sc_buf_take(sc_buf *buf, size_t *len);

static inline sc_str sc_buf_view(const sc_buf *buf)
{
    return (sc_str){buf->data, buf->len};
}
