#include "src/prompt/scope.h"

#include <assert.h>
#include <string.h>

/* Names of the digests' layouts: a change of layout gets a new name, so that servers of
 * different versions on one store never read each other's keys as their own. */
static const sc_str scope_layout = {"semcache scope 1", 16};
static const sc_str key_layout = {"semcache exact key 1", 20};

/* The same number has the same bits: -0.0 is 0.0. */
static uint64_t real_bits(double value)
{
    uint64_t bits;
    if (value == 0)
        value = 0;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static int compare(sc_str a, sc_str b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int    order = common == 0 ? 0 : memcmp(a.ptr, b.ptr, common);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static void hash_turns(sc_hasher *hasher, const sc_turn *turns, size_t count)
{
    sc_hasher_u64(hasher, count);
    for (size_t i = 0; i < count; i++) {
        sc_hasher_field(hasher, turns[i].role);
        sc_hasher_field(hasher, turns[i].content);
    }
}

static void hash_params(sc_hasher *hasher, const sc_param *params, size_t count)
{
    sc_hasher_u64(hasher, count);
    for (size_t i = 0; i < count; i++) {
        assert(i == 0 || compare(params[i - 1].name, params[i].name) < 0);
        sc_hasher_field(hasher, params[i].name);
        sc_hasher_field(hasher, params[i].json);
    }
}

sc_digest sc_scope_digest(const sc_scope_fields *fields)
{
    sc_hasher hasher;
    assert(fields->temperature == fields->temperature);
    sc_hasher_init(&hasher);
    sc_hasher_field(&hasher, scope_layout);
    sc_hasher_field(&hasher, fields->tenant);
    sc_hasher_field(&hasher, fields->model);
    sc_hasher_field(&hasher, fields->corpus_version);
    sc_hasher_field(&hasher, fields->system_prompt);
    sc_hasher_u64(&hasher, real_bits(fields->temperature));
    hash_turns(&hasher, fields->turns, fields->turns_count);
    hash_params(&hasher, fields->params, fields->params_count);
    return sc_hasher_final(&hasher);
}

sc_digest sc_system_hash(sc_str system_prompt)
{
    return sc_sha256(system_prompt.ptr, system_prompt.len);
}

sc_digest sc_exact_key(const sc_digest *scope, sc_str canonical, uint64_t guard)
{
    sc_hasher hasher;
    sc_hasher_init(&hasher);
    sc_hasher_field(&hasher, key_layout);
    sc_hasher_bytes(&hasher, scope->bytes, sizeof scope->bytes);
    sc_hasher_field(&hasher, canonical);
    sc_hasher_u64(&hasher, guard);
    return sc_hasher_final(&hasher);
}
