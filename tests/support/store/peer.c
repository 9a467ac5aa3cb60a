#include "tests/support/store/peer.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CALLERS_MAX = 64, LOOK_MS = 20, OUT_BYTES_MAX = 1 << 24 };

typedef struct {
    int          fd; /* -1: free */
    redisReader *reader;
} caller;

struct sc_test_peer {
    sc_test_peer_script script;
    void               *context;
    int                 listener;
    char                url[64];
    pthread_t           thread;
    atomic_bool         stopping;
    caller              callers[CALLERS_MAX];
};

static void hang_up(caller *of)
{
    close(of->fd);
    redisReaderFree(of->reader);
    *of = (caller){.fd = -1};
}

static void pick_up(sc_test_peer *peer)
{
    int fd = accept(peer->listener, NULL, NULL);
    for (size_t i = 0; fd >= 0 && i < CALLERS_MAX; i++)
        if (peer->callers[i].fd < 0) {
            peer->callers[i] = (caller){fd, redisReaderCreate()};
            return;
        }
    if (fd >= 0)
        close(fd);
}

static bool say(int fd, sc_str bytes)
{
    while (bytes.len != 0) {
        ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes = (sc_str){bytes.ptr + sent, bytes.len - (size_t)sent};
    }
    return true;
}

static bool answer_all(sc_test_peer *peer, const caller *of)
{
    bool   good = true;
    void  *command = NULL;
    sc_buf out;

    sc_buf_init(&out, OUT_BYTES_MAX);
    while (good && redisReaderGetReply(of->reader, &command) == REDIS_OK && command != NULL) {
        good = peer->script(peer->context, command, &out) == SC_PEER_GO_ON;
        freeReplyObject(command);
    }
    good = say(of->fd, sc_buf_view(&out)) && good;
    sc_buf_fini(&out);
    return good;
}

static void listen_to(sc_test_peer *peer, caller *of)
{
    char    bytes[16384];
    ssize_t got = recv(of->fd, bytes, sizeof bytes, 0);

    if (got <= 0 || redisReaderFeed(of->reader, bytes, (size_t)got) != REDIS_OK ||
        !answer_all(peer, of))
        hang_up(of);
}

static void *serve(void *argument)
{
    sc_test_peer *peer = argument;
    struct pollfd watched[CALLERS_MAX + 1];

    while (!atomic_load(&peer->stopping)) {
        for (size_t i = 0; i < CALLERS_MAX; i++)
            watched[i] = (struct pollfd){.fd = peer->callers[i].fd, .events = POLLIN};
        watched[CALLERS_MAX] = (struct pollfd){.fd = peer->listener, .events = POLLIN};
        if (poll(watched, CALLERS_MAX + 1, LOOK_MS) <= 0)
            continue;
        for (size_t i = 0; i < CALLERS_MAX; i++)
            if (watched[i].revents != 0)
                listen_to(peer, &peer->callers[i]);
        if (watched[CALLERS_MAX].revents != 0)
            pick_up(peer);
    }
    return NULL;
}

sc_test_peer *sc_test_peer_start(sc_test_peer_script script, void *context)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof address;
    sc_test_peer      *peer = calloc(1, sizeof *peer);

    if (peer == NULL)
        abort();
    peer->script = script;
    peer->context = context;
    for (size_t i = 0; i < CALLERS_MAX; i++)
        peer->callers[i].fd = -1;
    peer->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(peer->listener, (struct sockaddr *)&address, len) != 0 ||
        listen(peer->listener, CALLERS_MAX) != 0 ||
        getsockname(peer->listener, (struct sockaddr *)&address, &len) != 0)
        abort();
    snprintf(peer->url, sizeof peer->url, "redis://127.0.0.1:%u", ntohs(address.sin_port));
    if (pthread_create(&peer->thread, NULL, serve, peer) != 0)
        abort();
    return peer;
}

void sc_test_peer_stop(sc_test_peer *peer)
{
    atomic_store(&peer->stopping, true);
    pthread_join(peer->thread, NULL);
    for (size_t i = 0; i < CALLERS_MAX; i++)
        if (peer->callers[i].fd >= 0)
            hang_up(&peer->callers[i]);
    close(peer->listener);
    free(peer);
}

const char *sc_test_peer_url(const sc_test_peer *peer)
{
    return peer->url;
}

bool sc_test_peer_is(const redisReply *command, const char *name)
{
    return command->type == REDIS_REPLY_ARRAY && command->elements != 0 &&
           command->element[0]->type == REDIS_REPLY_STRING &&
           strcasecmp(command->element[0]->str, name) == 0;
}
