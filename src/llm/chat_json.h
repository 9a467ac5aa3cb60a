/* chat_json.h - POST /v1/chat/completions as text: a call becomes a body, a reply an answer.
 *
 * Pure functions: no I/O, no clock. */
#pragma once

#include "src/base/buf.h"
#include "src/llm/llm.h"

/* What was said; zero-initialise. */
typedef struct {
    sc_buf   answer;
    char     finish_reason[32];
    char     model[128];
    bool     has_usage;
    uint32_t prompt_tokens, completion_tokens;
    bool     ended; /* streams: [DONE] came */
} sc_chat_reply;

void sc_chat_reply_init(sc_chat_reply *reply, size_t answer_bytes_max);
void sc_chat_reply_fini(sc_chat_reply *reply);

/* Can a body be made of the call? Errors: SC_INVALID for a parameter that is not JSON, stands in the
 * body already, or is not finite. */
SC_MUST_CHECK sc_status sc_chat_check(const sc_llm_call *call, sc_error *error);

/* Appends the body of a call that was checked. Errors: SC_TOO_LARGE, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_chat_write(const sc_llm_call *call, bool stream, sc_buf *body,
                                      sc_error *error);

/* Reads a whole reply. Errors: SC_CORRUPT when it is not of the promised shape, SC_UNAVAILABLE
 * when it has no choice or no text, SC_TOO_LARGE for the answer, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_chat_read(sc_str json, sc_chat_reply *reply, sc_error *error);

/* Adds one event's data. Errors as above, and SC_UNAVAILABLE for an error sent in mid-stream. */
SC_MUST_CHECK sc_status sc_chat_read_event(sc_str data, sc_chat_reply *reply, sc_error *error);

/* Was the stream whole? It has told why it finished, and said something. */
SC_MUST_CHECK sc_status sc_chat_check_end(const sc_chat_reply *reply, sc_error *error);
