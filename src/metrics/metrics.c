#include "src/metrics/metrics.h"

#include <stdbool.h>
#include <stddef.h>

#define relaxed memory_order_relaxed

static int64_t epoch_of(sc_instant now)
{
    /* From 1, so that a zeroed slice belongs to no time. */
    return now.ns / ((int64_t)SC_SLICE_SECONDS * 1000000000) + 1;
}

/* True for the one caller that finds the slice out of date and may empty it. A record that falls
 * between the claim and the emptying is lost from the minute, never from the total. */
static bool claim(_Atomic int64_t *epoch, int64_t now)
{
    int64_t seen = atomic_load_explicit(epoch, relaxed);
    return seen != now && atomic_compare_exchange_strong(epoch, &seen, now);
}

static bool recent(const _Atomic int64_t *epoch, int64_t now)
{
    int64_t seen = atomic_load_explicit(epoch, relaxed);
    return seen > now - SC_SLICES && seen <= now;
}

void sc_counter_add(sc_counter *counter, uint64_t n, sc_instant now)
{
    int64_t epoch = epoch_of(now);
    size_t  at = (size_t)(epoch % SC_SLICES);
    atomic_fetch_add_explicit(&counter->total, n, relaxed);
    if (claim(&counter->slices[at].epoch, epoch))
        atomic_store_explicit(&counter->slices[at].count, 0, relaxed);
    atomic_fetch_add_explicit(&counter->slices[at].count, n, relaxed);
}

uint64_t sc_counter_total(const sc_counter *counter)
{
    return atomic_load_explicit(&counter->total, relaxed);
}

uint64_t sc_counter_minute(const sc_counter *counter, sc_instant now)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < SC_SLICES; i++)
        if (recent(&counter->slices[i].epoch, epoch_of(now)))
            sum += atomic_load_explicit(&counter->slices[i].count, relaxed);
    return sum;
}

/* Values below 16 have a bucket each; above, the top five bits choose. */
static size_t bucket_of(uint64_t us)
{
    if (us < 16)
        return (size_t)us;
    unsigned top = 63u - (unsigned)__builtin_clzll(us);
    size_t   at = (top - 3) * 16 + ((us >> (top - 4)) & 15);
    return at < SC_BUCKETS ? at : SC_BUCKETS - 1;
}

/* First value beyond the bucket. */
static uint64_t bucket_end(size_t at)
{
    if (at < 16)
        return at + 1;
    unsigned top = (unsigned)(at / 16) + 3;
    return ((uint64_t)1 << top) + ((uint64_t)(at % 16 + 1) << (top - 4));
}

static double bucket_middle(size_t at)
{
    double end = (double)bucket_end(at);
    double start = at == 0 ? 0 : (double)bucket_end(at - 1);
    return at < 16 ? start : (start + end) / 2;
}

static void slice_record(sc_histogram_slice *slice, uint64_t us)
{
    atomic_fetch_add_explicit(&slice->buckets[bucket_of(us)], 1, relaxed);
    atomic_fetch_add_explicit(&slice->sum_us, us, relaxed);
    uint64_t max = atomic_load_explicit(&slice->max_us, relaxed);
    while (us > max &&
           !atomic_compare_exchange_weak_explicit(&slice->max_us, &max, us, relaxed, relaxed))
        continue;
}

static void slice_empty(sc_histogram_slice *slice)
{
    for (size_t i = 0; i < SC_BUCKETS; i++)
        atomic_store_explicit(&slice->buckets[i], 0, relaxed);
    atomic_store_explicit(&slice->sum_us, 0, relaxed);
    atomic_store_explicit(&slice->max_us, 0, relaxed);
}

void sc_histogram_record(sc_histogram *histogram, uint64_t us, sc_instant now)
{
    int64_t             epoch = epoch_of(now);
    sc_histogram_slice *slice = &histogram->slices[epoch % SC_SLICES];
    if (claim(&slice->epoch, epoch))
        slice_empty(slice);
    slice_record(slice, us);
    slice_record(&histogram->total, us);
}

/* A plain copy to compute with. */
typedef struct {
    uint64_t buckets[SC_BUCKETS];
    uint64_t count, sum_us, max_us;
} flat;

static void flat_add(flat *to, const sc_histogram_slice *slice)
{
    for (size_t i = 0; i < SC_BUCKETS; i++) {
        uint64_t n = atomic_load_explicit(&slice->buckets[i], relaxed);
        to->buckets[i] += n;
        to->count += n;
    }
    uint64_t max = atomic_load_explicit(&slice->max_us, relaxed);
    to->sum_us += atomic_load_explicit(&slice->sum_us, relaxed);
    to->max_us = max > to->max_us ? max : to->max_us;
}

static double quantile_us(const flat *from, double q)
{
    uint64_t rank = (uint64_t)(q * (double)(from->count - 1)) + 1;
    uint64_t seen = 0;
    for (size_t i = 0; i < SC_BUCKETS; i++) {
        seen += from->buckets[i];
        if (seen >= rank) {
            double middle = bucket_middle(i);
            return middle > (double)from->max_us ? (double)from->max_us : middle;
        }
    }
    return (double)from->max_us;
}

sc_summary sc_histogram_summary(const sc_histogram *histogram, sc_period period, sc_instant now)
{
    flat all = {.count = 0};
    if (period == SC_SINCE_START)
        flat_add(&all, &histogram->total);
    for (size_t i = 0; period == SC_LAST_MINUTE && i < SC_SLICES; i++)
        if (recent(&histogram->slices[i].epoch, epoch_of(now)))
            flat_add(&all, &histogram->slices[i]);
    if (all.count == 0)
        return (sc_summary){0};
    return (sc_summary){
        .count = all.count,
        .mean_us = (double)all.sum_us / (double)all.count,
        .max_us = (double)all.max_us,
        .p50_us = quantile_us(&all, 0.50),
        .p95_us = quantile_us(&all, 0.95),
        .p99_us = quantile_us(&all, 0.99),
    };
}

uint64_t sc_histogram_count_upto(const sc_histogram *histogram, uint64_t bound_us)
{
    uint64_t count = 0;
    for (size_t i = 0; i < SC_BUCKETS && bucket_end(i) <= bound_us + 1; i++)
        count += atomic_load_explicit(&histogram->total.buckets[i], relaxed);
    return count;
}

uint64_t sc_histogram_count(const sc_histogram *histogram)
{
    uint64_t count = 0;
    for (size_t i = 0; i < SC_BUCKETS; i++)
        count += atomic_load_explicit(&histogram->total.buckets[i], relaxed);
    return count;
}

uint64_t sc_histogram_sum_us(const sc_histogram *histogram)
{
    return atomic_load_explicit(&histogram->total.sum_us, relaxed);
}
