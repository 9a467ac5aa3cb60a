/* Each account is a binary heap, oldest entry first, whose items know their place in it: whatever
 * leaves, for whatever reason, leaves in O(log n). A list in order of arrival would do for what is
 * written now, but a server that starts is told of the entries in the order of Redis' hash table. */
#include "src/pipeline/quota.h"

#include <pthread.h>
#include <stdlib.h>

#include "src/base/table.h"

typedef struct account account;

typedef struct {
    sc_quota_item known;
    account      *of;
    uint64_t      order; /* of arrival: decides between the same millisecond */
    size_t        at;    /* in the heap */
} item;

struct account {
    sc_digest name;
    item    **heap; /* [room] */
    size_t    room, used;
    uint64_t  bytes;
};

struct sc_quota {
    pthread_mutex_t lock;
    /* Under lock. */
    sc_table accounts; /* by the tenant's hash */
    sc_table items;    /* by id */
    uint64_t arrivals;
};

/* --- the heap -------------------------------------------------------------------------- */

static bool is_older(const item *a, const item *b)
{
    int64_t age = a->known.created.ms - b->known.created.ms;
    return age != 0 ? age < 0 : a->order < b->order;
}

static void place(account *of, item *what, size_t at)
{
    of->heap[at] = what;
    what->at = at;
}

static void move_up(account *of, item *what)
{
    size_t at = what->at;

    for (; at != 0 && is_older(what, of->heap[(at - 1) / 2]); at = (at - 1) / 2)
        place(of, of->heap[(at - 1) / 2], at);
    place(of, what, at);
}

static void move_down(account *of, item *what)
{
    size_t at = what->at;

    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < of->used && is_older(of->heap[child + 1], of->heap[child]))
            child++;
        if (child >= of->used || !is_older(of->heap[child], what))
            break;
        place(of, of->heap[child], at);
        at = child;
    }
    place(of, what, at);
}

static bool has_room(account *of)
{
    size_t room = of->room == 0 ? 16 : of->room * 2;

    if (of->used < of->room)
        return true;
    item **heap = realloc(of->heap, room * sizeof(item *));
    if (heap == NULL)
        return false;
    of->heap = heap;
    of->room = room;
    return true;
}

/* There is room. */
static void enter(account *of, item *what)
{
    what->of = of;
    what->at = of->used++;
    of->bytes += what->known.bytes;
    move_up(of, what);
}

static void leave(item *what)
{
    account *of = what->of;
    item    *last = of->heap[--of->used];

    of->bytes -= what->known.bytes;
    if (last == what)
        return;
    place(of, last, what->at);
    move_up(of, last);
    move_down(of, last);
}

/* --- accounts, under lock -------------------------------------------------------------- */

static account *find(const sc_quota *quota, sc_str tenant)
{
    sc_digest name = sc_sha256(tenant.ptr, tenant.len);
    return sc_table_get(&quota->accounts, &name);
}

static account *find_or_make(sc_quota *quota, sc_str tenant)
{
    account *of = find(quota, tenant);

    if (of != NULL)
        return of;
    of = calloc(1, sizeof *of);
    if (of == NULL)
        return NULL;
    of->name = sc_sha256(tenant.ptr, tenant.len);
    if (sc_table_put(&quota->accounts, &of->name, of, NULL) == SC_OK)
        return of;
    free(of);
    return NULL;
}

static void close_if_empty(sc_quota *quota, account *of)
{
    if (of->used != 0)
        return;
    sc_table_remove(&quota->accounts, &of->name);
    free(of->heap);
    free(of);
}

static void drop(sc_quota *quota, item *what)
{
    account *of = what->of;

    sc_table_remove(&quota->items, &what->known.id);
    leave(what);
    free(what);
    close_if_empty(quota, of);
}

static void drop_id(sc_quota *quota, const sc_digest *id)
{
    item *what = sc_table_get(&quota->items, id);
    if (what != NULL)
        drop(quota, what);
}

