/* REDIS_URL: what is taken must be whole, and an error must not repeat a password. */
#include <stdlib.h>
#include <string.h>

#include "src/store/redis/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sc_redis_url url;
    sc_error     error = {0};

    if (sc_redis_url_parse((sc_str){(const char *)data, size}, &url, &error) == SC_OK) {
        if (url.host[0] == '\0' || url.port == 0 || strlen(url.host) >= sizeof url.host ||
            (url.user[0] != '\0' && url.password[0] == '\0'))
            abort();
    } else if (strncmp(error.text, "REDIS_URL: ", 11) != 0) {
        abort();
    }
    return 0;
}
