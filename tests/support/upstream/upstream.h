/* upstream.h - an OpenAI-compatible upstream that does what a test's script says.
 *
 * One libuv thread, HTTP/1.1 with keep-alive, no TLS. It serves POST .../embeddings and
 * .../chat/completions, and is told how to behave by sc_upstream_control(), or by POST /control
 * with the same JSON when it runs as a program (//tests/support/upstream):
 *
 *   {"reset": true,                              back to the start, counters included
 *    "key": "sk-test",                           401 for any other; "" takes every key
 *    "alias": [{"text": "a", "to": "b", "distance": 0.05}],
 *    "embeddings": {SCRIPT}, "chat": {SCRIPT}}   each replaces the whole script of its endpoint
 *
 * SCRIPT members, all optional:
 *   delay_ms, jitter_ms   before the first byte: delay, and up to jitter more
 *   status                this HTTP status with an error object instead of an answer
 *   retry_after_s, retry_after_ms   the headers, with any status
 *   fault                 see below
 *   times                 status and fault hold for so many requests, then all is well; -1: for ever
 *   dim, floats           embeddings: another dimension; arrays although base64 was asked for
 *   answer, finish_reason, model, usage     chat: what to say; usage false leaves it out
 *   answer_bytes          chat: the answer is made that long with x at its end
 *   chunk_ms, cut_after   chat streams: pause between events; events before the cut
 *   huge_bytes            for the huge faults; 500 MB unless said otherwise
 *
 * Faults of both: hang, close (no byte), cut (half a body), truncate (whole HTTP, half JSON),
 *   not_json, empty_body, huge, huge_declared, drip (1 byte per 20 ms), wrong_types, deep,
 *   redirect.
 * Embeddings: nan, inf, zero, reorder, fewer, more, duplicate, bad_base64, ragged.
 * Chat: no_choices, no_message, null_content, empty_content, bad_utf8; streams: stream_cut, no_done,
 *   stream_error, stream_garbage, long_line. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sc_upstream sc_upstream;

typedef struct {
    const char *host; /* NULL: 127.0.0.1 */
    int         port; /* 0: a free one */
    unsigned    dim;  /* of vectors when neither request nor script says; 0: 1536 */
    uint64_t    seed;
    bool        demo; /* answers say that no LLM wrote them, and take 600 to 1200 ms */
} sc_upstream_options;

/* NULL when it cannot listen. options may be NULL. */
sc_upstream *sc_upstream_start(const sc_upstream_options *options);
void         sc_upstream_stop(sc_upstream *upstream); /* NULL is welcome */

int         sc_upstream_port(const sc_upstream *upstream);
const char *sc_upstream_url(const sc_upstream *upstream); /* "http://127.0.0.1:port" */

/* False, and no change, for JSON that is not understood. Any thread. */
bool sc_upstream_control(sc_upstream *upstream, const char *json);

/* The vector of text will lie at cosine distance 0..2 from that of to. */
void sc_upstream_alias(sc_upstream *upstream, const char *text, const char *to, double distance);

/* The unit vector that the upstream gives for text. */
void sc_upstream_vector(sc_upstream *upstream, const char *text, size_t len, float *vector,
                        unsigned dim);

typedef struct {
    uint64_t embeddings_calls, embeddings_texts, embeddings_batch_max;
    uint64_t chat_calls, chat_streams;
    uint64_t embeddings_in_flight_max, chat_in_flight_max;
    uint64_t embeddings_in_flight, chat_in_flight;
    uint64_t abandoned; /* the client went away before the answer was out */
    uint64_t refused;   /* 401, 400, 404 */
    uint64_t connections, connections_open;
} sc_upstream_counters;

void sc_upstream_look(sc_upstream *upstream, sc_upstream_counters *out);

/* Copies what the last call of an endpoint sent, NUL-terminated and cut to room: its path, its
 * headers, its body. Returns false when there was none. */
typedef enum { SC_UPSTREAM_EMBEDDINGS, SC_UPSTREAM_CHAT } sc_upstream_endpoint;
bool sc_upstream_last(sc_upstream *upstream, sc_upstream_endpoint endpoint, char *path,
                      char *headers, char *body, size_t room_each);
