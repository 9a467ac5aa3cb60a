#include "tests/support/cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AWAIT_MS_MAX = 60000, STEP_MS = 20, MEET_STEPS = 100, KEYS_MAX = 1000 };

static void stop_test(const char *what)
{
    fprintf(stderr, "tests/support/cluster: %s\n", what);
    abort();
}

static int first_slot(size_t master)
{
    return (int)(SC_TEST_SLOTS * master / SC_TEST_MASTERS);
}

size_t sc_test_cluster_owner(int slot)
{
    size_t master = SC_TEST_MASTERS - 1;
    while (first_slot(master) > slot)
        master--;
    return master;
}

/* A command that must succeed. */
#define DO(redis, ...)                                                                             \
    do {                                                                                           \
        redisReply *reply_ = sc_test_redis_call(redis, __VA_ARGS__);                               \
        if (reply_->type == REDIS_REPLY_ERROR)                                                     \
            stop_test(reply_->str);                                                                \
        freeReplyObject(reply_);                                                                   \
    } while (0)

/* The bus has a port of its own: the usual one, 10000 above, may be beyond the last. */
static void make_args(sc_test_cluster *cluster, size_t master, const char *const *args)
{
    const char *const fixed[] = {"--cluster-enabled",
                                 "yes",
                                 "--cluster-config-file",
                                 "nodes.conf",
                                 "--cluster-node-timeout",
                                 "2000",
                                 "--cluster-require-full-coverage",
                                 "no",
                                 "--cluster-port",
                                 cluster->cluster_ports[master]};
    size_t            used = sizeof fixed / sizeof fixed[0];

    snprintf(cluster->cluster_ports[master], sizeof cluster->cluster_ports[master], "%d",
             sc_test_free_port());
    memcpy(cluster->args[master], fixed, sizeof fixed);
    for (; args != NULL && *args != NULL; args++)
        cluster->args[master][used++] = *args;
}

static bool says(sc_test_redis *redis, const char *command, const char *wanted)
{
    redisReply *reply = sc_test_redis_call(redis, command);
    bool        said = reply->type == REDIS_REPLY_STRING && strstr(reply->str, wanted) != NULL;
    freeReplyObject(reply);
    return said;
}

static void await(sc_test_redis *redis, const char *command, const char *wanted)
{
    for (int waited = 0; !says(redis, command, wanted); waited += STEP_MS) {
        if (waited > AWAIT_MS_MAX)
            stop_test(wanted);
        usleep(STEP_MS * 1000);
    }
}

/* On a busy machine a handshake may run out of time, and is not repeated by the nodes. */
static void meet(sc_test_cluster *cluster, sc_test_redis *other, const char *cluster_port,
                 const char *known)
{
    for (int step = 0; !says(other, "CLUSTER INFO", known); step++) {
        if (step % MEET_STEPS == 0)
            DO(cluster->masters[0], "CLUSTER MEET 127.0.0.1 %d %s", sc_test_redis_port(other),
               cluster_port);
        if (step * STEP_MS > AWAIT_MS_MAX)
            stop_test("nodes do not meet");
        usleep(STEP_MS * 1000);
    }
}

bool sc_test_cluster_start(sc_test_cluster *cluster, const char *const *args)
{
    *cluster = (sc_test_cluster){0};
    for (size_t i = 0; i < SC_TEST_MASTERS; i++) {
        make_args(cluster, i, args);
        cluster->masters[i] = sc_test_redis_start(cluster->args[i]);
        if (cluster->masters[i] == NULL)
            return false;
        DO(cluster->masters[i], "CLUSTER ADDSLOTSRANGE %d %d", first_slot(i),
           first_slot(i + 1) - 1);
        DO(cluster->masters[i], "CLUSTER SET-CONFIG-EPOCH %d", (int)i + 1);
        if (i > 0)
            meet(cluster, cluster->masters[i], cluster->cluster_ports[i],
                 i == 1 ? "cluster_known_nodes:2" : "cluster_known_nodes:3");
    }
    sc_test_cluster_await(cluster);
    return true;
}

