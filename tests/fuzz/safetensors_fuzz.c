/* The safetensors header: whatever can be found must lie inside the file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/embed/local/safetensors.h"

static float sum;

static void find(const sc_safetensors *file, const char *name, size_t rows, size_t columns)
{
    const float *values;
    sc_error     error = {0};
    if (sc_safetensors_find(file, name, rows, columns, &values, &error) != SC_OK)
        return;
    for (size_t i = 0; i < (rows == 0 ? 1 : rows) * columns; i++)
        sum += values[i]; /* a sanitizer watches */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sc_error        error = {0};
    sc_safetensors *file;
    void           *copy = malloc(size + 1); /* aligned as a map is */
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    if (sc_safetensors_open(copy, size, &file, &error) == SC_OK) {
        find(file, "m", 2, 2);
        find(file, "m", 0, 2);
        find(file, "v", 0, 1);
        find(file, "v", 0, 0);
        find(file, "__metadata__", 0, 1);
        sc_safetensors_close(file);
    }
    free(copy);
    return 0;
}
