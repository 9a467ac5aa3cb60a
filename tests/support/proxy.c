/* A connection is two pipes, one each way. A pipe holds at most one piece: it is not read again before
 * that is written, so a slow reader slows the writer down, as without a proxy. */
#include "tests/support/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/base/clock.h"

enum { LINKS_MAX = 128, PIECE_BYTES = 16384, TICK_MS = 5 };

typedef struct {
    char       bytes[PIECE_BYTES];
    size_t     at, len;
    sc_instant due;  /* not written before */
    bool       ends; /* after this piece the connection is cut */
    bool       shut; /* the writer has nothing more to say */
} pipe_way;

typedef struct {
    int      fds[2]; /* the caller, the called; -1, -1: free */
    pipe_way ways[2]; /* from fds[0] to fds[1], and back */
} link_pair;

struct sc_proxy {
    /* Fixed by start. */
    int       listener, port, target;
    pthread_t thread;

    pthread_mutex_t lock;
    /* Under lock. */
    sc_proxy_ways     behaviour;
    sc_proxy_counters counters;
    bool              stop;

    /* The thread's. */
    uint64_t  random;
    link_pair links[LINKS_MAX];
};

static void stop_test(const char *what)
{
    fprintf(stderr, "tests/support/proxy: %s: %s\n", what, strerror(errno));
    abort();
}

/* xorshift64*: the proxy's own, since a run is to be repeated by its seed. */
static unsigned percent(sc_proxy *proxy)
{
    uint64_t x = proxy->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    proxy->random = x;
    return (unsigned)((x * 0x2545F4914F6CDD1DULL) >> 33) % 100;
}

static int listen_on_loopback(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof address;
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        stop_test("listen");
    *port = ntohs(address.sin_port);
    return fd;
}

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void end(link_pair *pair)
{
    for (int side = 0; side < 2; side++)
        if (pair->fds[side] >= 0)
            close(pair->fds[side]);
    pair->fds[0] = pair->fds[1] = -1;
}

static void take_caller(sc_proxy *proxy, const sc_proxy_ways *how)
{
    int one = 1, fd = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    link_pair *free_pair = NULL;
    for (size_t i = 0; i < LINKS_MAX && free_pair == NULL; i++)
        if (proxy->links[i].fds[0] < 0)
            free_pair = &proxy->links[i];
    int called = how->away || free_pair == NULL ? -1 : connect_to(proxy->target);
    if (called < 0) {
        close(fd);
        return;
    }
    memset(free_pair->ways, 0, sizeof free_pair->ways);
    free_pair->fds[0] = fd;
    free_pair->fds[1] = called;
    pthread_mutex_lock(&proxy->lock);
    proxy->counters.connections++;
    pthread_mutex_unlock(&proxy->lock);
}

static void spoil(sc_proxy *proxy, const sc_proxy_ways *how, pipe_way *way)
{
    bool garble = percent(proxy) < how->garble_percent;
    way->ends = percent(proxy) < how->cut_percent;
    way->due = sc_instant_after_ms(sc_now(), how->delay_ms);
    if (garble)
        way->bytes[way->len * percent(proxy) / 100] ^= (char)(1 << percent(proxy) % 7);
    if (way->ends)
        way->len = way->len * percent(proxy) / 100;
    pthread_mutex_lock(&proxy->lock);
    proxy->counters.garbled += garble;
    proxy->counters.cut += way->ends;
    proxy->counters.bytes += way->len;
    pthread_mutex_unlock(&proxy->lock);
}

/* False: the connection is over. */
static bool read_piece(sc_proxy *proxy, const sc_proxy_ways *how, pipe_way *way, int from, int to)
{
    ssize_t got = read(from, way->bytes, sizeof way->bytes);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    way->at = 0;
    way->len = (size_t)got;
    if (got == 0) {
        way->shut = true;
        shutdown(to, SHUT_WR);
        return true;
    }
    spoil(proxy, how, way);
    return true;
}

static bool write_piece(pipe_way *way, int to)
{
    while (way->at < way->len) {
        ssize_t put = send(to, way->bytes + way->at, way->len - way->at, MSG_NOSIGNAL);
        if (put < 0)
            return errno == EAGAIN || errno == EINTR;
        way->at += (size_t)put;
    }
    return !way->ends;
}

static bool is_due(const pipe_way *way, sc_instant now)
{
    return !sc_instant_before(now, way->due);
}

