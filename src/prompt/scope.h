/* scope.h - who and what an answer may be shared between, and the name of a question in it.
 *
 * Every field that changes the answer goes into one SHA-256, each behind its length, so
 * that no content can imitate a border between fields. Pure functions; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/hash.h"
#include "src/base/str.h"

/* An earlier turn of the conversation. */
typedef struct {
    sc_str role;
    sc_str content;
} sc_turn;

/* A further parameter of the upstream request that changes the answer: name and JSON text. */
typedef struct {
    sc_str name;
    sc_str json;
} sc_param;

typedef struct {
    sc_str          tenant;
    sc_str          model;
    sc_str          corpus_version;
    sc_str          system_prompt;
    double          temperature;
    const sc_turn  *turns; /* [turns_count], in order */
    size_t          turns_count;
    const sc_param *params; /* [params_count], sorted by name, no name twice */
    size_t          params_count;
} sc_scope_fields;

/* Digest of every field. */
sc_digest sc_scope_digest(const sc_scope_fields *fields);

/* Digest of a system prompt alone, as it is stored with an entry. */
sc_digest sc_system_hash(sc_str system_prompt);

/* The exact key: the question's name within its scope. guard is the canonical text's, so that two
 * questions that may not share an answer never share a key. */
sc_digest sc_exact_key(const sc_digest *scope, sc_str canonical, uint64_t guard);
