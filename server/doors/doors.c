/* Every key is compared with every caller's, bit by bit and to the end: 1024 keys take about a
 * microsecond, and the time tells nothing about how much of a key was right.
 *
 * A tenant's bucket outlives a reload of the file: tenants are counted objects, found again by
 * name. Locks, in order: `lock` of the doors, then that of one tenant. */
#include "server/doors/doors.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/log.h"

enum { LOOK_EVERY_MS = 500, KEY_BYTES_MAX = 512, FULL_RETRY_MS = 50 };

static const sc_setting rows[] = {
    {"API_KEYS_FILE", SC_SETTING_TEXT, SC_SETTING_FIELD(sc_doors_options, keys_file), 0, 0, NULL, "",
     NULL, "Keys, tenants, rights and limits; read again when it changes. Absent: no doors."},
};

const sc_setting_table sc_doors_settings = {"Doors", rows, sizeof rows / sizeof rows[0]};

typedef struct {
    char        name[SC_TENANT_BYTES_MAX + 1];
    atomic_uint refs;

    pthread_mutex_t lock;
    /* Under lock. */
    sc_tenant_limits limits;
    double           tokens;
    sc_instant       filled; /* when tokens were last added */
    uint32_t         inflight;
} tenant;

typedef struct {
    struct timespec modified;
    off_t           size;
    ino_t           inode;
} file_mark;

struct sc_doors {
    /* Fixed by open. */
    const char *path; /* NULL: open to all */

    _Atomic int64_t look_at_ns; /* when the file is to be looked at again */
    pthread_mutex_t reload_lock;
    file_mark       mark; /* under reload_lock */

    pthread_rwlock_t lock;
    /* Under lock. */
    sc_keys  keys;
    tenant **tenants; /* [keys.tenants_count] */
};

/* ---- tenants ---- */

