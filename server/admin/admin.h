/* admin.h - HTTP for operators: /metrics, /ready and /live, on a port of its own.
 *
 * There is no login: it listens on the loopback interface unless told otherwise. The callbacks
 * run on the admin thread, one at a time, and may take locks but not wait. */
#pragma once

#include <stdbool.h>

#include "src/base/buf.h"
#include "src/base/status.h"
#include "src/config/setting.h"

typedef struct {
    const char *listen;          /* "127.0.0.1:50052", "[::1]:0"; NULL: no admin port */
    bool        listen_insecure; /* on an address that others can reach */
} sc_admin_options;

extern const sc_setting_table sc_admin_settings;

typedef struct {
    void (*metrics)(void *context, sc_buf *out); /* Prometheus' text format */
    bool (*ready)(void *context, sc_buf *why);   /* false: 503, and why in a word or two */
    void *context;
} sc_admin_source;

typedef struct sc_admin sc_admin;

/* Listens and starts the thread; *out is NULL when options name no address.
 * Errors: SC_INVALID, SC_UNAVAILABLE (address in use), SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_admin_open(const sc_admin_options *options,
                                      const sc_admin_source *source, sc_admin **out,
                                      sc_error *error);

/* Ends the thread. NULL is welcome. */
void sc_admin_close(sc_admin *admin);

/* The bound port; 0 for NULL. */
int sc_admin_port(const sc_admin *admin);
