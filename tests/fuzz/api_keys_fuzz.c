/* The API keys file. What is accepted must keep the promises of its header. */
#include <assert.h>
#include <math.h>
#include <stdint.h>

#include "server/doors/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sc_keys   keys;
    sc_error  error = {0};
    sc_status status = sc_keys_parse((sc_str){(const char *)data, size}, &keys, &error);

    assert(keys.tenants_count <= SC_TENANTS_MAX && keys.keys_count <= SC_KEYS_MAX);
    for (size_t i = 0; i < keys.tenants_count; i++) {
        const sc_tenant_limits *limits = &keys.tenants[i].limits;
        assert(keys.tenants[i].name[0] != '\0' &&
               strlen(keys.tenants[i].name) <= SC_TENANT_BYTES_MAX);
        assert(isfinite(limits->rate) && limits->rate >= 0 && limits->burst >= 1);
        assert(limits->distance_max >= 0 && limits->distance_max <= 2);
        assert(limits->ttl_seconds_max >= 0);
        assert(limits->entries_max <= 1000000000 && limits->bytes_max <= 1000000000000000);
    }
    for (size_t i = 0; i < keys.keys_count; i++) {
        assert(keys.keys[i].tenant < keys.tenants_count);
        assert(keys.keys[i].rights != 0 && (keys.keys[i].rights & ~(unsigned)SC_RIGHT_ALL) == 0);
        assert(strlen(keys.keys[i].san) <= SC_SAN_BYTES_MAX);
    }
    assert(status != SC_OK || error.text[0] == '\0');
    assert(status == SC_OK || error.text[0] != '\0');
    sc_keys_fini(&keys);
    return 0;
}
