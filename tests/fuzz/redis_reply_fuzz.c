/* Bytes from a Redis, through every function that gives them a meaning. The first byte chooses what
 * the replies are taken for; HMGET's and FT.SEARCH's are decoded to the entry that would be served.
 */
#include <math.h>
#include <stdlib.h>

#include "src/store/cluster/table.h"
#include "src/store/redis/reply.h"
#include "src/store/redis/resp.h"
#include "src/store/redis/vector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DIM = 4 };

static void decode(const sc_redis_fields *fields, const sc_digest *id)
{
    float     vector[DIM];
    sc_entry *entry;

    if (fields->vector.ptr != NULL && sc_vector_decode(fields->vector, DIM, true, vector) &&
        !sc_vector_is_unit(vector, DIM))
        abort();
    if (sc_redis_entry_decode(fields, id, &entry) != SC_OK)
        return;
    /* Whatever decodes is the entry of that key, can expire, and tells its versions apart. */
    if (!sc_digest_equal(&entry->f.id, id) || entry->f.expires.ms <= 0 || entry->f.version == 0 ||
        !isfinite(entry->f.temperature) || entry->f.tags_count > SC_ENTRY_TAGS_MAX)
        abort();
    sc_entry_unref(entry);
}

static void as_hmget(const redisReply *reply)
{
    static const size_t counts[] = {2, SC_REDIS_ENTRY_FIELDS, SC_REDIS_ALL_FIELDS};
    sc_redis_fields     fields;
    bool                absent;
    sc_digest           id = {{0}};

    for (size_t i = 0; i < 3; i++)
        if (sc_redis_fields_read(reply, counts[i], &fields, &absent) && !absent) {
            /* The id of the key is whatever meta says, else nothing would ever decode. */
            if (fields.meta.len >= sizeof id)
                memcpy(id.bytes, fields.meta.ptr, sizeof id);
            decode(&fields, &id);
        }
}

static void as_rows(const sc_redis_schema *schema, const redisReply *reply)
{
    sc_redis_row row;
    sc_digest    id;
    bool         mine;
    size_t       at = 1;

    sc_redis_rows_found(reply);
    while (sc_redis_next_row(reply, &at, &row)) {
        if (!isnan(row.distance) && (row.distance < 0 || row.distance > 2))
            abort();
        if (sc_redis_schema_id(schema, row.key, &id, &mine))
            decode(&row.fields, &id);
    }
}

/* Every slot of a table that was read has a master of that table, or none. */
static void as_slots(const redisReply *reply)
{
    static sc_slot_table table;
    size_t               owned = 0, owners = 0;

    if (sc_slot_table_read(reply, "asked", &table) != SC_OK)
        return;
    for (size_t i = 0; i < table.masters; i++)
        owned += sc_slot_count(&table.owned[i]);
    for (size_t slot = 0; slot < SC_SLOTS; slot++) {
        owners += table.owner[slot] != SC_OWNER_NONE;
        if (table.owner[slot] != SC_OWNER_NONE && table.owner[slot] >= table.masters)
            abort();
    }
    if (owned != owners)
        abort();
}

static void interpret(uint8_t kind, const redisReply *reply)
{
    static sc_redis_schema schema;
    sc_redis_options       options = {.cache_namespace = "t", .dim = DIM, .embedding_model = "m"};
    sc_redis_index         index;
    sc_str                 cursor;
    const redisReply      *keys;
    char                   text[64];
    uint16_t               slot;
    sc_node                node;

    if (schema.dim == 0 && sc_redis_schema_make(&options, &schema, NULL) != SC_OK)
        abort();
    sc_redis_fault_text(reply, text, sizeof text);
    sc_redis_fault_status(sc_redis_fault_of(reply));
    sc_redis_exec_fault(reply);
    if (kind % 4 == 0)
        as_hmget(reply);
    else if (kind % 4 == 1)
        as_rows(&schema, reply);
    else if (kind % 4 == 2 && sc_redis_schema_check(&schema, reply, &index) == SC_OK &&
             !(index.percent_indexed >= 0 && index.percent_indexed <= 1))
        abort();
    else if (kind % 4 == 3 && sc_redis_push_read(reply, &keys) != SC_PUSH_KEYS &&
             sc_redis_scan_keys(reply, &cursor) == NULL)
        as_slots(reply);
    if (sc_moved_read(sc_str_of(text), "asked", &slot, &node) &&
        (slot >= SC_SLOTS || node.port == 0 || node.host[0] == '\0'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    redisReader *reader;
    void        *reply = NULL;

    if (size < 1 || (reader = sc_resp_reader()) == NULL)
        return 0;
    if (redisReaderFeed(reader, (const char *)data + 1, size - 1) == REDIS_OK)
        while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
            interpret(data[0], reply);
            freeReplyObject(reply);
            reply = NULL;
        }
    redisReaderFree(reader);
    return 0;
}
