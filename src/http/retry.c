#include "src/http/retry.h"

#include "src/base/random.h"

enum { FIRST_MS = 250, LONGEST_MS = 8000 };

bool sc_retry_may_help(const sc_http_request *request)
{
    int code = request->code;
    if (request->status != SC_OK)
        return request->status == SC_UNAVAILABLE;
    return code == 408 || code == 429 || code >= 500;
}

static int64_t backoff_ms(unsigned attempt)
{
    int64_t ms = FIRST_MS;
    for (unsigned i = 1; i < attempt && ms < LONGEST_MS; i++)
        ms *= 2;
    return ms < LONGEST_MS ? ms : LONGEST_MS;
}

sc_instant sc_retry_start(unsigned attempt, int64_t retry_after_ms, sc_instant now,
                          sc_instant deadline)
{
    int64_t ms;
    /* Never before the upstream's wish; otherwise anywhere in the upper half, so that those who
     * failed together do not come back together. */
    if (retry_after_ms >= 0) {
        ms = retry_after_ms + sc_random_between(0, retry_after_ms / 8 + 10);
    } else {
        int64_t full = backoff_ms(attempt);
        ms = sc_random_between(full / 2, full);
    }
    sc_instant start = sc_instant_after_ms(now, ms);
    return sc_instant_before(start, deadline) ? start : SC_INSTANT_NEVER;
}
