/* Easy handles that wait for their next request, each bound to one URL: what libcurl makes of a URL,
 * taken apart, checked and put together again, is a third of its work on a short request, and an
 * upstream has but two. The least recently used handle makes room for another, and a URL goes with
 * its last handle. What a request brings of its own, key included, is lent to the handle for that
 * request; see sc_transfer_release. */
#include <stdlib.h>
#include <string.h>

#include "src/http/internal.h"

enum { IDLE_MAX = 256 };

static void target_close(sc_target *target)
{
    sc_list_remove(&target->link);
    curl_url_cleanup(target->parsed);
    free(target->url);
    free(target);
}

static sc_target *target_open(sc_http *http, const char *url)
{
    sc_target *target = calloc(1, sizeof *target);
    if (target == NULL)
        return NULL;
    sc_list_init(&target->idle);
    sc_list_push_front(&http->targets, &target->link);
    target->url = strdup(url);
    target->parsed = curl_url();
    if (target->url == NULL || target->parsed == NULL) {
        target_close(target);
        return NULL;
    }
    if (curl_url_set(target->parsed, CURLUPART_URL, url, 0) != CURLUE_OK) {
        curl_url_cleanup(target->parsed);
        target->parsed = NULL; /* libcurl shall say what is wrong with it */
    }
    return target;
}

static sc_target *target_of(sc_http *http, const char *url)
{
    SC_LIST_EACH (link, &http->targets) {
        sc_target *target = SC_CONTAINER(link, sc_target, link);
        if (strcmp(target->url, url) == 0)
            return target;
    }
    return target_open(http, url);
}

static void discard(sc_transfer *transfer)
{
    sc_target *target = transfer->target;
    sc_transfer_close(transfer);
    if (--target->handles == 0)
        target_close(target);
}

static sc_transfer *take_idle(sc_http *http, sc_link *link)
{
    sc_transfer *transfer = SC_CONTAINER(link, sc_transfer, same_url);
    sc_list_remove(&transfer->same_url);
    sc_list_remove(&transfer->link);
    http->idle_count--;
    return transfer;
}

sc_transfer *sc_handles_take(sc_http *http, const char *url)
{
    sc_target *target = target_of(http, url);
    if (target == NULL)
        return NULL;
    if (!sc_list_empty(&target->idle))
        return take_idle(http, target->idle.next);
    sc_transfer *transfer = sc_transfer_open(http, target);
    if (transfer != NULL)
        target->handles++;
    else if (target->handles == 0)
        target_close(target);
    return transfer;
}

void sc_handles_give(sc_http *http, sc_transfer *transfer)
{
    sc_list_push_front(&http->idle, &transfer->link);
    sc_list_push_front(&transfer->target->idle, &transfer->same_url);
    if (++http->idle_count > IDLE_MAX)
        discard(take_idle(http, &SC_CONTAINER(http->idle.prev, sc_transfer, link)->same_url));
}

void sc_handles_close(sc_http *http)
{
    while (!sc_list_empty(&http->idle))
        discard(take_idle(http, &SC_CONTAINER(http->idle.next, sc_transfer, link)->same_url));
}
