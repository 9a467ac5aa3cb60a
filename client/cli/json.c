/* A message as JSON. Walks protobuf-c's descriptors, so new fields need no work here. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "client/cli/cli.h"

static void put_text(sc_buf *out, const char *text)
{
    sc_buf_byte(out, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            sc_buf_printf(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            sc_buf_printf(out, "\\u%04x", (unsigned)*text);
        else
            sc_buf_byte(out, *text);
    }
    sc_buf_byte(out, '"');
}

static void put_real(sc_buf *out, double value)
{
    if (isfinite(value))
        sc_buf_printf(out, "%.9g", value);
    else
        sc_buf_str(out, SC_STR("null"));
}

static void put_enum(sc_buf *out, const ProtobufCEnumDescriptor *kind, int value)
{
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(kind, value);
    if (found != NULL)
        put_text(out, found->name);
    else
        sc_buf_printf(out, "%d", value);
}

static void put_value(sc_buf *out, const ProtobufCFieldDescriptor *field, const void *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        sc_buf_printf(out, "%" PRId32, *(const int32_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        sc_buf_printf(out, "%" PRIu32, *(const uint32_t *)at);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        sc_buf_printf(out, "%" PRId64, *(const int64_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        sc_buf_printf(out, "%" PRIu64, *(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        put_real(out, (double)*(const float *)at);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        put_real(out, *(const double *)at);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        sc_buf_str(out, *(const protobuf_c_boolean *)at ? SC_STR("true") : SC_STR("false"));
        break;
    case PROTOBUF_C_TYPE_ENUM:
        put_enum(out, field->descriptor, *(const int *)at);
        break;
    case PROTOBUF_C_TYPE_STRING:
        put_text(out, *(const char *const *)at != NULL ? *(const char *const *)at : "");
        break;
    case PROTOBUF_C_TYPE_BYTES:
        sc_buf_printf(out, "%zu", ((const ProtobufCBinaryData *)at)->len);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        if (*(const ProtobufCMessage *const *)at != NULL)
            cli_json(out, *(const ProtobufCMessage *const *)at);
        else
            sc_buf_str(out, SC_STR("null"));
        break;
    }
}

static size_t value_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    }
    return 0;
}

static void put_list(sc_buf *out, const ProtobufCFieldDescriptor *field,
                     const ProtobufCMessage *message)
{
    size_t      count = *(const size_t *)(const void *)((const char *)message + field->quantifier_offset);
    const char *items = *(const char *const *)(const void *)((const char *)message + field->offset);

    sc_buf_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i != 0)
            sc_buf_byte(out, ',');
        put_value(out, field, items + i * value_size(field->type));
    }
    sc_buf_byte(out, ']');
}

static bool is_absent(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        return *(const uint32_t *)(const void *)((const char *)message + field->quantifier_offset) !=
               field->id;
    return field->label != PROTOBUF_C_LABEL_REPEATED && field->type == PROTOBUF_C_TYPE_MESSAGE &&
           *(const void *const *)(const void *)((const char *)message + field->offset) == NULL;
}

void cli_json(sc_buf *out, const ProtobufCMessage *message)
{
    bool first = true;

    sc_buf_byte(out, '{');
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (is_absent(field, message))
            continue;
        if (!first)
            sc_buf_byte(out, ',');
        first = false;
        put_text(out, field->name);
        sc_buf_byte(out, ':');
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            put_list(out, field, message);
        else
            put_value(out, field, (const char *)message + field->offset);
    }
    sc_buf_byte(out, '}');
}
