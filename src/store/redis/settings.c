#include "src/store/redis/redis.h"

#define FIELD(member) SC_SETTING_FIELD(sc_redis_options, member)

static const sc_setting rows[] = {
    {"REDIS_URL", SC_SETTING_TEXT, FIELD(url), 0, 0, "redis://127.0.0.1:6379", "", NULL,
     "Where entries are shared and kept: redis://[user][:password]@host[:port], or rediss:// for "
     "TLS. "
     "Database 0 only, since RediSearch indexes no other."},
    {"REDIS_CLUSTER", SC_SETTING_BOOL, FIELD(cluster), 0, 0, "false", "", NULL,
     "REDIS_URL names nodes of a Redis Cluster: one URL, and further host:port after commas."},
    {"REDIS_CA_FILE", SC_SETTING_TEXT, FIELD(ca_file), 0, 0, NULL, "", NULL,
     "Certificates (PEM) that a rediss:// server's certificate is checked against, instead of the "
     "system's."},
    {"REDIS_TIMEOUT_MS", SC_SETTING_INT, FIELD(timeout_ms), 1, 60000, "250", "ms", NULL,
     "A command without reply for so long has failed; the request goes on without Redis."},
    {"REDIS_SEARCH_WAIT_MS", SC_SETTING_INT, FIELD(search_wait_ms), 0, 60000, "1000", "ms", NULL,
     "How long a search may wait for its turn while Redis answers, but more slowly than questions "
     "come. Who would wait longer goes on without it at once."},
    {"CACHE_NAMESPACE", SC_SETTING_TEXT, FIELD(cache_namespace), 0, 0, "semcache", "", NULL,
     "First part of every key: up to 40 of the characters A-Z a-z 0-9 . _ -"},
    {"VECTOR_TYPE", SC_SETTING_CHOICE, FIELD(vector_type), 0, 0, "float16", "", "float16|float32",
     "Numbers of stored vectors. float16 takes half the memory; its distances are off by up to "
     "0.00005."},
    {"INDEX_ALGORITHM", SC_SETTING_CHOICE, FIELD(algorithm), 0, 0, "hnsw", "", "hnsw|flat",
     "hnsw: approximate, fast at any size. flat: exact, for up to about 10000 entries."},
    {"HNSW_M", SC_SETTING_INT, FIELD(hnsw_m), 4, 128, "16", "links", NULL,
     "Links of an entry in the index: more find more and take more memory."},
    {"HNSW_EF_CONSTRUCTION", SC_SETTING_INT, FIELD(ef_construction), 8, 1000, "64", "entries", NULL,
     "Entries looked at to link a new one. Writes get dearer with it; 64 lost no recall in our "
     "measurements."},
    {"EF_RUNTIME", SC_SETTING_INT, FIELD(ef_runtime), 1, 4096, "50", "entries", NULL,
     "Entries looked at by a search, unless the request says otherwise."},
    {"STORE_ENTRIES_MAX", SC_SETTING_INT, FIELD(entries_max), 0, 1e12, "0", "entries", NULL,
     "Beyond so many entries in Redis the least recently used are removed; 0: no limit."},
    {"STORE_CALLS_MAX", SC_SETTING_INT, FIELD(calls_max), 16, 1048576, "16384", "calls", NULL,
     "Calls under way to Redis; a further one is refused and the request goes on without Redis."},
    {"STORE_WAITING_ENTRIES_MAX", SC_SETTING_INT, FIELD(waiting_entries_max), 0, 1e6, "10000",
     "entries", NULL,
     "New entries kept while Redis is away, to be written when it is back; the oldest is dropped "
     "first."},
    {"STORE_WAITING_BYTES_MAX", SC_SETTING_INT, FIELD(waiting_bytes_max), 0, 1e11, "67108864",
     "bytes", NULL, "Memory for entries kept while Redis is away."},
};

const sc_setting_table sc_store_settings = {"Redis", rows, sizeof rows / sizeof rows[0]};
