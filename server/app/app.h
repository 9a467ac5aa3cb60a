/* app.h - the composition root: makes the parts in order of dependence, takes them down in reverse. */
#pragma once

#include "server/app/settings.h"

typedef struct sc_app sc_app;

/* Serves when it returns. Borrows settings until close.
 * Errors: SC_INVALID names the setting; SC_UNAVAILABLE for an address in use; others name the part. */
SC_MUST_CHECK sc_status sc_app_open(sc_settings *settings, sc_app **out, sc_error *error);

/* Stops taking calls, lets those under way finish within the grace period, frees everything.
 * Errors: SC_TIMEOUT when calls had to be abandoned. NULL is welcome. */
SC_MUST_CHECK sc_status sc_app_close(sc_app *app);
