#include "client/load/histogram.h"

/* Below 32 a bucket is a value; above, the 5 bits after the first one choose it. */
static unsigned bucket_of(uint64_t ns)
{
    if (ns < 32)
        return (unsigned)ns;
    unsigned octave = 63u - (unsigned)__builtin_clzll(ns);
    return (octave - 4) * 32 + (unsigned)(ns >> (octave - 5) & 31);
}

static double bucket_middle(unsigned bucket)
{
    if (bucket < 32)
        return bucket;
    unsigned octave = bucket / 32 + 4;
    double   width = (double)(1ull << (octave - 5));
    return (32 + bucket % 32) * width + width / 2;
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
