#include "server/rpc/health.h"

#include <stdlib.h>

#include "proto/grpc/health/v1/health.pb-c.h"
#include "server/rpc/core.h"
#include "src/base/list.h"

/* A quarter of the places at most for one address: none can keep all others from watching. By
 * address, because connections cost a peer nothing; not fewer, because a proxy speaks for many. */
enum { SERVICES_MAX = 8, WATCHERS_MAX = 1024, WATCHERS_OF_ONE_MAX = 256, UNKNOWN = -1 };
enum { ADDRESS_BYTES = 80 };

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;

struct sc_health {
    /* Fixed by open. */
    const char *services[SERVICES_MAX]; /* [services_count], "" first */
    size_t      services_count;

    pthread_mutex_t lock; /* before a call's lock */
    /* Under lock. */
    bool     serving;
    bool     draining; /* not serving, whatever is set */
    bool     closed;   /* no more watchers */
    sc_link  watchers;
    unsigned watchers_count;
};

typedef struct {
    sc_link        link;
    sc_rpc_call   *call;
    int            service; /* UNKNOWN: answered SERVICE_UNKNOWN, and kept open */
    serving_status sent;    /* under the lock of health */
    char           address[ADDRESS_BYTES]; /* of the caller, without its port */
} watcher;

static sc_health *health_of(const sc_rpc_call *call)
{
    return call->method->shown.context;
}

/* Under lock. */
static serving_status status_now(const sc_health *health, int service)
{
    if (service == UNKNOWN)
        return GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    return health->serving && !health->draining
               ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
               : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
}

/* False when the request cannot be read. */
static bool service_asked(const sc_health *health, sc_str request, int *service)
{
    Grpc__Health__V1__HealthCheckRequest *asked = grpc__health__v1__health_check_request__unpack(
        NULL, request.len, (const uint8_t *)request.ptr);
    if (asked == NULL)
        return false;
    *service = UNKNOWN;
    for (size_t i = 0; i < health->services_count; i++)
        if (strcmp(asked->service, health->services[i]) == 0)
            *service = (int)i;
    grpc__health__v1__health_check_request__free_unpacked(asked, NULL);
    return true;
}

static void check(sc_rpc_call *call, sc_str request, void *context)
{
    sc_health *health = context;
    Grpc__Health__V1__HealthCheckResponse response =
        GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    int service;

    if (!service_asked(health, request, &service)) {
        sc_rpc_fail(call, SC_INVALID, "not a HealthCheckRequest", 0);
        return;
    }
    if (service == UNKNOWN) {
        sc_rpc_fail(call, SC_NOT_FOUND, "unknown service", 0);
        return;
    }
    pthread_mutex_lock(&health->lock);
    response.status = status_now(health, service);
    pthread_mutex_unlock(&health->lock);
    sc_rpc_reply_message(call, &response.base);
}

/* Under lock. A watcher whose last message is still on its way is told afterwards, by `sent`:
 * only the newest status matters. */
static void watcher_tell(const sc_health *health, watcher *w)
{
    Grpc__Health__V1__HealthCheckResponse response =
        GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    response.status = status_now(health, w->service);
    if (response.status != w->sent && rpc_stream_send(w->call, &response.base))
        w->sent = response.status;
}

static void address_of(const sc_rpc_call *call, char out[ADDRESS_BYTES])
{
    sc_rpc_peer(call, out, ADDRESS_BYTES);
    char *port = strrchr(out, ':');
    if (port != NULL)
        *port = '\0';
}

/* Under lock. */
static bool has_place(const sc_health *health, const char *address)
{
    unsigned of_one = 0;
    SC_LIST_EACH (at, &health->watchers)
        of_one += strcmp(SC_CONTAINER(at, watcher, link)->address, address) == 0;
    return !health->closed && health->watchers_count < WATCHERS_MAX && of_one < WATCHERS_OF_ONE_MAX;
}

/* Under lock. */
static watcher *watcher_add(sc_health *health, sc_rpc_call *call, int service)
{
    char address[ADDRESS_BYTES];
    address_of(call, address);
    watcher *w = has_place(health, address) ? calloc(1, sizeof *w) : NULL;
    if (w == NULL)
        return NULL;
    memcpy(w->address, address, sizeof address);
    w->call = call;
    w->service = service;
    w->sent = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__UNKNOWN;
    sc_list_push_back(&health->watchers, &w->link);
    health->watchers_count++;
    call->context = w;
    return w;
}

