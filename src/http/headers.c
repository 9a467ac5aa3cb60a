#include <stdlib.h>

#include "src/http/internal.h"

static bool line_is_clean(const char *line)
{
    for (; *line != '\0'; line++)
        if ((unsigned char)*line < 0x20 || *line == 0x7f)
            return false;
    return true;
}

static bool add(sc_http_headers *headers, const char *line)
{
    struct curl_slist *longer = curl_slist_append(headers->list, line);
    if (longer != NULL)
        headers->list = longer;
    return longer != NULL;
}

sc_status sc_http_headers_make(const char *const *lines, size_t count, sc_http_headers **out)
{
    sc_status        status = SC_NO_MEMORY;
    sc_http_headers *headers = calloc(1, sizeof *headers);
    *out = NULL;
    /* Without this a body over 1 MiB waits up to a second for a "100 Continue". */
    if (headers == NULL || !add(headers, "Expect:"))
        goto out;
    for (size_t i = 0; i < count; i++) {
        if (!line_is_clean(lines[i])) {
            status = SC_INVALID;
            goto out;
        }
        if (!add(headers, lines[i]))
            goto out;
    }
    *out = headers;
    headers = NULL;
    status = SC_OK;
out:
    sc_http_headers_free(headers);
    return status;
}

void sc_http_headers_free(sc_http_headers *headers)
{
    if (headers == NULL)
        return;
    /* They hold keys. */
    for (struct curl_slist *at = headers->list; at != NULL; at = at->next)
        explicit_bzero(at->data, strlen(at->data));
    curl_slist_free_all(headers->list);
    free(headers);
}

size_t sc_http_headers_count(const sc_http_headers *headers)
{
    size_t count = 0;
    for (const struct curl_slist *at = headers->list; at != NULL; at = at->next)
        count++;
    return count;
}
