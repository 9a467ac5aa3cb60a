/* cluster.h - a real Redis Cluster of three masters with search for one test. As redis.h says, a
 * function stops the test when the machine does not do what it needs. One thread. */
#pragma once

#include <stddef.h>

#include "tests/support/redis.h"

enum { SC_TEST_MASTERS = 3, SC_TEST_SLOTS = 16384 };

typedef struct {
    sc_test_redis *masters[SC_TEST_MASTERS]; /* the slots are dealt out in equal parts, in order */
    sc_test_redis *replica;                  /* NULL: none */
    char           cluster_ports[SC_TEST_MASTERS + 1][8];
    const char    *args[SC_TEST_MASTERS + 1][64];
} sc_test_cluster;

/* Three masters that know each other, whose cluster is whole; one that is missing makes only its
 * own slots unavailable. args as for sc_test_redis_start(). False: Redis is not installed. */
bool sc_test_cluster_start(sc_test_cluster *cluster, const char *const *args);
void sc_test_cluster_stop(sc_test_cluster *cluster);

/* "redis://[user:password@]127.0.0.1:port" of that master. */
void sc_test_cluster_url(const sc_test_cluster *cluster, size_t master, const char *user_password,
                         char *out, size_t room);

/* Adds a replica of that master, and waits until it has what the master has. Once. */
void sc_test_cluster_replicate(sc_test_cluster *cluster, size_t master, const char *const *args);

/* Kills that master, and waits until the replica is in its place. */
void sc_test_cluster_fail_over(sc_test_cluster *cluster, size_t master);

/* Waits until every master that runs holds the cluster for whole. */
void sc_test_cluster_await(sc_test_cluster *cluster);

/* The slot of a key, and the master that is its owner to begin with. */
int    sc_test_cluster_slot(sc_test_cluster *cluster, const char *key);
size_t sc_test_cluster_owner(int slot);

/* A live move in its three steps: announces it, takes the keys over, and changes the owner. */
void sc_test_cluster_move_begin(sc_test_cluster *cluster, int slot, size_t from, size_t to);
void sc_test_cluster_move_keys(sc_test_cluster *cluster, int slot, size_t from, size_t to);
void sc_test_cluster_move_end(sc_test_cluster *cluster, int slot, size_t from, size_t to);
