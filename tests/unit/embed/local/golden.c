#include "tests/unit/embed/local/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/embed/local/local.h"

static void die(const char *why)
{
    printf("[  FAILED  ] golden data: %s\n", why);
    exit(1);
}

static char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        die("cannot be opened");
    *len = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*len);
    if (bytes == NULL || fread(bytes, 1, *len, file) != *len)
        die("cannot be read");
    fclose(file);
    return bytes;
}

static const char *eat(sc_str *rest, void *to, size_t len)
{
    const char *from = rest->ptr;
    if (rest->len < len)
        die("cut off");
    if (to != NULL)
        memcpy(to, from, len);
    *rest = (sc_str){rest->ptr + len, rest->len - len};
    return from;
}

static void read_text(sc_str *rest, golden_text *text)
{
    uint8_t  note;
    uint16_t ids;
    int16_t  parts[GOLDEN_DIM];
    float    scale;
    uint32_t len;
    eat(rest, &note, sizeof note);
    eat(rest, &ids, sizeof ids);
    eat(rest, &len, sizeof len);
    if (ids > sizeof text->ids / sizeof text->ids[0])
        die("too many ids");
    text->note = (sc_embed_note)note;
    text->ids_count = ids;
    eat(rest, text->ids, ids * sizeof text->ids[0]);
    text->text = (sc_str){eat(rest, NULL, len), len};
    if (text->note != SC_EMBED_USABLE)
        return;
    eat(rest, &scale, sizeof scale);
    eat(rest, parts, sizeof parts);
    for (size_t i = 0; i < GOLDEN_DIM; i++)
        text->vector[i] = (float)parts[i] * scale;
}

golden_file golden_open(void)
{
    golden_file golden = {0};
    uint32_t count;
    size_t   len;
    golden.bytes = read_file("tests/data/golden_embeddings.bin", &len);
    sc_str rest = {golden.bytes, len};
    if (memcmp(eat(&rest, NULL, 4), "SCG1", 4) != 0)
        die("of another format");
    eat(&rest, &count, sizeof count);
    golden.count = count;
    golden.texts = calloc(count, sizeof *golden.texts);
    if (golden.texts == NULL)
        die("out of memory");
    for (size_t i = 0; i < count; i++)
        read_text(&rest, &golden.texts[i]);
    return golden;
}

void golden_close(golden_file *golden)
{
    free(golden->texts);
    free(golden->bytes);
}

double golden_cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < GOLDEN_DIM; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

const char *golden_model_dir(void)
{
    static char folder[4096];
    char        path[4200];
    bool        found = sc_local_model_dir(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    if (found && access(path, R_OK) == 0)
        return folder;
    if (getenv("SEMCACHE_REQUIRE") != NULL)
        die("the model is missing: run bazel/install");
    printf("[  SKIPPED ] the model is missing: run bazel/install\n");
    exit(0);
}
