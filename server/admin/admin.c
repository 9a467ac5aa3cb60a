#include "server/admin/admin.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECTIONS_MAX = 32, TIMEOUT_SECONDS = 10, METRICS_BYTES_MAX = 4 << 20, WHY_BYTES_MAX = 4096 };

#define FIELD(member) SC_SETTING_FIELD(sc_admin_options, member)

static const sc_setting rows[] = {
    {"ADMIN_LISTEN", SC_SETTING_TEXT, FIELD(listen), 0, 0, NULL, "", NULL,
     "Address of the HTTP port with /metrics, /ready and /live, e.g. 127.0.0.1:50052; absent: none."},
    {"ADMIN_INSECURE_LISTEN", SC_SETTING_BOOL, FIELD(listen_insecure), 0, 0, "false", "", NULL,
     "Allows ADMIN_LISTEN on an address that other machines can reach; there is no login."},
};

const sc_setting_table sc_admin_settings = {"Admin", rows, sizeof rows / sizeof rows[0]};

struct sc_admin {
    sc_admin_source    source;
    struct MHD_Daemon *daemon;
};

/* ---- the address ---- */

typedef union {
    struct sockaddr     any;
    struct sockaddr_in  four;
    struct sockaddr_in6 six;
} address;

static bool port_read(const char *text, in_port_t *port)
{
    char *end;
    long  value = strtol(text, &end, 10);
    *port = htons((uint16_t)value);
    return end != text && *end == '\0' && value >= 0 && value <= 65535;
}

/* "1.2.3.4:80" or "[::1]:80". */
static bool address_read(const char *text, address *out)
{
    char        host[64];
    const char *colon = strrchr(text, ':');
    size_t      len = colon != NULL ? (size_t)(colon - text) : 0;
    bool        six = len >= 2 && text[0] == '[' && text[len - 1] == ']';

    memset(out, 0, sizeof *out);
    if (len == 0 || len >= sizeof host)
        return false;
    memcpy(host, six ? text + 1 : text, six ? len - 2 : len);
    host[six ? len - 2 : len] = '\0';
    out->any.sa_family = six ? AF_INET6 : AF_INET;
    if (six)
        return inet_pton(AF_INET6, host, &out->six.sin6_addr) == 1 &&
               port_read(colon + 1, &out->six.sin6_port);
    return inet_pton(AF_INET, host, &out->four.sin_addr) == 1 &&
           port_read(colon + 1, &out->four.sin_port);
}

static bool is_local(const address *at)
{
    return at->any.sa_family == AF_INET6 ? IN6_IS_ADDR_LOOPBACK(&at->six.sin6_addr)
                                         : ntohl(at->four.sin_addr.s_addr) >> 24 == 127;
}

/* ---- answers ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code, const char *type,
                              const sc_buf *body)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        body->len, body->len != 0 ? body->data : (void *)(uintptr_t) "", MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned code, const char *text)
{
    sc_buf body;
    sc_buf_init(&body, WHY_BYTES_MAX);
    sc_buf_printf(&body, "%s\n", text);
    enum MHD_Result result = answer(connection, code, "text/plain; charset=utf-8", &body);
    sc_buf_fini(&body);
    return result;
}

static enum MHD_Result answer_metrics(const sc_admin *admin, struct MHD_Connection *connection)
{
    sc_buf body;
    sc_buf_init(&body, METRICS_BYTES_MAX);
    admin->source.metrics(admin->source.context, &body);
    enum MHD_Result result =
        body.failed != SC_OK
            ? answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "too many metrics")
            : answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &body);
    sc_buf_fini(&body);
    return result;
}

static enum MHD_Result answer_ready(const sc_admin *admin, struct MHD_Connection *connection)
{
    sc_buf why;
    sc_buf_init(&why, WHY_BYTES_MAX);
    bool            ready = admin->source.ready(admin->source.context, &why);
    enum MHD_Result result =
        ready ? answer_text(connection, MHD_HTTP_OK, "ready")
              : answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                            why.len != 0 ? why.data : "not ready");
    sc_buf_fini(&why);
    return result;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_len, void **request)
{
    static int      seen;
    const sc_admin *admin = context;

    (void)version;
    (void)upload;
    if (*request == NULL) { /* the first call comes with the header alone */
        *request = &seen;
        return MHD_YES;
    }
    if (*upload_len != 0) { /* nobody wants a body */
        *upload_len = 0;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only");
    if (strcmp(url, "/metrics") == 0)
        return answer_metrics(admin, connection);
    if (strcmp(url, "/ready") == 0)
        return answer_ready(admin, connection);
    if (strcmp(url, "/live") == 0)
        return answer_text(connection, MHD_HTTP_OK, "live");
    return answer_text(connection, MHD_HTTP_NOT_FOUND, "/metrics /ready /live");
}

/* ---- open ---- */

sc_status sc_admin_open(const sc_admin_options *options, const sc_admin_source *source,
                        sc_admin **out, sc_error *error)
{
    address at;

    *out = NULL;
    if (options->listen == NULL)
        return SC_OK;
    if (!address_read(options->listen, &at))
        return sc_fail(error, SC_INVALID, "ADMIN_LISTEN: %s is not ipv4:port or [ipv6]:port",
                       options->listen);
    if (!is_local(&at) && !options->listen_insecure)
        return sc_fail(error, SC_INVALID,
                       "ADMIN_LISTEN: %s can be reached by others; ADMIN_INSECURE_LISTEN=true allows it",
                       options->listen);
    sc_admin *admin = calloc(1, sizeof *admin);
    if (admin == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory for the admin port");
    admin->source = *source;
    unsigned flags = MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD;
    if (at.any.sa_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    admin->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, handle, admin, MHD_OPTION_SOCK_ADDR, &at.any,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)TIMEOUT_SECONDS, MHD_OPTION_LISTENING_ADDRESS_REUSE, 0u, MHD_OPTION_END);
    if (admin->daemon == NULL) {
        free(admin);
        return sc_fail(error, SC_UNAVAILABLE,
                       "ADMIN_LISTEN: cannot listen on %s (in use, or not an address of this machine)",
                       options->listen);
    }
    *out = admin;
    return SC_OK;
}

void sc_admin_close(sc_admin *admin)
{
    if (admin == NULL)
        return;
    MHD_stop_daemon(admin->daemon);
    free(admin);
}

int sc_admin_port(const sc_admin *admin)
{
    if (admin == NULL)
        return 0;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(admin->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info != NULL ? info->port : 0;
}
