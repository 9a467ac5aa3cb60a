/* A long while at most of what the machine can do: hits, misses, callers who leave, and faults in turn. Prints a
 * table, and fails when memory drifts, descriptors leak, or a request is not accounted for.
 *
 * usage: bazel run -c opt //tests/faults:soak [-- --seconds N]     600 unless said otherwise */
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/client.h"
#include "src/base/clock.h"
#include "tests/support/world.h"

enum {
    CALLERS = 16,
    CALIBRATION_MS = 2000,
    LOAD_PERCENT = 80,
    KNOWN = 2000,
    WARM_UP_PERCENT = 30, /* of the time; the memory afterwards is what it is compared with */
    DRIFT_PERCENT = 5,
    SAMPLES_MAX = 4096
};

typedef struct {
    atomic_ulong sent, answered, cancelled, failed, wrong;
} tally;

typedef struct {
    sc_world    world;
    tally       seen;
    atomic_bool stop;
    /* Of each caller between two calls; 0: as fast as it goes. */
    atomic_uint  pause_us;
    atomic_ulong next_new;
} soak;

/* ---- one caller ------------------------------------------------------------------------------------ */

typedef struct {
    soak           *all;
    sc_client      *client;
    sc_client_call *call;
    uint32_t        random;
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    bool            done; /* under lock */
} caller;

static void on_done(sc_client_call *call, void *context)
{
    caller *me = context;
    (void)call;
    pthread_mutex_lock(&me->lock);
    me->done = true;
    pthread_cond_signal(&me->changed);
    pthread_mutex_unlock(&me->lock);
}

static unsigned chance(caller *me, unsigned below)
{
    me->random = me->random * 1664525u + 1013904223u;
    return (me->random >> 8) % below;
}

/* 1 of 20 questions is new. 1 of 50 callers leaves at once, some of the others while the LLM is asked. */
static void ask(caller *me)
{
    char    prompt[64];
    uint8_t bytes[128];
    tally  *seen = &me->all->seen;
    bool    is_new = chance(me, 20) == 0, leaves = chance(me, 50) == 0;
    if (is_new)
        snprintf(prompt, sizeof prompt, "New question %lu?", atomic_fetch_add(&me->all->next_new, 1) % 99999);
    else
        snprintf(prompt, sizeof prompt, "Known question %u?", chance(me, KNOWN));
    sc_ask_request request = sc_ask_init(prompt);
    size_t         len = protobuf_c_message_pack(&request.base, bytes);
    me->done = false;
    atomic_fetch_add(&seen->sent, 1);
    sc_client_call_start(me->call, (sc_str){(const char *)bytes, len}, sc_instant_after_ms(sc_now(), 10000), true);
    if (is_new && chance(me, 10) == 0) {
        usleep(2000);
        leaves = true;
    }
    if (leaves)
        sc_client_call_cancel(me->call);
    pthread_mutex_lock(&me->lock);
    while (!me->done)
        pthread_cond_wait(&me->changed, &me->lock);
    pthread_mutex_unlock(&me->lock);

    const sc_client_reply *reply = sc_client_call_reply(me->call);
    atomic_fetch_add(reply->code == 0 ? &seen->answered : reply->code == 1 ? &seen->cancelled : &seen->failed, 1);
    if (reply->code == 0 && memmem(reply->message.ptr, reply->message.len, prompt, strlen(prompt)) == NULL)
        atomic_fetch_add(&seen->wrong, 1);
}

static void *call_on_and_on(void *arg)
{
    caller           *me = arg;
    soak             *all = me->all;
    sc_client_options options = {.target = sc_test_server_target(all->world.servers[0])};
    sc_error          error;
    if (sc_client_open(&options, &me->client, &error) != SC_OK ||
        sc_client_call_open(me->client, "/semcache.v1.SemanticCache/Answer", on_done, me, &me->call) != SC_OK)
        abort();
    while (!atomic_load(&all->stop)) {
        ask(me);
        unsigned pause = atomic_load(&all->pause_us);
        if (pause != 0)
            usleep(pause);
    }
    sc_client_call_close(me->call);
    sc_client_close(me->client);
    return NULL;
}

/* ---- what is watched --------------------------------------------------------------------------------- */

typedef struct {
    double   at_s;
    uint64_t rss_kib;
    unsigned descriptors;
} sample;

static uint64_t rss_kib(pid_t pid)
{
    char               path[64], line[128];
    unsigned long long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "VmRSS: %llu kB", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kib;
}

static unsigned descriptors(pid_t pid)
{
    char     path[64];
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    while (folder != NULL && readdir(folder) != NULL)
        count++;
    if (folder != NULL)
        closedir(folder);
    return count;
}

/* ---- faults, in turn ------------------------------------------------------------------------------------- */

