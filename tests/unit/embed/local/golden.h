/* golden.h - reads tests/data/golden_embeddings.bin: texts with the reference's answers. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/str.h"
#include "src/embed/embed.h"

enum { GOLDEN_DIM = 384 };

typedef struct {
    sc_embed_note note;
    uint16_t      ids[256];
    size_t        ids_count;
    sc_str        text;
    float         vector[GOLDEN_DIM]; /* of a usable text */
} golden_text;

typedef struct {
    golden_text *texts;
    size_t       count;
    char        *bytes; /* behind the texts */
} golden_file;

/* Ends the test when the file is not there or not whole. */
golden_file golden_open(void);
void        golden_close(golden_file *golden);

double golden_cosine(const float *a, const float *b);

/* The model's folder. Without the model: ends the process, successfully after a loud line, or
 * unsuccessfully when SEMCACHE_REQUIRE is set. */
const char *golden_model_dir(void);
