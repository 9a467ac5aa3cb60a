/* metrics.h - counters and latency histograms, since start and over the last minute.
 *
 * Recording takes a few relaxed atomic additions and no lock. `now` is an argument, so
 * tests need no sleep. A minute is a ring of slices: what is read covers the last 60 to
 * 65 seconds. Any thread; a zeroed counter or histogram is ready for use. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "src/base/clock.h"

/* 12 slices of 5 s are the last minute; one more is being written. */
enum { SC_SLICES = 13, SC_SLICE_SECONDS = 5 };

typedef struct {
    atomic_uint_fast64_t total;
    struct {
        _Atomic int64_t      epoch; /* which 5 s the count belongs to */
        atomic_uint_fast64_t count;
    } slices[SC_SLICES];
} sc_counter;

void     sc_counter_add(sc_counter *counter, uint64_t n, sc_instant now);
uint64_t sc_counter_total(const sc_counter *counter);
uint64_t sc_counter_minute(const sc_counter *counter, sc_instant now);

/* Log-linear buckets, 16 to an octave, from 1 us to over an hour: a quantile is off by at most
 * 3.2 %. (HdrHistogram's layout, with a fixed precision.) */
enum { SC_BUCKETS = 16 * 29 };

typedef struct {
    _Atomic int64_t epoch;
    /* 64 bits: 32 would be full after a day of 50 000 a second. */
    atomic_uint_fast64_t buckets[SC_BUCKETS];
    atomic_uint_fast64_t sum_us;
    atomic_uint_fast64_t max_us;
} sc_histogram_slice;

typedef struct {
    sc_histogram_slice total; /* its epoch is not used */
    sc_histogram_slice slices[SC_SLICES];
} sc_histogram;

void sc_histogram_record(sc_histogram *histogram, uint64_t us, sc_instant now);

typedef enum { SC_SINCE_START, SC_LAST_MINUTE } sc_period;

typedef struct {
    uint64_t count;
    double   mean_us, max_us, p50_us, p95_us, p99_us; /* 0 without a count */
} sc_summary;

sc_summary sc_histogram_summary(const sc_histogram *histogram, sc_period period, sc_instant now);

/* Recorded values up to and including bound_us, rounded to the bucket's border; and their sum. */
uint64_t sc_histogram_count_upto(const sc_histogram *histogram, uint64_t bound_us);
uint64_t sc_histogram_count(const sc_histogram *histogram);
uint64_t sc_histogram_sum_us(const sc_histogram *histogram);
