/* doors.h - who may come in: recognises callers, holds them to their tenant's limits.
 *
 * Without a keys file everybody is the tenant "" and may do everything. The file is read again
 * when it changes; a new one with a mistake in it leaves the old one in force. Any thread. */
#pragma once

#include "server/doors/keys.h"
#include "src/base/clock.h"
#include "src/config/setting.h"

typedef struct {
    const char *keys_file; /* NULL: no doors */
} sc_doors_options;

extern const sc_setting_table sc_doors_settings;

typedef struct sc_doors sc_doors;

/* Errors: SC_INVALID with file and line, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_doors_open(const sc_doors_options *options, sc_doors **out,
                                      sc_error *error);

/* After every pass was given back. NULL is welcome. */
void sc_doors_close(sc_doors *doors);

/* A caller inside. */
typedef struct {
    sc_str           tenant; /* lent until leave */
    unsigned         rights; /* a set of sc_right */
    sc_tenant_limits limits;
    void            *_tenant;
} sc_pass;

/* Recognises the caller by `authorization` ("Bearer <key>"; empty: none), else by the name in its
 * certificate, and lets it in when it has the right and its tenant has room. `now` moves the
 * tenant's bucket.
 * Gives: *pass, to be given back with sc_doors_leave; nothing on error.
 * Errors: SC_UNAUTHENTICATED, SC_PERMISSION_DENIED (which part was wrong is not told),
 * SC_BUSY with *retry_after_ms. */
SC_MUST_CHECK sc_status sc_doors_admit(sc_doors *doors, sc_str authorization, sc_str identity,
                                       sc_right right, sc_instant now, sc_pass *pass,
                                       int64_t *retry_after_ms);
void                    sc_doors_leave(sc_doors *doors, sc_pass *pass);

/* The sentence that goes to the caller with such a status. */
const char *sc_doors_text(sc_status status);