static void add(sc_quota *quota, sc_str tenant, const sc_quota_item *known)
{
    item    *what = calloc(1, sizeof *what);
    account *of = what == NULL ? NULL : find_or_make(quota, tenant);

    if (of == NULL || !has_room(of) ||
        sc_table_put(&quota->items, &known->id, what, NULL) != SC_OK) {
        if (of != NULL)
            close_if_empty(quota, of);
        free(what);
        return;
    }
    what->known = *known;
    what->order = quota->arrivals++;
    enter(of, what);
}

/* --- for the pipeline ------------------------------------------------------------------ */

sc_status sc_quota_open(sc_quota **out)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return SC_NO_MEMORY;
    pthread_mutex_init(&(*out)->lock, NULL);
    return SC_OK;
}

void sc_quota_close(sc_quota *quota)
{
    if (quota == NULL)
        return;
    sc_quota_forget_all(quota);
    pthread_mutex_destroy(&quota->lock);
    free(quota);
}

void sc_quota_note(sc_quota *quota, const sc_entry_fields *entry, uint64_t bytes)
{
    if (entry->tenant.len == 0)
        return;
    pthread_mutex_lock(&quota->lock);
    drop_id(quota, &entry->id);
    add(quota, entry->tenant, &(sc_quota_item){entry->id, entry->created, bytes});
    pthread_mutex_unlock(&quota->lock);
}

void sc_quota_forget(sc_quota *quota, const sc_digest *id)
{
    pthread_mutex_lock(&quota->lock);
    drop_id(quota, id);
    pthread_mutex_unlock(&quota->lock);
}

void sc_quota_forget_all(sc_quota *quota)
{
    size_t   at = 0;
    item    *what;
    account *of;

    pthread_mutex_lock(&quota->lock);
    while ((what = sc_table_next(&quota->items, &at)) != NULL)
        free(what);
    at = 0;
    while ((of = sc_table_next(&quota->accounts, &at)) != NULL) {
        free(of->heap);
        free(of);
    }
    sc_table_fini(&quota->items);
    sc_table_fini(&quota->accounts);
    pthread_mutex_unlock(&quota->lock);
}

static bool is_over(const account *of, const sc_quota_limits *limits)
{
    return (limits->entries_max != 0 && of->used > limits->entries_max) ||
           (limits->bytes_max != 0 && of->bytes > limits->bytes_max);
}

/* The oldest but `keep`: the first, or one of the two below it. */
static item *oldest(const account *of, const sc_digest *keep)
{
    if (!sc_digest_equal(&of->heap[0]->known.id, keep))
        return of->heap[0];
    if (of->used < 3)
        return of->used < 2 ? NULL : of->heap[1];
    return is_older(of->heap[2], of->heap[1]) ? of->heap[2] : of->heap[1];
}

size_t sc_quota_make_room(sc_quota *quota, sc_str tenant, const sc_quota_limits *limits,
                          const sc_digest *keep, sc_quota_item *items, size_t items_max)
{
    size_t count = 0;

    pthread_mutex_lock(&quota->lock);
    account *of = find(quota, tenant);
    while (of != NULL && count < items_max && is_over(of, limits)) {
        item *leaving = oldest(of, keep);
        if (leaving == NULL)
            break;
        items[count++] = leaving->known;
        bool last = of->used == 1; /* with it goes the account */
        drop(quota, leaving);
        if (last)
            break;
    }
    pthread_mutex_unlock(&quota->lock);
    return count;
}

void sc_quota_take_back(sc_quota *quota, sc_str tenant, const sc_quota_item *item_back)
{
    pthread_mutex_lock(&quota->lock);
    /* Written anew meanwhile: that one counts. */
    if (sc_table_get(&quota->items, &item_back->id) == NULL)
        add(quota, tenant, item_back);
    pthread_mutex_unlock(&quota->lock);
}

sc_quota_held sc_quota_look(sc_quota *quota, sc_str tenant)
{
    sc_quota_held held = {0, 0};

    pthread_mutex_lock(&quota->lock);
    const account *of = find(quota, tenant);
    if (of != NULL)
        held = (sc_quota_held){of->used, of->bytes};
    pthread_mutex_unlock(&quota->lock);
    return held;
}
