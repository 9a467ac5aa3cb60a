/* load - puts load on a semantic cache and says how it bore it. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/load/load.h"

static const char help[] =
    "usage: load [options]\n"
    "  --target ADDRESS     127.0.0.1:50051\n"
    "  --connections N      1; each has a thread\n"
    "  --concurrency N      64 callers; with --rate, at most so many under way\n"
    "  --rate X             questions per second, due at fixed times; without: closed loop\n"
    "  --seconds X          5, measured\n"
    "  --count N            measured questions, instead of seconds\n"
    "  --warmup X           1 second before that\n"
    "  --timeout-ms N       30000\n"
    "  --question TEXT      \"What is the price of article {n}?\"; {n} becomes a number, {w} one in letters\n"
    "  --distinct N         1: the number goes round below this\n"
    "  --fresh X            0: this part of the questions was never asked before\n"
    "  --max-distance X     the server's\n"
    "  --cache-mode N       0: CacheMode by number\n"
    "  --server-pid N       reads that process' CPU time\n"
    "  --token-env NAME     API key in this environment variable\n"
    "  --ca FILE            TLS, with these authorities\n"
    "  --json               one line of JSON\n";

enum {
    OPT_TARGET = 1000,
    OPT_CONNECTIONS,
    OPT_CONCURRENCY,
    OPT_RATE,
    OPT_SECONDS,
    OPT_COUNT,
    OPT_WARMUP,
    OPT_TIMEOUT,
    OPT_QUESTION,
    OPT_DISTINCT,
    OPT_FRESH,
    OPT_MAX_DISTANCE,
    OPT_CACHE_MODE,
    OPT_SERVER_PID,
    OPT_TOKEN_ENV,
    OPT_CA,
    OPT_JSON
};

static const struct option table[] = {
    {"help", no_argument, NULL, 'h'},
    {"target", required_argument, NULL, OPT_TARGET},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"concurrency", required_argument, NULL, OPT_CONCURRENCY},
    {"rate", required_argument, NULL, OPT_RATE},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"count", required_argument, NULL, OPT_COUNT},
    {"warmup", required_argument, NULL, OPT_WARMUP},
    {"timeout-ms", required_argument, NULL, OPT_TIMEOUT},
    {"question", required_argument, NULL, OPT_QUESTION},
    {"distinct", required_argument, NULL, OPT_DISTINCT},
    {"fresh", required_argument, NULL, OPT_FRESH},
    {"max-distance", required_argument, NULL, OPT_MAX_DISTANCE},
    {"cache-mode", required_argument, NULL, OPT_CACHE_MODE},
    {"server-pid", required_argument, NULL, OPT_SERVER_PID},
    {"token-env", required_argument, NULL, OPT_TOKEN_ENV},
    {"ca", required_argument, NULL, OPT_CA},
    {"json", no_argument, NULL, OPT_JSON},
    {NULL, 0, NULL, 0},
};

static uint64_t number(const char *text)
{
    return strtoull(text, NULL, 10);
}

static bool option_set(load_options *o, int option, char *value)
{
    switch (option) {
    case OPT_TARGET:
        o->client.target = value;
        return true;
    case OPT_CONNECTIONS:
        return (o->connections = (unsigned)number(value)) != 0;
    case OPT_CONCURRENCY:
        return (o->concurrency = (unsigned)number(value)) != 0;
    case OPT_RATE:
        return (o->rate = strtod(value, NULL)) > 0;
    case OPT_SECONDS:
        return (o->seconds = strtod(value, NULL)) > 0;
    case OPT_COUNT:
        o->seconds = 0;
        return (o->count = number(value)) != 0;
    case OPT_WARMUP:
        return (o->warmup_seconds = strtod(value, NULL)) >= 0;
    case OPT_TIMEOUT:
        return (o->timeout_ms = (int64_t)number(value)) != 0;
    case OPT_QUESTION:
        o->question = value;
        return true;
    case OPT_DISTINCT:
        return (o->distinct = number(value)) != 0;
    case OPT_FRESH:
        return (o->fresh = strtod(value, NULL)) >= 0 && o->fresh <= 1;
    case OPT_MAX_DISTANCE:
        return (o->max_distance = strtod(value, NULL)) >= 0;
    case OPT_CACHE_MODE:
        o->cache_mode = (int)number(value);
        return true;
    case OPT_SERVER_PID:
        return (o->server = (pid_t)number(value)) > 0;
    case OPT_TOKEN_ENV:
        return (o->client.token = getenv(value)) != NULL;
    case OPT_CA:
        o->client.tls = true;
        o->client.ca_file = value;
        return true;
    default:
        return false;
    }
}

/* -1: go on; else the exit code. */
static int options_read(int argc, char **argv, load_options *o, bool *json)
{
    int option, at = 0;
    while ((option = getopt_long(argc, argv, "h", table, &at)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (option == OPT_JSON) {
            *json = true;
        } else if (option == '?' || !option_set(o, option, optarg)) {
            fputs(help, stderr);
            return 2;
        }
    }
    return optind == argc ? -1 : 2;
}

static const char *const sources[LOAD_SOURCES] = {"other", "exact", "warm", "redis",
                                                  "joined", "llm",  "",     ""};

static void print_text(const load_result *r)
{
    const histogram *h = &r->latency;
    printf("%" PRIu64 " questions in %.2f s: %.0f per second\n", h->count, r->seconds,
           (double)h->count / r->seconds);
    printf("latency ms: p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  max %.3f  mean %.3f\n",
           histogram_quantile(h, 0.5) / 1e6, histogram_quantile(h, 0.9) / 1e6,
           histogram_quantile(h, 0.99) / 1e6, histogram_quantile(h, 0.999) / 1e6,
           (double)h->max_ns / 1e6, h->count != 0 ? h->sum_ns / (double)h->count / 1e6 : 0);
    if (r->server_cpu_seconds >= 0 && h->count != 0)
        printf("server CPU: %.1f us per question\n", r->server_cpu_seconds * 1e6 / (double)h->count);
    for (int i = 0; i < LOAD_SOURCES; i++)
        if (r->sources[i] != 0)
            printf("source %s: %" PRIu64 "\n", sources[i], r->sources[i]);
    for (int i = 1; i < LOAD_CODES; i++)
        if (r->codes[i] != 0)
            printf("failed %s: %" PRIu64 "\n", sc_client_code_name(i), r->codes[i]);
}

static void print_json(const load_result *r)
{
    const histogram *h = &r->latency;
    printf("{\"questions\":%" PRIu64 ",\"seconds\":%.3f,\"per_second\":%.1f", h->count, r->seconds,
           (double)h->count / r->seconds);
    printf(",\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f"
           ",\"mean_us\":%.1f",
           histogram_quantile(h, 0.5) / 1e3, histogram_quantile(h, 0.9) / 1e3,
           histogram_quantile(h, 0.99) / 1e3, histogram_quantile(h, 0.999) / 1e3,
           (double)h->max_ns / 1e3, h->count != 0 ? h->sum_ns / (double)h->count / 1e3 : 0);
    if (r->server_cpu_seconds >= 0 && h->count != 0)
        printf(",\"server_cpu_us\":%.2f", r->server_cpu_seconds * 1e6 / (double)h->count);
    printf(",\"sources\":{");
    for (int i = 0, n = 0; i < LOAD_SOURCES; i++)
        if (r->sources[i] != 0)
            printf("%s\"%s\":%" PRIu64, n++ != 0 ? "," : "", sources[i], r->sources[i]);
    printf("},\"codes\":{");
    for (int i = 0, n = 0; i < LOAD_CODES; i++)
        if (r->codes[i] != 0)
            printf("%s\"%s\":%" PRIu64, n++ != 0 ? "," : "", sc_client_code_name(i), r->codes[i]);
    printf("}}\n");
}

int main(int argc, char **argv)
{
    static load_result result; /* too large for a stack */
    load_options       options = {.client = {.target = "127.0.0.1:50051"},
                                  .connections = 1,
                                  .concurrency = 64,
                                  .seconds = 5,
                                  .warmup_seconds = 1,
                                  .timeout_ms = 30000,
                                  .question = "What is the price of article {n}?",
                                  .distinct = 1,
                                  .max_distance = -1};
    sc_error           error = {0};
    bool               json = false;

    int code = options_read(argc, argv, &options, &json);
    if (code >= 0)
        return code;
    if (load_run(&options, &result, &error) != SC_OK) {
        fprintf(stderr, "load: %s\n", error.text);
        return 1;
    }
    if (json)
        print_json(&result);
    else
        print_text(&result);
    return result.codes[0] != 0 ? 0 : 1;
}
