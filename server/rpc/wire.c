#include "server/rpc/wire.h"

#include <stdbool.h>
#include <stdint.h>

enum { DEPTH_MAX = 8 };

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static bool take_varint(sc_str *in, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && in->len != 0; shift += 7) {
        uint8_t byte = (uint8_t)in->ptr[0];
        in->ptr++;
        in->len--;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool take_bytes(sc_str *in, uint64_t len, sc_str *bytes)
{
    if (len > in->len)
        return false;
    *bytes = (sc_str){in->ptr, (size_t)len};
    in->ptr += len;
    in->len -= (size_t)len;
    return true;
}

/* The next field's tag and, for a length-delimited one, its content. */
static bool take_field(sc_str *in, uint64_t *tag, sc_str *content)
{
    uint64_t len;
    *content = (sc_str){NULL, 0};
    if (!take_varint(in, tag))
        return false;
    switch (*tag & 7) {
    case WIRE_VARINT:
        return take_varint(in, &len);
    case WIRE_FIXED64:
        return take_bytes(in, 8, content);
    case WIRE_FIXED32:
        return take_bytes(in, 4, content);
    case WIRE_BYTES:
        return take_varint(in, &len) && take_bytes(in, len, content);
    default:
        return false;
    }
}

static sc_status check(const ProtobufCMessageDescriptor *type, sc_str in, unsigned depth,
                       sc_error *error)
{
    uint64_t  tag;
    sc_str    content;
    sc_status status = SC_OK;
    while (status == SC_OK && in.len != 0 && take_field(&in, &tag, &content)) {
        if ((tag & 7) != WIRE_BYTES || tag >> 3 > UINT32_MAX)
            continue;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        if (field == NULL)
            continue;
        if (field->type == PROTOBUF_C_TYPE_STRING && content.len != 0 &&
            memchr(content.ptr, '\0', content.len) != NULL)
            status = sc_fail(error, SC_INVALID, "%s: contains a NUL byte", field->name);
        if (field->type == PROTOBUF_C_TYPE_MESSAGE)
            status = depth == DEPTH_MAX
                         ? sc_fail(error, SC_INVALID, "%s: nested more than %d deep", field->name,
                                   DEPTH_MAX)
                         : check(field->descriptor, content, depth + 1, error);
    }
    return status;
}

sc_status sc_wire_check(const ProtobufCMessageDescriptor *type, sc_str bytes, sc_error *error)
{
    return check(type, bytes, 0, error);
}
