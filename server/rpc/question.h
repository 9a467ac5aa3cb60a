/* question.h - AnswerRequest as a question of the pipeline's. */
#pragma once

#include "proto/semcache/v1/semantic_cache.pb-c.h"
#include "server/rpc/service.h"
#include "src/base/arena.h"

/* Unpacks bytes as a message of that type into the arena; no freeing is needed or allowed.
 * Errors: SC_INVALID for bytes that are no such message, or a string with a NUL byte in it (which
 * protobuf-c would cut silently); SC_TOO_LARGE when the arena is full. */
SC_MUST_CHECK sc_status sc_message_unpack(const ProtobufCMessageDescriptor *type, sc_str bytes,
                                          sc_arena *arena, void *message_out, sc_error *error);

/* Fills question from message, absent fields from the server's settings, within the bounds of the
 * caller's tenant. Everything points into message, pass and arena.
 * Errors: SC_INVALID for parameters that are not what they should be and for a threshold or time to
 * live beyond the tenant's (the rest is checked by sc_question_check), SC_TOO_LARGE when the arena
 * is full. */
SC_MUST_CHECK sc_status sc_question_from(const sc_service                   *service,
                                         const Semcache__V1__AnswerRequest *message,
                                         const sc_pass *pass, sc_arena *arena,
                                         sc_question *question, sc_error *error);
