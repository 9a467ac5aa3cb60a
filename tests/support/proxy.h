/* proxy.h - a TCP proxy for one test: stands between two parts, and cuts, delays or garbles what they say.
 *
 * One thread with poll(2). Its chance comes from a seed, so a failing run can be run again; the moments
 * at which bytes arrive are the machine's. Functions may be called from any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct sc_proxy sc_proxy;

/* How it behaves, from the next bytes on. */
typedef struct {
    int64_t  delay_ms;       /* of every piece, in both directions */
    unsigned cut_percent;    /* of pieces: the connection ends in the middle of one, in both directions */
    unsigned garble_percent; /* of pieces: one bit of one byte is turned over */
    bool     away;           /* connections end, and new ones are closed at once */
    bool     silent;         /* connections stay and come, nothing gets through: a partition */
} sc_proxy_ways;

/* Listens on a free port of loopback and connects each caller to 127.0.0.1:port. */
sc_proxy *sc_proxy_start(int port, uint64_t seed);

/* NULL is welcome. */
void sc_proxy_stop(sc_proxy *proxy);

int  sc_proxy_port(const sc_proxy *proxy);
void sc_proxy_behave(sc_proxy *proxy, const sc_proxy_ways *ways); /* NULL: lets everything through */

typedef struct {
    uint64_t connections, cut, garbled;
    uint64_t bytes;
} sc_proxy_counters;

void sc_proxy_look(sc_proxy *proxy, sc_proxy_counters *out);
