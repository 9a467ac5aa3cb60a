#include "src/pipeline/decide.h"

sc_reason sc_miss_reason(const sc_candidate *nearest, const sc_candidate *refused, uint64_t guard,
                         double max_distance)
{
    if (refused->entry != NULL && sc_is_hit(refused->distance, max_distance))
        return refused->entry->f.guard != guard ? SC_REASON_VOLATILE_DIFFERS : SC_REASON_OPPOSED;
    if (nearest->entry != NULL)
        return sc_is_hit(nearest->distance, max_distance) ? SC_REASON_STALE : SC_REASON_TOO_FAR;
    return refused->entry != NULL ? SC_REASON_TOO_FAR : SC_REASON_NO_CANDIDATE;
}

sc_trust sc_trust_copy(const sc_trust_state *state)
{
    return state->feed_live && !state->verify_always ? SC_TRUST_SERVE : SC_TRUST_VERIFY;
}

bool sc_trust_unverified(const sc_trust_state *state, int64_t verified_ns, sc_instant now)
{
    /* A live feed vouches for the copy by itself: only the extra question went unanswered. */
    if (state->feed_live)
        return true;
    sc_instant since = {verified_ns > state->feed_lost_ns ? verified_ns : state->feed_lost_ns};
    return sc_instant_before(now, sc_instant_after_ms(since, state->unverified_ms));
}
