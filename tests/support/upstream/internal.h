/* internal.h - what the upstream's files share. */
#pragma once

#include <jansson.h>
#include <pthread.h>
#include <uv.h>

#include "src/base/buf.h"
#include "src/base/list.h"
#include "src/base/status.h"
#include "src/base/str.h"
#include "tests/support/upstream/upstream.h"

enum { WORD = 48 };

typedef struct {
    int64_t  delay_ms, jitter_ms;
    int      http_status;
    int64_t  retry_after_s, retry_after_ms; /* -1: no header */
    char     fault[WORD];
    int64_t  times;
    unsigned dim;
    bool     floats;
    bool     has_answer;
    char     answer[4096];
    int64_t  answer_bytes;
    char     finish_reason[WORD];
    char     model[WORD];
    bool     no_usage;
    int64_t  chunk_ms;
    int64_t  cut_after;
    int64_t  huge_bytes;
} script;

typedef struct {
    char  *text, *to;
    double distance;
} alias;

typedef struct {
    char *path, *headers, *body;
} last_call;

struct sc_upstream {
    /* Fixed by start. */
    sc_upstream_options options;
    char                url[64];
    int                 port;
    pthread_t           thread;

    pthread_mutex_t lock;
    /* Under lock. */
    script               scripts[2];
    alias               *aliases;
    size_t               aliases_count;
    char                 key[256];
    sc_upstream_counters counters;
    last_call            last[2];

    /* The thread only. */
    uv_loop_t  loop;
    uv_tcp_t   listener;
    uv_async_t wake;
    sc_link    connections;
};

/* A request as it came, and the reply being made. */
typedef struct {
    sc_str method, path, headers, body;
} request;

typedef struct {
    int                  code;
    sc_upstream_endpoint endpoint;
    bool                 counted; /* as in flight at its endpoint */
    script               how;
    bool                 stream;
    const char          *type;
    sc_buf               body;
    size_t              *pieces; /* [pieces_count] ends within body, for streams */
    size_t               pieces_count;
    size_t               cut_at; /* bytes of the body before the connection closes; SIZE_MAX: whole */
} reply;

/* script.c */
void script_init(script *s);
bool control_apply(sc_upstream *upstream, const char *json, size_t len);
bool script_is(const script *s, const char *fault);
void counters_json(sc_upstream *upstream, sc_buf *out);

/* vectors.c */
void vector_of(sc_upstream *upstream, sc_str text, float *vector, unsigned dim);

/* answers.c: false when the request is not understood (400). */
bool make_embeddings(sc_upstream *upstream, const request *in, reply *out);
bool make_chat(sc_upstream *upstream, const request *in, reply *out);
void make_error(reply *out, int code, const char *message);
