/* accept_guard.h - keeps the listener alive when descriptors run out.
 *
 * gRPC's core stops listening for good after one accept4() that failed with EMFILE. This file's
 * object defines accept4() for the whole process (the dynamic linker prefers the executable's):
 * without a free descriptor, or above the limit, waiting connections are accepted and closed,
 * and the caller is told that there is nothing to accept. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Raises the descriptor limit as far as it goes, takes a reserve descriptor, and closes
 * connections beyond connections_max (0: those that would leave fewer than 64 descriptors for the
 * rest of the process). Once per process is enough; again moves the limit. */
void sc_accept_guard_open(unsigned connections_max);

/* Ends every accepted connection whose local port is one of ports[count], and those of Unix sockets;
 * new ones on these ports are closed at once until _reopen. Whatever was written to a connection
 * before still reaches its reader. */
void sc_accept_guard_hang_up(const int *ports, size_t count);
void sc_accept_guard_reopen(const int *ports, size_t count);

/* Connections closed so far. */
uint64_t sc_accept_guard_refused(void);
