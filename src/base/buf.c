#include "src/base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM_MIN = 256 };

void sc_buf_init(sc_buf *buf, size_t bytes_max)
{
    /* Leaves room for a NUL and for doubling without overflow. */
    assert(bytes_max < SIZE_MAX / 4);
    *buf = (sc_buf){.bytes_max = bytes_max};
}

void sc_buf_fini(sc_buf *buf)
{
    free(buf->data);
    *buf = (sc_buf){.bytes_max = buf->bytes_max};
}

void sc_buf_clear(sc_buf *buf)
{
    buf->len = 0;
    buf->failed = SC_OK;
    if (buf->data != NULL)
        buf->data[0] = '\0';
}

/* Room for `more` bytes and a NUL. Doubles, so that n appends cost O(n). */
static sc_status reserve(sc_buf *buf, size_t more)
{
    if (buf->failed != SC_OK)
        return buf->failed;
    if (more > buf->bytes_max - buf->len)
        return buf->failed = SC_TOO_LARGE;
    size_t need = buf->len + more + 1;
    if (need <= buf->room)
        return SC_OK;
    size_t room = buf->room < ROOM_MIN ? ROOM_MIN : buf->room;
    while (room < need)
        room *= 2;
    if (room > buf->bytes_max + 1)
        room = buf->bytes_max + 1;
    char *data = realloc(buf->data, room);
    if (data == NULL)
        return buf->failed = SC_NO_MEMORY;
    buf->data = data;
    buf->room = room;
    return SC_OK;
}

sc_status sc_buf_append(sc_buf *buf, const void *bytes, size_t len)
{
    sc_status status = reserve(buf, len);
    if (status != SC_OK)
        return status;
    if (len != 0)
        memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return SC_OK;
}

sc_status sc_buf_str(sc_buf *buf, sc_str text)
{
    return sc_buf_append(buf, text.ptr, text.len);
}

sc_status sc_buf_byte(sc_buf *buf, char byte)
{
    return sc_buf_append(buf, &byte, 1);
}

sc_status sc_buf_printf(sc_buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int       len = vsnprintf(NULL, 0, format, args);
    sc_status status = len < 0 ? (buf->failed = SC_INTERNAL) : reserve(buf, (size_t)len);
    if (status == SC_OK) {
        vsnprintf(buf->data + buf->len, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
    va_end(args);
    return status;
}

void sc_buf_consume(sc_buf *buf, size_t n)
{
    if (n == 0)
        return;
    if (n > buf->len)
        n = buf->len;
    memmove(buf->data, buf->data + n, buf->len - n);
    buf->len -= n;
    buf->data[buf->len] = '\0';
}

char *sc_buf_take(sc_buf *buf, size_t *len)
{
    if (reserve(buf, 0) != SC_OK)
        return NULL;
    buf->data[buf->len] = '\0';
    char *data = buf->data;
    if (len != NULL)
        *len = buf->len;
    *buf = (sc_buf){.bytes_max = buf->bytes_max};
    return data;
}
