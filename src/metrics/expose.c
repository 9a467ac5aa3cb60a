#include "src/metrics/expose.h"

#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {"counter", "gauge", "histogram"};

/* From a hit in memory to a slow LLM. */
static const uint64_t bounds_us[] = {50,     100,    250,     500,     1000,    2500,    5000,
                                     10000,  25000,  50000,   100000,  250000,  500000,  1000000,
                                     2500000, 5000000, 10000000, 30000000, 60000000};

static void put_sample(sc_buf *out, const char *name, const char *suffix, const char *labels,
                       const char *le, double value)
{
    const char *comma = labels[0] != '\0' && le != NULL ? "," : "";
    sc_buf_printf(out, "%s%s", name, suffix);
    if (labels[0] != '\0' || le != NULL)
        sc_buf_printf(out, "{%s%s%s%s%s}", labels, comma, le == NULL ? "" : "le=\"",
                      le == NULL ? "" : le, le == NULL ? "" : "\"");
    sc_buf_printf(out, " %.17g\n", value);
}

static void put_histogram(sc_buf *out, const sc_metric *row)
{
    char le[32];
    /* The last bucket is read first: what is recorded meanwhile must not make a bound hold more
     * than +Inf. */
    uint64_t count = sc_histogram_count(row->histogram);
    for (size_t i = 0; i < sizeof bounds_us / sizeof bounds_us[0]; i++) {
        uint64_t upto = sc_histogram_count_upto(row->histogram, bounds_us[i]);
        snprintf(le, sizeof le, "%g", (double)bounds_us[i] / 1e6);
        put_sample(out, row->name, "_bucket", row->labels, le,
                   (double)(upto < count ? upto : count));
    }
    put_sample(out, row->name, "_bucket", row->labels, "+Inf", (double)count);
    put_sample(out, row->name, "_sum", row->labels, NULL,
               (double)sc_histogram_sum_us(row->histogram) / 1e6);
    put_sample(out, row->name, "_count", row->labels, NULL, (double)count);
}

void sc_expose(sc_buf *out, const sc_metric *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const sc_metric *row = &rows[i];
        if (i == 0 || strcmp(rows[i - 1].name, row->name) != 0)
            sc_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
                          kind_names[row->kind]);
        if (row->kind == SC_METRIC_HISTOGRAM)
            put_histogram(out, row);
        else
            put_sample(out, row->name, "", row->labels, NULL, row->value);
    }
}
