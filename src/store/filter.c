#include <math.h>

#include "src/store/store.h"

/* An absent criterion (ptr NULL) matches everything; an empty text matches only the empty text. */
static bool text_matches(sc_str wanted, sc_str have)
{
    return wanted.ptr == NULL || sc_str_equal(wanted, have);
}

static bool id_matches(const sc_store_filter *filter, const sc_digest *id)
{
    if (filter->ids_count == 0)
        return true;
    for (size_t i = 0; i < filter->ids_count; i++)
        if (sc_digest_equal(&filter->ids[i], id))
            return true;
    return false;
}

static bool has_tag(const sc_entry_fields *fields, sc_str wanted)
{
    for (uint32_t i = 0; i < fields->tags_count; i++)
        if (sc_str_equal(fields->tags[i], wanted))
            return true;
    return false;
}

static bool tags_match(const sc_store_filter *filter, const sc_entry_fields *fields)
{
    for (size_t i = 0; i < filter->tags_count; i++)
        if (!has_tag(fields, filter->tags[i]))
            return false;
    return true;
}

static float distance_between(const float *a, const float *b, uint32_t dim)
{
    double dot = 0;
    for (uint32_t i = 0; i < dim; i++)
        dot += (double)a[i] * (double)b[i];
    double distance = 1 - dot;
    return (float)(distance < 0 ? 0 : distance > 2 ? 2 : distance);
}

/* NaN compares false, so an entry without a usable vector is never near anything. */
static bool near_enough(const sc_store_filter *filter, const float *vector, uint32_t dim,
                        float *distance)
{
    *distance = NAN;
    if (filter->near == NULL)
        return true;
    if (vector != NULL)
        *distance = distance_between(filter->near, vector, dim);
    return *distance <= filter->near_distance_max;
}

bool sc_store_filter_matches(const sc_store_filter *filter, const sc_entry_fields *fields,
                             const float *vector, uint32_t dim, float *distance)
{
    *distance = NAN;
    if (!filter->any_tenant && !sc_str_equal(filter->tenant, fields->tenant))
        return false;
    if (!text_matches(filter->model, fields->model) ||
        !text_matches(filter->corpus_version, fields->corpus_version))
        return false;
    if (filter->system_hash != NULL && !sc_digest_equal(filter->system_hash, &fields->system_hash))
        return false;
    if (filter->created_before.ms != 0 && fields->created.ms >= filter->created_before.ms)
        return false;
    /* The dear ones last. */
    return id_matches(filter, &fields->id) && tags_match(filter, fields) &&
           near_enough(filter, vector, dim, distance);
}
