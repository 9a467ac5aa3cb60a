#include "server/rpc/accept_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DESCRIPTORS_KEPT = 64, DESCRIPTORS_RAISED_MAX = 1 << 20, TRACKED_MAX = 1 << 16 };

static pthread_mutex_t reserve_lock = PTHREAD_MUTEX_INITIALIZER;
static int             reserve = -1; /* under reserve_lock */

static _Atomic int      descriptor_max = -1; /* numbers from here on are closed; -1: no limit */
static _Atomic uint64_t refused;

/* By descriptor: the mark of the connection that was last accepted on it. A descriptor may have
 * been closed and used again since; then the mark is another one. */
static _Atomic uint64_t accepted[TRACKED_MAX];
static _Atomic uint64_t closed_ports[65536 / 64];

static int accept_now(int listener, struct sockaddr *address, socklen_t *len, int flags)
{
    return (int)syscall(SYS_accept4, listener, address, len, flags);
}

static int reserve_open(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void refuse(int connection)
{
    close(connection);
    atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
}

/* Frees the reserve for the moment that it takes to accept and close one connection. */
static bool drop_one(int listener)
{
    pthread_mutex_lock(&reserve_lock);
    if (reserve >= 0)
        close(reserve);
    int connection = accept_now(listener, NULL, NULL, SOCK_CLOEXEC);
    if (connection >= 0)
        refuse(connection);
    reserve = reserve_open();
    pthread_mutex_unlock(&reserve_lock);
    return connection >= 0;
}

static bool over_limit(int connection)
{
    int limit = atomic_load_explicit(&descriptor_max, memory_order_relaxed);
    return limit >= 0 && connection >= limit;
}

typedef union {
    struct sockaddr         any;
    struct sockaddr_in      four;
    struct sockaddr_in6     six;
    struct sockaddr_storage room;
} address;

static uint64_t mix(uint64_t mark, const address *at, socklen_t len)
{
    const unsigned char *bytes = (const unsigned char *)at;
    for (socklen_t i = 0; i < len; i++)
        mark = (mark ^ bytes[i]) * 0x100000001b3u;
    return mark;
}

/* Both ends of a connection as a number, never 0; 0 for anything else. */
static uint64_t mark_of(int connection, address *local)
{
    address   peer;
    socklen_t local_len = sizeof *local, peer_len = sizeof peer;
    if (getsockname(connection, &local->any, &local_len) != 0 ||
        getpeername(connection, &peer.any, &peer_len) != 0 || local_len > sizeof *local ||
        peer_len > sizeof peer)
        return 0;
    return mix(mix(0xcbf29ce484222325u, local, local_len), &peer, peer_len) | 1;
}

static void track(int connection)
{
    address local;
    if (connection < TRACKED_MAX)
        atomic_store(&accepted[connection], mark_of(connection, &local));
}

static int port_of(const address *local)
{
    return local->any.sa_family == AF_INET    ? ntohs(local->four.sin_port)
           : local->any.sa_family == AF_INET6 ? ntohs(local->six.sin6_port)
                                              : 0;
}

static bool is_port_of(const address *local, const int *ports, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ports[i] == port_of(local))
            return true;
    return local->any.sa_family == AF_UNIX;
}

/* One bit for each port that takes no more connections. */
static void ports_close(const int *ports, size_t count, bool close_them)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t bit = 1ull << (ports[i] & 63);
        if (close_them)
            atomic_fetch_or(&closed_ports[(ports[i] & 0xffff) / 64], bit);
        else
            atomic_fetch_and(&closed_ports[(ports[i] & 0xffff) / 64], ~bit);
    }
}

static bool is_closed(int connection)
{
    address   local;
    socklen_t len = sizeof local;
    if (getsockname(connection, &local.any, &len) != 0)
        return false;
    int port = port_of(&local);
    return (atomic_load(&closed_ports[port / 64]) >> (port & 63) & 1) != 0;
}

void sc_accept_guard_reopen(const int *ports, size_t count)
{
    ports_close(ports, count, false);
}

void sc_accept_guard_hang_up(const int *ports, size_t count)
{
    ports_close(ports, count, true);
    for (int connection = 0; connection < TRACKED_MAX; connection++) {
        uint64_t mark = atomic_load(&accepted[connection]);
        address  local;
        if (mark != 0 && mark_of(connection, &local) == mark && is_port_of(&local, ports, count))
            shutdown(connection, SHUT_RDWR);
    }
}

/* A blocking listener would wait for the connection after the last: it gets one try only. */
static bool may_wait(int listener)
{
    int flags = fcntl(listener, F_GETFL);
    return flags < 0 || (flags & O_NONBLOCK) == 0;
}

/* Under its own name here: the C library declares accept4() with types of its own. */
int sc_accept4(int listener, struct sockaddr *from, socklen_t *len, int flags) __asm__("accept4");

int sc_accept4(int listener, struct sockaddr *from, socklen_t *len, int flags)
{
    socklen_t room = len != NULL ? *len : 0;

    for (;;) {
        if (len != NULL)
            *len = room;
        int connection = accept_now(listener, from, len, flags);
        if (connection >= 0 && !over_limit(connection)) {
            track(connection); /* before the look: of hanging up and this, one sees the other */
            if (!is_closed(connection))
                return connection;
        }
        if (connection >= 0)
            refuse(connection);
        else if (errno != EMFILE && errno != ENFILE)
            return -1;
        else if (!drop_one(listener))
            break;
        if (may_wait(listener))
            break;
    }
    errno = EAGAIN;
    return -1;
}

static int descriptors_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;
    rlim_t most = limit.rlim_max < DESCRIPTORS_RAISED_MAX ? limit.rlim_max : DESCRIPTORS_RAISED_MAX;
    if (limit.rlim_cur < most) {
        struct rlimit raised = {most, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    return limit.rlim_cur < DESCRIPTORS_RAISED_MAX ? (int)limit.rlim_cur : DESCRIPTORS_RAISED_MAX;
}

void sc_accept_guard_open(unsigned connections_max)
{
    int total = descriptors_raise();

    pthread_mutex_lock(&reserve_lock);
    if (reserve < 0)
        reserve = reserve_open();
    pthread_mutex_unlock(&reserve_lock);

    /* The lowest free number is given out, so a number is a count of what is open. */
    int limit = total > 2 * DESCRIPTORS_KEPT ? total - DESCRIPTORS_KEPT : total;
    if (connections_max != 0 && (int64_t)connections_max + DESCRIPTORS_KEPT < limit)
        limit = (int)connections_max + DESCRIPTORS_KEPT;
    atomic_store_explicit(&descriptor_max, limit, memory_order_relaxed);
}

uint64_t sc_accept_guard_refused(void)
{
    return atomic_load_explicit(&refused, memory_order_relaxed);
}