static void watch(sc_rpc_call *call, sc_str request, void *context)
{
    sc_health *health = context;
    int        service;

    if (!service_asked(health, request, &service)) {
        rpc_stream_finish(call, SC_INVALID, "not a HealthCheckRequest");
        return;
    }
    pthread_mutex_lock(&health->lock);
    bool     closed = health->closed;
    watcher *w = watcher_add(health, call, service);
    if (w != NULL)
        watcher_tell(health, w);
    pthread_mutex_unlock(&health->lock);
    if (w == NULL && closed)
        rpc_stream_finish(call, SC_UNAVAILABLE, "the server is stopping");
    else if (w == NULL)
        rpc_stream_finish(call, SC_BUSY, "too many watchers");
}

static void watch_sent(sc_rpc_call *call)
{
    sc_health *health = health_of(call);
    if (call->context == NULL)
        return;
    pthread_mutex_lock(&health->lock);
    watcher_tell(health, call->context);
    pthread_mutex_unlock(&health->lock);
}

static void watch_over(sc_rpc_call *call)
{
    sc_health *health = health_of(call);
    watcher   *w = call->context;
    if (w == NULL)
        return;
    pthread_mutex_lock(&health->lock);
    sc_list_remove(&w->link);
    health->watchers_count--;
    pthread_mutex_unlock(&health->lock);
    call->context = NULL;
    free(w);
}

static void tell_all(sc_health *health)
{
    SC_LIST_EACH (at, &health->watchers)
        watcher_tell(health, SC_CONTAINER(at, watcher, link));
}

void sc_health_set(sc_health *health, bool serving)
{
    pthread_mutex_lock(&health->lock);
    health->serving = serving;
    tell_all(health);
    pthread_mutex_unlock(&health->lock);
}

/* Streams that stay open would hold the server until its grace period ends. */
static void health_drain(void *context, rpc_phase phase)
{
    sc_health *health = context;

    pthread_mutex_lock(&health->lock);
    health->draining = true;
    tell_all(health);
    if (phase == RPC_REFUSING) {
        health->closed = true;
        SC_LIST_EACH (at, &health->watchers)
            rpc_stream_finish(SC_CONTAINER(at, watcher, link)->call, SC_UNAVAILABLE,
                              "the server is stopping");
    }
    pthread_mutex_unlock(&health->lock);
}

sc_status sc_health_open(sc_rpc *rpc, const char *const *services, size_t count, sc_health **out)
{
    static const rpc_stream_hooks hooks = {.sent = watch_sent, .over = watch_over};

    *out = NULL;
    if (count >= SERVICES_MAX)
        return SC_TOO_LARGE;
    sc_health *health = calloc(1, sizeof *health);
    if (health == NULL)
        return SC_NO_MEMORY;
    pthread_mutex_init(&health->lock, NULL);
    sc_list_init(&health->watchers);
    health->services[health->services_count++] = "";
    for (size_t i = 0; i < count; i++)
        health->services[health->services_count++] = services[i];
    rpc->on_drain = health_drain;
    rpc->on_drain_context = health;

    const sc_rpc_method checks = {
        .path = "/grpc.health.v1.Health/Check", .handle = check, .context = health, .unlimited = true};
    const sc_rpc_method watches = {.path = "/grpc.health.v1.Health/Watch",
                                   .handle = watch,
                                   .context = health,
                                   .unlimited = true,
                                   .endless = true};
    sc_status status = sc_rpc_serve(rpc, &checks);
    if (status == SC_OK)
        status = rpc_serve_shape(rpc, &watches, RPC_SERVER_STREAM, &hooks);
    if (status != SC_OK) {
        rpc->on_drain = NULL;
        sc_health_close(health);
        health = NULL;
    }
    *out = health;
    return status;
}

void sc_health_close(sc_health *health)
{
    if (health == NULL)
        return;
    pthread_mutex_destroy(&health->lock);
    free(health);
}
