/* raw.h - one call on gRPC's core, step by step and blocking: what a well-behaved client library
 * would not do. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/str.h"

typedef struct raw_call raw_call;

/* A call on a connection of its own; nothing but the header has been sent. timeout_ms 0: no
 * deadline. gzip: messages are compressed. */
raw_call *raw_open(const char *target, const char *path, int64_t timeout_ms, bool gzip);

/* Sends a message. False when the call is over. */
bool raw_send(raw_call *call, sc_str message);
void raw_half_close(raw_call *call);

/* The next message (malloc'd), or NULL at the end of the stream. */
char *raw_receive(raw_call *call, size_t *len);

/* Waits for the status; its number, and the text in text[room]. */
int raw_status(raw_call *call, char *text, size_t room);

/* Cancels what is under way. */
void raw_close(raw_call *call);
