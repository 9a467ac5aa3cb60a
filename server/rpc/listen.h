/* listen.h - listen addresses: bytes in, an answer out. */
#pragma once

#include <stdbool.h>

#include "src/base/str.h"

/* True when only this machine can reach the address. */
bool rpc_listen_is_local(sc_str address);

/* Next of a list with commas, trimmed; false at its end. */
bool rpc_listen_next(sc_str *list, sc_str *address);
