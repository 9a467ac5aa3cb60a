/* wire.h - a look at a message's bytes before they are unpacked. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "src/base/status.h"
#include "src/base/str.h"

/* protobuf-c hands strings over NUL-terminated: "refund\0policy" would arrive as "refund", and be
 * answered as that. Finds a NUL in any string field, nested ones too, and names the field.
 * Malformed bytes are left to the unpacking. Errors: SC_INVALID. */
SC_MUST_CHECK sc_status sc_wire_check(const ProtobufCMessageDescriptor *type, sc_str bytes,
                                      sc_error *error);
