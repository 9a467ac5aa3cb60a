/* histogram.h - durations in log-linear buckets, 512 to an octave: a quantile is off by at most
 * 0.1 %, so that a millisecond added to a second can be seen. Not thread-safe: each thread fills its own, and they are added up. */
#pragma once

#include <stdint.h>

enum { HISTOGRAM_BITS = 9, HISTOGRAM_BUCKETS = (64 - HISTOGRAM_BITS) << HISTOGRAM_BITS };

typedef struct {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t count;
    double   sum_ns;
    uint64_t max_ns;
} histogram;

void histogram_record(histogram *h, uint64_t ns);
void histogram_add(histogram *to, const histogram *from);

/* The value below which the given part of all values lies, in ns; 0 without values. */
double histogram_quantile(const histogram *h, double part);