/* Moves what can be moved. False: the connection is over. */
static bool move(sc_proxy *proxy, const sc_proxy_ways *how, link_pair *pair)
{
    sc_instant now = sc_now();
    for (int side = 0; side < 2; side++) {
        pipe_way *way = &pair->ways[side];
        if (way->at == way->len && !way->ends && !way->shut &&
            !read_piece(proxy, how, way, pair->fds[side], pair->fds[1 - side]))
            return false;
        if ((way->at < way->len || way->ends) && is_due(way, now) && !write_piece(way, pair->fds[1 - side]))
            return false;
    }
    return !(pair->ways[0].shut && pair->ways[1].shut);
}

static short wants(const link_pair *pair, int side, sc_instant now)
{
    const pipe_way *out = &pair->ways[side], *in = &pair->ways[1 - side];
    short           events = 0;
    if (out->at == out->len && !out->shut)
        events |= POLLIN;
    if (in->at < in->len && is_due(in, now))
        events |= POLLOUT;
    return events;
}

static void wait_for_events(sc_proxy *proxy, bool silent)
{
    struct pollfd fds[1 + 2 * LINKS_MAX] = {{.fd = proxy->listener, .events = POLLIN}};
    nfds_t        count = 1;
    sc_instant    now = sc_now();
    for (size_t i = 0; i < LINKS_MAX && !silent; i++)
        for (int side = 0; side < 2 && proxy->links[i].fds[0] >= 0; side++)
            fds[count++] = (struct pollfd){.fd = proxy->links[i].fds[side],
                                           .events = wants(&proxy->links[i], side, now)};
    poll(fds, count, TICK_MS);
    /* poll() tells of a hang-up for ever, even when nothing is wanted. */
    for (nfds_t i = 1; i < count; i++)
        if ((fds[i].revents & (POLLHUP | POLLERR)) != 0 && (fds[i].revents & POLLIN) == 0)
            usleep(200);
}

static void *serve(void *arg)
{
    sc_proxy *proxy = arg;
    for (bool stop = false; !stop;) {
        pthread_mutex_lock(&proxy->lock);
        sc_proxy_ways how = proxy->behaviour;
        stop = proxy->stop;
        pthread_mutex_unlock(&proxy->lock);
        wait_for_events(proxy, how.silent);
        take_caller(proxy, &how);
        for (size_t i = 0; i < LINKS_MAX; i++) {
            link_pair *pair = &proxy->links[i];
            if (pair->fds[0] >= 0 && (how.away || (!how.silent && !move(proxy, &how, pair))))
                end(pair);
        }
    }
    return NULL;
}

sc_proxy *sc_proxy_start(int port, uint64_t seed)
{
    sc_proxy *proxy = calloc(1, sizeof *proxy);
    if (proxy == NULL)
        stop_test("calloc");
    for (size_t i = 0; i < LINKS_MAX; i++)
        proxy->links[i].fds[0] = proxy->links[i].fds[1] = -1;
    proxy->target = port;
    proxy->random = seed | 1;
    proxy->listener = listen_on_loopback(&proxy->port);
    pthread_mutex_init(&proxy->lock, NULL);
    if (pthread_create(&proxy->thread, NULL, serve, proxy) != 0)
        stop_test("thread");
    return proxy;
}

void sc_proxy_stop(sc_proxy *proxy)
{
    if (proxy == NULL)
        return;
    pthread_mutex_lock(&proxy->lock);
    proxy->stop = true;
    pthread_mutex_unlock(&proxy->lock);
    pthread_join(proxy->thread, NULL);
    for (size_t i = 0; i < LINKS_MAX; i++)
        end(&proxy->links[i]);
    close(proxy->listener);
    pthread_mutex_destroy(&proxy->lock);
    free(proxy);
}

int sc_proxy_port(const sc_proxy *proxy)
{
    return proxy->port;
}

void sc_proxy_behave(sc_proxy *proxy, const sc_proxy_ways *ways)
{
    static const sc_proxy_ways honest;
    pthread_mutex_lock(&proxy->lock);
    proxy->behaviour = ways == NULL ? honest : *ways;
    pthread_mutex_unlock(&proxy->lock);
}

void sc_proxy_look(sc_proxy *proxy, sc_proxy_counters *out)
{
    pthread_mutex_lock(&proxy->lock);
    *out = proxy->counters;
    pthread_mutex_unlock(&proxy->lock);
}
