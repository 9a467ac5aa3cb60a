#include "client/load/histogram.h"

enum { STEPS = 1 << HISTOGRAM_BITS };

/* Below STEPS a bucket is a value; above, the bits after the first one choose it. */
static unsigned bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return (unsigned)ns;
    unsigned octave = 63u - (unsigned)__builtin_clzll(ns);
    return (octave - HISTOGRAM_BITS + 1) * STEPS +
           (unsigned)(ns >> (octave - HISTOGRAM_BITS) & (STEPS - 1));
}

static double bucket_middle(unsigned bucket)
{
    if (bucket < STEPS)
        return bucket;
    unsigned octave = bucket / STEPS + HISTOGRAM_BITS - 1;
    double   width = (double)(1ull << (octave - HISTOGRAM_BITS));
    return (STEPS + bucket % STEPS) * width + width / 2;
}

void histogram_record(histogram *h, uint64_t ns)
{
    unsigned bucket = bucket_of(ns);
    h->counts[bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1]++;
    h->count++;
    h->sum_ns += (double)ns;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

void histogram_add(histogram *to, const histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        to->counts[i] += from->counts[i];
    to->count += from->count;
    to->sum_ns += from->sum_ns;
    if (from->max_ns > to->max_ns)
        to->max_ns = from->max_ns;
}

double histogram_quantile(const histogram *h, double part)
{
    uint64_t seen = 0;
    double   wanted = part * (double)h->count;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (h->counts[i] != 0 && (double)seen >= wanted)
            return bucket_middle(i) < (double)h->max_ns ? bucket_middle(i) : (double)h->max_ns;
    }
    return (double)h->max_ns;
}
