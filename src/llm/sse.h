/* sse.h - server-sent events: bytes in, events out, however the bytes are cut.
 *
 * Lines end in LF, CR or CRLF; data lines of one event are joined by LF; comments and the fields
 * id and retry are passed over. No I/O; one thread at a time. */
#pragma once

#include <stdbool.h>

#include "src/base/buf.h"
#include "src/base/status.h"
#include "src/base/str.h"

typedef struct {
    sc_buf line; /* the unfinished one */
    sc_buf data; /* of the unfinished event */
    char   name[32];
    bool   has_data;
    bool   after_cr;
    bool   started; /* a byte order mark is not looked for any more */
} sc_sse;

/* Borrows name and data for the call. Anything but SC_OK ends the feeding. */
typedef sc_status (*sc_sse_on_event)(void *user, sc_str name, sc_str data);

/* event_bytes_max bounds a line and an event's data. */
void sc_sse_init(sc_sse *sse, size_t event_bytes_max);
void sc_sse_fini(sc_sse *sse);

/* Errors: SC_TOO_LARGE, SC_NO_MEMORY, what on_event returned; the parser is not to be fed again. */
SC_MUST_CHECK sc_status sc_sse_feed(sc_sse *sse, sc_str bytes, sc_sse_on_event on_event, void *user);