void sc_test_cluster_stop(sc_test_cluster *cluster)
{
    for (size_t i = 0; i < SC_TEST_MASTERS; i++)
        sc_test_redis_stop(cluster->masters[i]);
    sc_test_redis_stop(cluster->replica);
}

void sc_test_cluster_url(const sc_test_cluster *cluster, size_t master, const char *user_password,
                         char *out, size_t room)
{
    snprintf(out, room, "redis://%s127.0.0.1:%d", user_password,
             sc_test_redis_port(cluster->masters[master]));
}

void sc_test_cluster_await(sc_test_cluster *cluster)
{
    for (size_t i = 0; i < SC_TEST_MASTERS; i++) {
        await(cluster->masters[i], "CLUSTER INFO", "cluster_known_nodes:3");
        await(cluster->masters[i], "CLUSTER INFO", "cluster_slots_ok:16384");
        await(cluster->masters[i], "CLUSTER INFO", "cluster_state:ok");
    }
}

static void read_id(sc_test_redis *redis, char out[64])
{
    redisReply *reply = sc_test_redis_call(redis, "CLUSTER MYID");
    snprintf(out, 64, "%s", reply->str);
    freeReplyObject(reply);
}

/* --- a replica ------------------------------------------------------------------------- */

void sc_test_cluster_replicate(sc_test_cluster *cluster, size_t master, const char *const *args)
{
    char id[64];

    make_args(cluster, SC_TEST_MASTERS, args);
    cluster->replica = sc_test_redis_start(cluster->args[SC_TEST_MASTERS]);
    if (cluster->replica == NULL)
        stop_test("no replica");
    read_id(cluster->masters[master], id);
    meet(cluster, cluster->replica, cluster->cluster_ports[SC_TEST_MASTERS],
         "cluster_known_nodes:4");
    await(cluster->replica, "CLUSTER INFO", "cluster_slots_ok:16384");
    DO(cluster->replica, "CLUSTER REPLICATE %s", id);
    await(cluster->replica, "INFO replication", "master_link_status:up");
}

void sc_test_cluster_fail_over(sc_test_cluster *cluster, size_t master)
{
    sc_test_redis_kill(cluster->masters[master]);
    await(cluster->replica, "INFO replication", "role:master");
    await(cluster->replica, "CLUSTER INFO", "cluster_state:ok");
}

int sc_test_cluster_slot(sc_test_cluster *cluster, const char *key)
{
    return (int)sc_test_redis_integer(cluster->masters[0], "CLUSTER KEYSLOT %s", key);
}

/* --- moving a slot --------------------------------------------------------------------- */

void sc_test_cluster_move_begin(sc_test_cluster *cluster, int slot, size_t from, size_t to)
{
    char id[64];

    read_id(cluster->masters[from], id);
    DO(cluster->masters[to], "CLUSTER SETSLOT %d IMPORTING %s", slot, id);
    read_id(cluster->masters[to], id);
    DO(cluster->masters[from], "CLUSTER SETSLOT %d MIGRATING %s", slot, id);
}

void sc_test_cluster_move_keys(sc_test_cluster *cluster, int slot, size_t from, size_t to)
{
    redisReply *keys = sc_test_redis_call(cluster->masters[from], "CLUSTER GETKEYSINSLOT %d %d",
                                          slot, KEYS_MAX);

    for (size_t i = 0; i < keys->elements; i++)
        DO(cluster->masters[from], "MIGRATE 127.0.0.1 %d %b 0 5000",
           sc_test_redis_port(cluster->masters[to]), keys->element[i]->str,
           keys->element[i]->len);
    freeReplyObject(keys);
}

void sc_test_cluster_move_end(sc_test_cluster *cluster, int slot, size_t from, size_t to)
{
    char id[64];

    read_id(cluster->masters[to], id);
    DO(cluster->masters[to], "CLUSTER SETSLOT %d NODE %s", slot, id);
    DO(cluster->masters[from], "CLUSTER SETSLOT %d NODE %s", slot, id);
}