static void fault(soak *all, unsigned turn)
{
    sc_world *here = &all->world;
    switch (turn % 5) {
    case 0:
        sc_upstream_control(here->upstream, "{\"embeddings\": {\"status\": 500}}");
        break;
    case 1:
        sc_upstream_control(here->upstream, "{\"chat\": {\"status\": 500}}");
        break;
    case 2:
        sc_test_redis_pause(here->redis);
        break;
    case 3:
        sc_upstream_control(here->upstream, "{\"chat\": {\"fault\": \"cut\"}}");
        break;
    default:
        sc_upstream_control(here->upstream, "{\"embeddings\": {\"fault\": \"hang\"}}");
    }
}

static void heal(soak *all)
{
    sc_test_redis_resume(all->world.redis);
    sc_upstream_control(all->world.upstream, "{\"embeddings\": {}, \"chat\": {\"delay_ms\": 5}}");
}

/* ---- the run ----------------------------------------------------------------------------------------------- */

/* How fast the callers are when nobody holds them back; then they are, to the given part of that. */
static unsigned long calibrate(soak *all)
{
    unsigned long before = atomic_load(&all->seen.sent);
    usleep(CALIBRATION_MS * 1000);
    unsigned long rate = (atomic_load(&all->seen.sent) - before) * 1000 / CALIBRATION_MS;
    if (rate == 0)
        rate = 1;
    /* A caller's turn takes CALLERS / rate seconds; it is to take 100 / LOAD_PERCENT of that. */
    double turn_us = 1e6 * CALLERS / (double)rate;
    unsigned pause = (unsigned)(turn_us * (100.0 / LOAD_PERCENT - 1));
    /* Sleeping itself takes about 60 us longer than asked. */
    atomic_store(&all->pause_us, pause > 80 ? pause - 60 : 20);
    return rate;
}

static void print_row(const soak *all, const sample *now, unsigned long rate)
{
    const tally *seen = &all->seen;
    printf("%7.0f %10lu %9lu %9lu %8lu %6lu %9.1f %6u\n", now->at_s, atomic_load(&seen->sent), rate,
           atomic_load(&seen->cancelled), atomic_load(&seen->failed), atomic_load(&seen->wrong),
           (double)now->rss_kib / 1024, now->descriptors);
    fflush(stdout);
}

static size_t watch(soak *all, double seconds, sample *samples)
{
    pid_t         pid = sc_test_server_pid(all->world.servers[0]);
    sc_instant    start = sc_now();
    unsigned long sent_before = atomic_load(&all->seen.sent);
    double        row_every = seconds < 60 ? seconds / 5 : seconds / 20, next_row = row_every, row_before = 0;
    size_t        count = 0;
    /* A cycle: a fault for a fifth of it, then peace. */
    double cycle = seconds < 60 ? 2 : 10;
    bool   broken = false;
    for (double at = 0; at < seconds && count < SAMPLES_MAX; at = (double)sc_elapsed_us(start, sc_now()) / 1e6) {
        unsigned turn = (unsigned)(at / cycle);
        double   phase = at - turn * cycle;
        /* The last cycle is peaceful: what a fault holds on to must be given back. */
        bool wanted = phase > cycle / 2 && phase < cycle * 0.7 && at < seconds - cycle;
        if (wanted && !broken)
            fault(all, turn);
        if (!wanted && broken)
            heal(all);
        broken = wanted;
        samples[count++] = (sample){at, rss_kib(pid), descriptors(pid)};
        if (at >= next_row) {
            unsigned long sent = atomic_load(&all->seen.sent);
            print_row(all, &samples[count - 1], (unsigned long)((double)(sent - sent_before) / (at - row_before)));
            sent_before = sent;
            row_before = at;
            next_row += row_every;
        }
        usleep(200000);
    }
    heal(all);
    return count;
}

/* ---- judgement ----------------------------------------------------------------------------------------------- */

/* The mean of the samples between two parts of the run. */
static double mean_mib(const sample *samples, size_t count, double from, double to)
{
    double sum = 0;
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        double part = (double)i / (double)count;
        if (part < from || part >= to)
            continue;
        sum += (double)samples[i].rss_kib / 1024;
        used++;
    }
    return used == 0 ? 0 : sum / (double)used;
}

static bool memory_is_flat(const sample *samples, size_t count)
{
    double warm = WARM_UP_PERCENT / 100.0;
    double first = mean_mib(samples, count, warm, warm + 0.1), last = mean_mib(samples, count, 0.9, 1);
    double drift = first == 0 ? 100 : (last - first) / first * 100;
    printf("memory: %.1f MiB after the warm-up, %.1f MiB at the end: %+.1f %% (at most %d %%)\n", first, last,
           drift, DRIFT_PERCENT);
    return drift <= DRIFT_PERCENT && drift >= -DRIFT_PERCENT;
}

static unsigned most_descriptors(const sample *samples, size_t from, size_t to)
{
    unsigned most = 0;
    for (size_t i = from; i < to; i++)
        if (samples[i].descriptors > most)
            most = samples[i].descriptors;
    return most;
}

