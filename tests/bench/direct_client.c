/* The reference for what the cache adds to a miss: the upstream asked without it.
 *
 * Sends the chat completion that the cache would send, over plain sockets, and takes the time until
 * the whole reply is there. One thread, epoll, no library: what remains is the upstream's own time,
 * the lateness of its timers and the waits for a processor.
 * usage: direct_client PORT CALLERS RATE SECONDS
 *   RATE 0: each caller asks again when it has its answer; otherwise questions per second, due at
 *   fixed times, with at most CALLERS under way. Prints {"p50_us":..,"p99_us":..,"questions":..} */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "src/base/clock.h"

enum { CALLERS_MAX = 4096, REPLY_BYTES_MAX = 16384, SAMPLES_MAX = 1 << 20, EVENTS = 64 };

typedef struct {
    int        fd;
    sc_instant due;
    size_t     used;
    char       reply[REPLY_BYTES_MAX];
} caller;

static caller   *callers, *idle[CALLERS_MAX];
static unsigned  idle_count;
static int64_t   samples[SAMPLES_MAX];
static size_t    samples_count;
static sc_instant end;

static void give_up(const char *what)
{
    perror(what);
    exit(1);
}

static int dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int                fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        give_up("connect");
    return fd;
}

static void ask(caller *c, sc_instant due)
{
    static unsigned number;
    char            body[256], message[512];
    int             len = snprintf(body, sizeof body,
                                   "{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"user\",\"content\":"
                                   "\"Sample asks for article %u\"}],\"temperature\":0}", ++number);
    len = snprintf(message, sizeof message,
                   "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                   "Authorization: Bearer bench\r\nContent-Type: application/json\r\n"
                   "Content-Length: %d\r\n\r\n%s", len, body);
    c->due = due;
    c->used = 0;
    if (write(c->fd, message, (size_t)len) != len)
        give_up("write");
}

/* True when the whole reply is there. */
static bool read_some(caller *c)
{
    ssize_t n = read(c->fd, c->reply + c->used, REPLY_BYTES_MAX - 1 - c->used);
    if (n <= 0)
        give_up("read");
    c->used += (size_t)n;
    c->reply[c->used] = '\0';
    const char *head_end = strstr(c->reply, "\r\n\r\n");
    const char *length = strcasestr(c->reply, "content-length:");
    return head_end != NULL && length != NULL && length < head_end &&
           c->used >= (size_t)(head_end + 4 - c->reply) + strtoul(length + 15, NULL, 10);
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void report(void)
{
    qsort(samples, samples_count, sizeof *samples, compare);
    if (samples_count == 0)
        exit(1);
    printf("{\"p50_us\":%.1f,\"p99_us\":%.1f,\"questions\":%zu}\n",
           (double)samples[samples_count / 2] / 1e3,
           (double)samples[samples_count * 99 / 100] / 1e3, samples_count);
}

static void answered(caller *c)
{
    sc_instant now = sc_now();
    if (samples_count < SAMPLES_MAX)
        samples[samples_count++] = now.ns - c->due.ns;
    idle[idle_count++] = c;
}

/* The callers who are due; gives when the next one is. */
static sc_instant ask_due(sc_instant next, int64_t gap_ns)
{
    sc_instant now = sc_now();
    while (idle_count != 0 && next.ns <= now.ns && now.ns < end.ns) {
        ask(idle[--idle_count], gap_ns == 0 ? sc_now() : next);
        next.ns += gap_ns;
    }
    return next;
}

static void wake_at(int timer, sc_instant at)
{
    struct itimerspec when = {.it_value = {(time_t)(at.ns / 1000000000), (long)(at.ns % 1000000000)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void watch(int poll, int fd, void *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) != 0)
        give_up("epoll_ctl");
}

static void run(int poll, int timer, unsigned count, int64_t gap_ns)
{
    struct epoll_event events[EVENTS];
    sc_instant         next = sc_now();
    for (;;) {
        next = ask_due(next, gap_ns);
        bool over = sc_now().ns >= end.ns;
        if (over && idle_count == count)
            return;
        wake_at(timer, over || idle_count == 0 ? SC_INSTANT_NEVER : next);
        int n = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < n; i++)
            if (events[i].data.ptr != NULL && read_some(events[i].data.ptr))
                answered(events[i].data.ptr);
    }
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    unsigned count = (unsigned)strtoul(argv[2], NULL, 10);
    double   rate = strtod(argv[3], NULL);
    int      poll = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, 0);
    callers = calloc(count, sizeof *callers);
    if (count == 0 || count > CALLERS_MAX || callers == NULL || poll < 0 || timer < 0)
        return 1;
    for (unsigned i = 0; i < count; i++) {
        callers[i].fd = dial((int)strtol(argv[1], NULL, 10));
        watch(poll, callers[i].fd, &callers[i]);
        idle[idle_count++] = &callers[i];
    }
    watch(poll, timer, NULL);
    end = sc_instant_after_ms(sc_now(), (int64_t)(1000 * strtod(argv[4], NULL)));
    run(poll, timer, count, rate > 0 ? (int64_t)(1e9 / rate) : 0);
    report();
    return 0;
}
