#include "src/store/redis/reply.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char    *start;
    sc_redis_fault fault;
} faults[] = {
    {"LOADING", SC_FAULT_AWAY},
    {"BUSY", SC_FAULT_AWAY},
    {"READONLY", SC_FAULT_AWAY},
    {"CLUSTERDOWN", SC_FAULT_AWAY},
    {"TRYAGAIN", SC_FAULT_AWAY},
    {"MASTERDOWN", SC_FAULT_AWAY},
    {"MISCONF", SC_FAULT_AWAY},
    {"NOREPLICAS", SC_FAULT_AWAY},
    {"UNBLOCKED", SC_FAULT_AWAY},
    {"OOM", SC_FAULT_FULL},
    {"NOAUTH", SC_FAULT_DENIED},
    {"WRONGPASS", SC_FAULT_DENIED},
    {"NOPERM", SC_FAULT_DENIED},
    {"ERR AUTH", SC_FAULT_DENIED},
    {"ERR invalid password", SC_FAULT_DENIED},
    {"Unknown index name", SC_FAULT_NO_INDEX},
    {"Unknown Index name", SC_FAULT_NO_INDEX},
    {"ERR unknown command", SC_FAULT_UNKNOWN_COMMAND},
    {"unknown command", SC_FAULT_UNKNOWN_COMMAND},
    {"WRONGTYPE", SC_FAULT_FOREIGN},
    {"MOVED ", SC_FAULT_MOVED},
    {"ASK ", SC_FAULT_ASK},
};

static bool starts_with(sc_str text, const char *start)
{
    size_t len = strlen(start);
    return text.len >= len && memcmp(text.ptr, start, len) == 0;
}

sc_redis_fault sc_redis_fault_of(const redisReply *reply)
{
    if (reply == NULL || reply->type != REDIS_REPLY_ERROR)
        return SC_FAULT_NONE;
    sc_str text = {reply->str, reply->len};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        if (starts_with(text, faults[i].start))
            return faults[i].fault;
    /* "<name>: no such index", and later versions' wording. */
    if (memmem(text.ptr, text.len, "no such index", 13) != NULL)
        return SC_FAULT_NO_INDEX;
    return SC_FAULT_OTHER;
}

sc_status sc_redis_fault_status(sc_redis_fault fault)
{
    switch (fault) {
    case SC_FAULT_NONE:
        return SC_OK;
    case SC_FAULT_FULL:
        return SC_BUSY;
    case SC_FAULT_UNKNOWN_COMMAND:
        return SC_UNSUPPORTED;
    case SC_FAULT_FOREIGN:
        return SC_CORRUPT;
    case SC_FAULT_AWAY:
    case SC_FAULT_DENIED:
    case SC_FAULT_NO_INDEX:
    case SC_FAULT_MOVED:
    case SC_FAULT_ASK:
    case SC_FAULT_OTHER:
        break;
    }
    return SC_UNAVAILABLE;
}

void sc_redis_fault_text(const redisReply *reply, char *out, size_t room)
{
    bool   error = reply != NULL && reply->type == REDIS_REPLY_ERROR;
    size_t len = error ? reply->len : 0;

    if (len >= room)
        len = room - 1;
    if (len != 0)
        memcpy(out, reply->str, len);
    out[len] = '\0';
}

sc_redis_fault sc_redis_exec_fault(const redisReply *reply)
{
    sc_redis_fault fault = sc_redis_fault_of(reply);

    if (fault != SC_FAULT_NONE)
        return fault;
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
        return SC_FAULT_OTHER;
    for (size_t i = 0; i < reply->elements && fault == SC_FAULT_NONE; i++)
        fault = sc_redis_fault_of(reply->element[i]);
    return fault;
}

static bool is_string(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING;
}

static bool name_is(const redisReply *name, const char *wanted)
{
    return name->len == strlen(wanted) && memcmp(name->str, wanted, name->len) == 0;
}

static float read_distance(const redisReply *value)
{
    char *end;
    float distance = strtof(value->str, &end);

    if (end == value->str || *end != '\0' || !isfinite(distance))
        return NAN;
    /* An identical vector comes back as a tiny number on either side of 0. */
    return distance < 0 ? 0 : distance > 2 ? 2 : distance;
}

static void read_pair(const redisReply *name, const redisReply *value, sc_redis_row *row)
{
    if (!is_string(name) || !is_string(value))
        return;
    if (name_is(name, "d"))
        row->distance = read_distance(value);
    for (size_t i = 0; i < SC_REDIS_ALL_FIELDS; i++)
        if (name_is(name, sc_redis_field_names[i]))
            *sc_redis_field(&row->fields, i) = (sc_str){value->str, value->len};
}

bool sc_redis_next_row(const redisReply *reply, size_t *at, sc_redis_row *row)
{
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || *at + 1 >= reply->elements)
        return false;
    const redisReply *key = reply->element[*at];
    const redisReply *fields = reply->element[*at + 1];
    if (!is_string(key))
        return false;
    *at += 2;
    *row = (sc_redis_row){.key = {key->str, key->len}, .distance = NAN};
    /* A nil instead of the fields: the document expired. */
    for (size_t i = 0; fields->type == REDIS_REPLY_ARRAY && i + 1 < fields->elements; i += 2)
        read_pair(fields->element[i], fields->element[i + 1], row);
    return true;
}

size_t sc_redis_rows_found(const redisReply *reply)
{
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements == 0 ||
        reply->element[0]->type != REDIS_REPLY_INTEGER || reply->element[0]->integer < 0)
        return 0;
    return (size_t)reply->element[0]->integer;
}

const redisReply *sc_redis_scan_keys(const redisReply *reply, sc_str *cursor)
{
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        !is_string(reply->element[0]) || reply->element[0]->len == 0 ||
        reply->element[0]->len > 20 || reply->element[1]->type != REDIS_REPLY_ARRAY)
        return NULL;
    const redisReply *keys = reply->element[1];
    for (size_t i = 0; i < keys->elements; i++)
        if (!is_string(keys->element[i]))
            return NULL;
    *cursor = (sc_str){reply->element[0]->str, reply->element[0]->len};
    return keys;
}

sc_redis_push sc_redis_push_read(const redisReply *reply, const redisReply **keys)
{
    *keys = NULL;
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        !is_string(reply->element[0]) || !name_is(reply->element[0], "message") ||
        !is_string(reply->element[1]) || !name_is(reply->element[1], "__redis__:invalidate"))
        return SC_PUSH_OTHER;
    const redisReply *payload = reply->element[2];
    if (payload->type == REDIS_REPLY_NIL)
        return SC_PUSH_CLEARED;
    if (payload->type != REDIS_REPLY_ARRAY)
        return SC_PUSH_OTHER;
    for (size_t i = 0; i < payload->elements; i++)
        if (!is_string(payload->element[i]))
            return SC_PUSH_OTHER;
    *keys = payload;
    return SC_PUSH_KEYS;
}
