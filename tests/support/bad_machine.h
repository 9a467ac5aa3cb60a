/* bad_machine.h - a machine whose wall clock jumps and whose log disk is full, for one server.
 *
 * libbad_machine.so is preloaded into the server and reads a small file that both sides map; the
 * test changes it while the server runs. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SC_BAD_MACHINE_VARIABLE "BAD_MACHINE_FILE"

typedef struct {
    _Atomic int64_t clock_offset_s; /* of CLOCK_REALTIME */
    atomic_bool     log_full;       /* writes to stderr end with ENOSPC */
} sc_bad_machine;
