#include "src/warm/warm.h"

static const sc_setting rows[] = {
    {"WARM_BYTES_MAX", SC_SETTING_INT, SC_SETTING_FIELD(sc_warm_options, bytes_max), 1 << 20, 1e15,
     "536870912", "bytes", NULL,
     "Memory for entries and their vectors in this server; the least recently used leave first."},
    {"WARM_PASS", SC_SETTING_CHOICE, SC_SETTING_FIELD(sc_warm_options, pass), 0, 0, "auto", "",
     "auto|float|int8|blas",
     "How many candidates are looked at: int8 first, float32 throughout, or float32 by OpenBLAS. "
     "The answers are the same."},
};

const sc_setting_table sc_warm_settings = {"Warm set", rows, sizeof rows / sizeof rows[0]};
