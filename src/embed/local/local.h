/* local.h - the built-in embedding provider: all-MiniLM-L6-v2, on this machine's processors.
 *
 * Each worker thread takes a whole job and works alone, on one core; a job that holds many texts is
 * computed without padding. Texts that the model cannot read in full, or not at all, get a note
 * instead of a vector (embed.h). */
#pragma once

#include "src/config/setting.h"
#include "src/embed/embed.h"

typedef enum { SC_LOCAL_FLOAT32, SC_LOCAL_FLOAT16 } sc_local_weights;

typedef enum {
    SC_LOCAL_KERNEL_AUTO,
    SC_LOCAL_KERNEL_OPENBLAS,
    SC_LOCAL_KERNEL_AVX2,
    SC_LOCAL_KERNEL_AVX512,
    SC_LOCAL_KERNEL_NEON,
} sc_local_kernel;

typedef struct {
    const char      *model_dir; /* NULL: sc_local_model_dir() */
    sc_local_weights weights;
    sc_local_kernel  kernel;
    unsigned         threads; /* 0: one for each processor */
} sc_local_options;

extern const sc_setting_table sc_local_settings; /* of sc_local_options */

/* Where bazel/install keeps the model: SEMCACHE_CACHE_DIR, else XDG_CACHE_HOME/semcache, else
 * HOME/.cache/semcache, and /model behind it. False when none is set or the path is too long. */
bool sc_local_model_dir(char *path, size_t bytes);

/* Checks the model's files against their pinned SHA-256, packs the weights and starts the workers:
 * a few tenths of a second, about 45 MB (24 MB as float16) and 4 MB for each thread. After that no
 * job allocates anything.
 * Errors: SC_NOT_FOUND, SC_MISMATCH for another model's files, SC_UNSUPPORTED for a kernel that
 * cannot run here, SC_NO_MEMORY, SC_UNAVAILABLE when no thread could be started. */
SC_MUST_CHECK sc_status sc_local_open(const sc_local_options *options, sc_embed_provider **out,
                                      sc_error *error);
