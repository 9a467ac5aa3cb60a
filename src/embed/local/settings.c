#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/embed/local/local.h"

#define FIELD(member) SC_SETTING_FIELD(sc_local_options, member)

static const sc_setting rows[] = {
    {"EMBEDDING_MODEL_DIR", SC_SETTING_TEXT, FIELD(model_dir), 0, PATH_MAX - 1, NULL, "", NULL,
     "Folder with model.safetensors and vocab.txt of all-MiniLM-L6-v2; default: where bazel/install "
     "keeps them."},
    {"EMBEDDING_LOCAL_WEIGHTS", SC_SETTING_CHOICE, FIELD(weights), 0, 0, "float32", "",
     "float32|float16",
     "Precision of the built-in encoder's weights; float16 halves their memory and moves a distance "
     "by at most 0.0005."},
    {"EMBEDDING_LOCAL_KERNEL", SC_SETTING_CHOICE, FIELD(kernel), 0, 0, "auto", "",
     "auto|openblas|avx2|avx512|neon",
     "Arithmetic of the built-in encoder; auto takes the fastest that this processor has."},
    {"EMBEDDING_LOCAL_THREADS", SC_SETTING_INT, FIELD(threads), 0, 256, "0", "threads", NULL,
     "Worker threads of the built-in encoder; 0: one for each processor."},
};

const sc_setting_table sc_local_settings = {"Built-in encoder", rows, sizeof rows / sizeof rows[0]};

bool sc_local_model_dir(char *path, size_t bytes)
{
    const char *const places[][2] = {{"SEMCACHE_CACHE_DIR", "/model"},
                                     {"XDG_CACHE_HOME", "/semcache/model"},
                                     {"HOME", "/.cache/semcache/model"}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *root = getenv(places[i][0]);
        if (root != NULL && root[0] != '\0') {
            int len = snprintf(path, bytes, "%s%s", root, places[i][1]);
            return len > 0 && (size_t)len < bytes;
        }
    }
    return false;
}