static void tenant_unref(tenant *t)
{
    if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static tenant *tenant_make(const sc_tenant_row *row)
{
    tenant *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    memcpy(t->name, row->name, sizeof t->name);
    atomic_init(&t->refs, 1);
    pthread_mutex_init(&t->lock, NULL);
    t->limits = row->limits;
    t->tokens = row->limits.burst;
    return t;
}

/* The one of that name among those in force, with its bucket, or a new one. Under lock. */
static tenant *tenant_for(sc_doors *doors, const sc_tenant_row *row)
{
    for (size_t i = 0; i < doors->keys.tenants_count; i++) {
        tenant *t = doors->tenants[i];
        if (strcmp(t->name, row->name) != 0)
            continue;
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
        pthread_mutex_lock(&t->lock);
        t->limits = row->limits;
        t->tokens = fmin(t->tokens, row->limits.burst);
        pthread_mutex_unlock(&t->lock);
        return t;
    }
    return tenant_make(row);
}

static void tenants_free(tenant **tenants, size_t count)
{
    for (size_t i = 0; tenants != NULL && i < count; i++)
        tenant_unref(tenants[i]);
    free(tenants);
}

/* Adds what the time since has earned; true when a request may be taken. Under the tenant's lock. */
static bool bucket_take(tenant *t, sc_instant now, int64_t *retry_after_ms)
{
    if (t->limits.rate <= 0)
        return true;
    if (t->filled.ns == 0)
        t->filled = now;
    double earned = (double)sc_elapsed_us(t->filled, now) * 1e-6 * t->limits.rate;
    t->tokens = fmin(t->limits.burst, t->tokens + earned);
    if (sc_instant_before(t->filled, now))
        t->filled = now;
    if (t->tokens < 1) {
        *retry_after_ms = (int64_t)ceil((1 - t->tokens) / t->limits.rate * 1000);
        return false;
    }
    t->tokens -= 1;
    return true;
}

static sc_status tenant_enter(tenant *t, sc_instant now, sc_tenant_limits *limits,
                              int64_t *retry_after_ms)
{
    sc_status status = SC_BUSY;

    pthread_mutex_lock(&t->lock);
    *limits = t->limits;
    if (t->limits.inflight_max != 0 && t->inflight >= t->limits.inflight_max)
        *retry_after_ms = FULL_RETRY_MS;
    else if (bucket_take(t, now, retry_after_ms))
        status = SC_OK;
    if (status == SC_OK)
        t->inflight++;
    pthread_mutex_unlock(&t->lock);
    return status;
}

/* ---- the file ---- */

static bool file_read(const char *path, char **text, size_t *len)
{
    int   file = open(path, O_RDONLY | O_CLOEXEC);
    char *bytes = file >= 0 ? malloc(SC_KEYS_FILE_BYTES_MAX + 1) : NULL;
    bool  ok = bytes != NULL;

    *len = 0;
    while (ok && *len <= SC_KEYS_FILE_BYTES_MAX) {
        ssize_t got = read(file, bytes + *len, SC_KEYS_FILE_BYTES_MAX + 1 - *len);
        ok = got >= 0;
        if (got <= 0)
            break;
        *len += (size_t)got;
    }
    if (file >= 0)
        close(file);
    if (!ok)
        free(bytes);
    *text = ok ? bytes : NULL;
    return ok;
}

/* Builds beside what is in force, then swaps. */
static sc_status keys_take(sc_doors *doors, sc_keys *fresh)
{
    sc_status status = SC_OK;
    tenant  **tenants = calloc(fresh->tenants_count + 1, sizeof *tenants);
    size_t    count = fresh->tenants_count;

    if (tenants == NULL)
        return SC_NO_MEMORY;
    pthread_rwlock_wrlock(&doors->lock);
    for (size_t i = 0; i < count && status == SC_OK; i++) {
        tenants[i] = tenant_for(doors, &fresh->tenants[i]);
        status = tenants[i] != NULL ? SC_OK : SC_NO_MEMORY;
    }
    if (status == SC_OK) {
        sc_keys  old = doors->keys;
        tenant **old_tenants = doors->tenants;
        doors->keys = *fresh;
        doors->tenants = tenants;
        *fresh = old;
        tenants = old_tenants;
        count = old.tenants_count;
    }
    pthread_rwlock_unlock(&doors->lock);
    tenants_free(tenants, count);
    return status;
}

static sc_status keys_load(sc_doors *doors, sc_error *error)
{
    sc_keys  fresh = {0};
    sc_error problem = {0};
    char    *text = NULL;
    size_t   len = 0;

    if (!file_read(doors->path, &text, &len))
        return sc_fail(error, SC_INVALID, "API_KEYS_FILE: %s: %s", doors->path, strerror(errno));
    sc_status status = sc_keys_parse((sc_str){text, len}, &fresh, &problem);
    if (status != SC_OK)
        sc_fail(error, status, "API_KEYS_FILE: %.120s: %.100s", doors->path, problem.text);
    else if ((status = keys_take(doors, &fresh)) != SC_OK)
        sc_fail(error, status, "API_KEYS_FILE: no memory");
    sc_keys_fini(&fresh);
    free(text);
    return status;
}

static bool mark_of(const char *path, file_mark *mark)
{
    struct stat found;
    memset(mark, 0, sizeof *mark);
    if (stat(path, &found) != 0)
        return false;
    mark->modified = found.st_mtim;
    mark->size = found.st_size;
    mark->inode = found.st_ino;
    return true;
}

static bool mark_changed(sc_doors *doors)
{
    file_mark now;
    if (!mark_of(doors->path, &now) ||
        (now.modified.tv_sec == doors->mark.modified.tv_sec &&
         now.modified.tv_nsec == doors->mark.modified.tv_nsec && now.size == doors->mark.size &&
         now.inode == doors->mark.inode))
        return false;
    doors->mark = now;
    return true;
}

/* One caller looks; the others go on with what is in force. */
static void reload_if_due(sc_doors *doors, sc_instant now)
{
    int64_t  due = atomic_load_explicit(&doors->look_at_ns, memory_order_relaxed);
    sc_error error = {0};

    if (now.ns < due || !atomic_compare_exchange_strong(&doors->look_at_ns, &due,
                                                        sc_instant_after_ms(now, LOOK_EVERY_MS).ns))
        return;
    if (pthread_mutex_trylock(&doors->reload_lock) != 0)
        return;
    if (mark_changed(doors)) {
        if (keys_load(doors, &error) == SC_OK)
            sc_log(SC_LOG_INFO, "doors.reloaded", sc_kv_int("keys", doors->keys.keys_count));
        else
            sc_log(SC_LOG_ERROR, "doors.reload_failed", sc_kv_text("cause", error.text));
    }
    pthread_mutex_unlock(&doors->reload_lock);
}

sc_status sc_doors_open(const sc_doors_options *options, sc_doors **out, sc_error *error)
{
    sc_doors *doors = calloc(1, sizeof *doors);
    *out = NULL;
    if (doors == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory for the doors");
    doors->path = options->keys_file;
    pthread_rwlock_init(&doors->lock, NULL);
    pthread_mutex_init(&doors->reload_lock, NULL);
    sc_status status = SC_OK;
    if (doors->path != NULL) {
        mark_of(doors->path, &doors->mark);
        status = keys_load(doors, error);
    }
    if (status != SC_OK) {
        sc_doors_close(doors);
        return status;
    }
    *out = doors;
    return SC_OK;
}

void sc_doors_close(sc_doors *doors)
{
    if (doors == NULL)
        return;
    tenants_free(doors->tenants, doors->keys.tenants_count);
    sc_keys_fini(&doors->keys);
    pthread_rwlock_destroy(&doors->lock);
    pthread_mutex_destroy(&doors->reload_lock);
    free(doors);
}

/* ---- callers ---- */

static bool bearer(sc_str authorization, sc_digest *hash)
{
    static const char scheme[] = "Bearer ";
    size_t            skip = sizeof scheme - 1;
    if (authorization.len <= skip || authorization.len > skip + KEY_BYTES_MAX ||
        strncasecmp(authorization.ptr, scheme, skip) != 0)
        return false;
    *hash = sc_sha256(authorization.ptr + skip, authorization.len - skip);
    return true;
}

static bool equal_in_constant_time(const sc_digest *a, const sc_digest *b)
{
    uint64_t x[4], y[4], differs = 0;
    memcpy(x, a->bytes, sizeof x);
    memcpy(y, b->bytes, sizeof y);
    for (int i = 0; i < 4; i++)
        differs |= x[i] ^ y[i];
    return differs == 0;
}

/* Looks at every row, whichever matches. */
static const sc_key_row *row_by_key(const sc_keys *keys, const sc_digest *hash)
{
    const sc_key_row *found = NULL;
    for (size_t i = 0; i < keys->keys_count; i++)
        if ((keys->keys[i].san[0] == '\0') & equal_in_constant_time(&keys->keys[i].hash, hash))
            found = &keys->keys[i];
    return found;
}

static const sc_key_row *row_by_name(const sc_keys *keys, sc_str identity)
{
    for (size_t i = 0; identity.len != 0 && i < keys->keys_count; i++)
        if (sc_str_equal(sc_str_of(keys->keys[i].san), identity))
            return &keys->keys[i];
    return NULL;
}

/* Under lock. A key that is given must be right: a certificate does not make up for it. */
static const sc_key_row *recognise(const sc_doors *doors, sc_str authorization, sc_str identity)
{
    sc_digest hash;
    if (authorization.ptr == NULL)
        return row_by_name(&doors->keys, identity);
    return bearer(authorization, &hash) ? row_by_key(&doors->keys, &hash) : NULL;
}

sc_status sc_doors_admit(sc_doors *doors, sc_str authorization, sc_str identity, sc_right right,
                         sc_instant now, sc_pass *pass, int64_t *retry_after_ms)
{
    sc_status status = SC_UNAUTHENTICATED;
    tenant   *t = NULL;

    *retry_after_ms = 0;
    *pass = (sc_pass){.tenant = SC_STR(""), .rights = SC_RIGHT_ALL, .limits = {.distance_max = 2}};
    if (doors->path == NULL)
        return SC_OK;
    reload_if_due(doors, now);
    pthread_rwlock_rdlock(&doors->lock);
    const sc_key_row *row = recognise(doors, authorization, identity);
    if (row != NULL && (row->rights & right) != (unsigned)right)
        status = SC_PERMISSION_DENIED;
    else if (row != NULL) {
        t = doors->tenants[row->tenant];
        pass->rights = row->rights;
        status = tenant_enter(t, now, &pass->limits, retry_after_ms);
    }
    if (status == SC_OK)
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    pthread_rwlock_unlock(&doors->lock);
    if (status == SC_OK) {
        pass->tenant = sc_str_of(t->name);
        pass->_tenant = t;
    }
    return status;
}

void sc_doors_leave(sc_doors *doors, sc_pass *pass)
{
    tenant *t = pass->_tenant;
    (void)doors;
    if (t == NULL)
        return;
    pass->_tenant = NULL;
    pthread_mutex_lock(&t->lock);
    t->inflight--;
    pthread_mutex_unlock(&t->lock);
    tenant_unref(t);
}

const char *sc_doors_text(sc_status status)
{
    if (status == SC_UNAUTHENTICATED)
        return "not authenticated";
    return status == SC_PERMISSION_DENIED ? "not permitted" : "the tenant's limit is reached";
}
