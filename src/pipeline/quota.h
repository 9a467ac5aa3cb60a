/* quota.h - how much of the store each tenant holds, and which of its entries make room for a new one.
 *
 * Counted here rather than asked of Redis: every server is told of every entry anyway, by the store's
 * feed, so a look costs nothing at all, also while Redis is away. The alternative, FT.SEARCH and
 * FT.AGGREGATE by tenant, would run on Redis' main thread for each new answer, see its own writes
 * late, and need a field of bytes in every index. The price is 200 bytes and a microsecond an entry of
 * a named tenant (measured with a million), and that servers know of each other's writes some
 * milliseconds late: together they may overshoot by what was just being written. An entry whose writing
 * failed for good stays counted until it is the oldest.
 *
 * A tenant makes room with its own oldest entries: nobody pushes out anybody else's, and a cache that
 * is full goes on learning. Any thread. */
#pragma once

#include "src/entry/entry.h"

typedef struct sc_quota sc_quota;

SC_MUST_CHECK sc_status sc_quota_open(sc_quota **out);

/* NULL is welcome. */
void sc_quota_close(sc_quota *quota);

/* The store has this entry, of so many bytes, or will have it soon; it replaces the one of the same
 * id. Those of the tenant "" are not counted: it has no limits. Without memory it stays uncounted. */
void sc_quota_note(sc_quota *quota, const sc_entry_fields *entry, uint64_t bytes);

/* The store has it no more. */
void sc_quota_forget(sc_quota *quota, const sc_digest *id);
void sc_quota_forget_all(sc_quota *quota);

/* 0: no limit. */
typedef struct {
    uint64_t entries_max, bytes_max;
} sc_quota_limits;

/* What has to leave; enough to take it back. */
typedef struct {
    sc_digest id;
    sc_wall   created;
    uint64_t  bytes;
} sc_quota_item;

/* Takes the tenant's oldest entries off its account, other than `keep`, until it is within its limits
 * or items_max are taken: a limit that was lowered is reached step by step. Gives their number. */
size_t sc_quota_make_room(sc_quota *quota, sc_str tenant, const sc_quota_limits *limits,
                          const sc_digest *keep, sc_quota_item *items, size_t items_max);

/* It could not be removed after all. */
void sc_quota_take_back(sc_quota *quota, sc_str tenant, const sc_quota_item *item);

typedef struct {
    uint64_t entries, bytes;
} sc_quota_held;

sc_quota_held sc_quota_look(sc_quota *quota, sc_str tenant);