/* Connections to upstreams come and go: the peaks of two stretches are compared. */
static bool descriptors_are_kept(const sample *samples, size_t count)
{
    enum { ROOM = 8 };
    unsigned first = most_descriptors(samples, count / 5, count / 2);
    unsigned last = most_descriptors(samples, count - count / 5, count);
    printf("descriptors: at most %u in the first half, %u at the end\n", first, last);
    return last <= first + ROOM;
}

static bool requests_are_accounted_for(soak *all)
{
    sc_stats_response         *stats = sc_ask_stats(all->world.askers[0]);
    Semcache__V1__PeriodStats *w = stats->since_start;
    uint64_t outcomes = w->exact + w->warm + w->redis + w->joined + w->llm + w->not_found + w->failed + w->cancelled;
    const tally *seen = &all->seen;
    unsigned long sent = atomic_load(&seen->sent);
    printf("Stats: requests %llu = exact %llu + warm %llu + redis %llu + joined %llu + LLM %llu + not found %llu + "
           "failed %llu + cancelled %llu (sum %llu)\n",
           (unsigned long long)w->requests, (unsigned long long)w->exact, (unsigned long long)w->warm,
           (unsigned long long)w->redis, (unsigned long long)w->joined, (unsigned long long)w->llm,
           (unsigned long long)w->not_found, (unsigned long long)w->failed, (unsigned long long)w->cancelled,
           (unsigned long long)outcomes);
    printf("callers: sent %lu = answered %lu + failed %lu + left %lu; wrong %lu\n", sent,
           atomic_load(&seen->answered), atomic_load(&seen->failed), atomic_load(&seen->cancelled),
           atomic_load(&seen->wrong));
    /* A call that was cancelled before it was sent never reached the server. */
    bool fits = outcomes == w->requests && w->requests <= sent &&
                w->requests + atomic_load(&seen->cancelled) >= sent &&
                sent == atomic_load(&seen->answered) + atomic_load(&seen->failed) + atomic_load(&seen->cancelled);
    sc_stats_free(stats);
    return fits;
}

static bool judge(soak *all, const sample *samples, size_t count, bool is_long)
{
    bool flat = memory_is_flat(samples, count);
    bool kept = descriptors_are_kept(samples, count);
    bool accounted = requests_are_accounted_for(all);
    bool right = atomic_load(&all->seen.wrong) == 0;
    if (!is_long)
        printf("memory is not judged in a run of less than a minute: that is all warm-up\n");
    printf("%s\n", (flat || !is_long) && kept && accounted && right ? "passed" : "FAILED");
    return (flat || !is_long) && kept && accounted && right;
}

static bool run(soak *all, double seconds)
{
    static sample samples[SAMPLES_MAX];
    static caller callers[CALLERS];
    pthread_t     threads[CALLERS];
    heal(all);
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (caller){.all = all, .random = i * 7919 + 1};
        pthread_mutex_init(&callers[i].lock, NULL);
        pthread_cond_init(&callers[i].changed, NULL);
        if (pthread_create(&threads[i], NULL, call_on_and_on, &callers[i]) != 0)
            abort();
    }
    usleep(CALIBRATION_MS * 1000); /* the known questions become known */
    unsigned long capacity = calibrate(all);
    printf("capacity %lu calls/s with %d callers; load %d %% of it for %.0f s\n\n", capacity, CALLERS, LOAD_PERCENT,
           seconds);
    printf("%7s %10s %9s %9s %8s %6s %9s %6s\n", "seconds", "sent", "calls/s", "left", "failed", "wrong", "RSS MiB",
           "fds");
    size_t count = watch(all, seconds, samples);
    atomic_store(&all->stop, true);
    for (unsigned i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    usleep(1000000); /* flights that nobody waits for end */
    printf("\n");
    return judge(all, samples, count, seconds >= 60);
}

int main(int argc, char **argv)
{
    static soak all;
    double      seconds = 600;
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(argv[i + 1], NULL);
    sc_world_open(&all.world, 0, NULL);
    if (all.world.redis == NULL) {
        printf("[  SKIPPED ] soak\n");
        return 0;
    }
    /* Memory is bounded by these; the run is long enough to reach the bounds. */
    sc_world_add(&all.world, (const char *const[]){"WARM_BYTES_MAX=8MiB", "EMBEDDING_MAP_BYTES=4MiB",
                                                   "STORE_ENTRIES_MAX=20000", "REDIS_TIMEOUT_MS=100",
                                                   "EMBEDDING_TIMEOUT_MS=200", "LLM_TIMEOUT_MS=1000",
                                                   "EMBEDDING_BREAKER_OPEN_MS=200", "LLM_BREAKER_OPEN_MS=200",
                                                   "STORE_WAITING_BYTES_MAX=4MiB",
                                                   "CORE_DUMPS=true", /* else its descriptors are not ours to count */
                                                   NULL});
    printf("[ RUN      ] soak\n");
    bool went_well = run(&all, seconds);
    sc_world_close(&all.world);
    printf("%s soak\n", went_well ? "[       OK ]" : "[  FAILED  ]");
    return went_well ? 0 : 1;
}
