/* expose.h - series as Prometheus' text format, from tables.
 *
 * A row names one series; rows of the same name stand together and share HELP and TYPE. */
#pragma once

#include <stddef.h>

#include "src/base/buf.h"
#include "src/metrics/metrics.h"

typedef enum { SC_METRIC_COUNTER, SC_METRIC_GAUGE, SC_METRIC_HISTOGRAM } sc_metric_kind;

typedef struct {
    const char         *name;   /* semcache_requests_total; seconds for durations */
    const char         *labels; /* source="warm", already escaped; "" for none */
    const char         *help;
    sc_metric_kind      kind;
    const sc_histogram *histogram; /* HISTOGRAM */
    double              value;     /* COUNTER and GAUGE, read when the row is made */
} sc_metric;

/* Appends the rows. Text that does not fit marks out as failed. */
void sc_expose(sc_buf *out, const sc_metric *rows, size_t count);
