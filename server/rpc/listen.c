#include "server/rpc/listen.h"

#include <arpa/inet.h>

static bool starts_with(sc_str text, sc_str start)
{
    return text.len >= start.len && memcmp(text.ptr, start.ptr, start.len) == 0;
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

bool rpc_listen_next(sc_str *list, sc_str *address)
{
    while (list->len != 0 && (*list->ptr == ',' || is_blank(*list->ptr))) {
        list->ptr++;
        list->len--;
    }
    if (list->len == 0)
        return false;
    const char *comma = memchr(list->ptr, ',', list->len);
    size_t      len = comma != NULL ? (size_t)(comma - list->ptr) : list->len;
    *address = (sc_str){list->ptr, len};
    list->ptr += len;
    list->len -= len;
    while (is_blank(address->ptr[address->len - 1]))
        address->len--;
    return true;
}

/* The part before the last colon, without brackets. */
static bool host_of(sc_str address, char *out, size_t room)
{
    const char *colon = memrchr(address.ptr, ':', address.len);
    if (colon == NULL)
        return false;
    sc_str host = {address.ptr, (size_t)(colon - address.ptr)};
    if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
        host = (sc_str){host.ptr + 1, host.len - 2};
    if (host.len == 0 || host.len >= room)
        return false;
    memcpy(out, host.ptr, host.len);
    out[host.len] = '\0';
    return true;
}

bool rpc_listen_is_local(sc_str address)
{
    char            host[64];
    struct in_addr  four;
    struct in6_addr six;

    if (starts_with(address, SC_STR("unix:")) || starts_with(address, SC_STR("unix-abstract:")))
        return true;
    if (!host_of(address, host, sizeof host))
        return false;
    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &four) == 1)
        return (ntohl(four.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}
