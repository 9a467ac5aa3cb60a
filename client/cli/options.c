#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"

static const char help[] =
    "usage: semcache [options] <command> [words]\n"
    "\n"
    "Commands\n"
    "  answer <question>   ask; prints the answer and where it came from (- reads standard input)\n"
    "  stats               what the server did since it started and over the last minute\n"
    "  invalidate          remove entries: --id --exact --meaning --model --corpus-version --system\n"
    "                      --tag --older-than combine with AND; --all; --dry-run only shows them\n"
    "  look                show up to 20 entries, by the same criteria (all without any)\n"
    "  tune <file>         for each threshold, which questions (one per line) would hit, and what\n"
    "  demo                three questions, the same again, five paraphrases\n"
    "\n"
    "Connection\n"
    "  --target ADDRESS    host:port or unix:/path; SEMCACHE_TARGET, else 127.0.0.1:50051\n"
    "  --tls               with the system's authorities, or --ca FILE\n"
    "  --ca FILE           PEM of the authorities to trust (implies --tls)\n"
    "  --cert FILE --key FILE   show a client certificate\n"
    "  --server-name NAME  expect this name in the server's certificate\n"
    "  --token-file FILE   API key; or SEMCACHE_TOKEN in the environment\n"
    "  --timeout-ms N      for each call, 60000 by default\n"
    "  --json              print the reply as JSON\n"
    "\n"
    "Question\n"
    "  --system TEXT  --model NAME  --temperature X  --corpus-version TEXT\n"
    "  --max-distance X  --top-k N  --ttl SECONDS  --tag TEXT (again for more)\n"
    "  --mode default|refresh|no-store|bypass|only-if-cached\n"
    "\n"
    "Tune\n"
    "  --from X --to X --step X   thresholds, 0.05 to 0.60 by 0.05\n";

enum {
    OPT_HELP = 1000,
    OPT_TARGET,
    OPT_TLS,
    OPT_CA,
    OPT_CERT,
    OPT_KEY,
    OPT_SERVER_NAME,
    OPT_TOKEN_FILE,
    OPT_TIMEOUT,
    OPT_JSON,
    OPT_SYSTEM,
    OPT_MODEL,
    OPT_TEMPERATURE,
    OPT_CORPUS,
    OPT_MAX_DISTANCE,
    OPT_TOP_K,
    OPT_TTL,
    OPT_TAG,
    OPT_MODE,
    OPT_ID,
    OPT_EXACT,
    OPT_MEANING,
    OPT_OLDER_THAN,
    OPT_ALL,
    OPT_DRY_RUN,
    OPT_FROM,
    OPT_TO,
    OPT_STEP
};

static const struct option table[] = {
    {"help", no_argument, NULL, OPT_HELP},
    {"target", required_argument, NULL, OPT_TARGET},
    {"tls", no_argument, NULL, OPT_TLS},
    {"ca", required_argument, NULL, OPT_CA},
    {"cert", required_argument, NULL, OPT_CERT},
    {"key", required_argument, NULL, OPT_KEY},
    {"server-name", required_argument, NULL, OPT_SERVER_NAME},
    {"token-file", required_argument, NULL, OPT_TOKEN_FILE},
    {"timeout-ms", required_argument, NULL, OPT_TIMEOUT},
    {"json", no_argument, NULL, OPT_JSON},
    {"system", required_argument, NULL, OPT_SYSTEM},
    {"model", required_argument, NULL, OPT_MODEL},
    {"temperature", required_argument, NULL, OPT_TEMPERATURE},
    {"corpus-version", required_argument, NULL, OPT_CORPUS},
    {"max-distance", required_argument, NULL, OPT_MAX_DISTANCE},
    {"top-k", required_argument, NULL, OPT_TOP_K},
    {"ttl", required_argument, NULL, OPT_TTL},
    {"tag", required_argument, NULL, OPT_TAG},
    {"mode", required_argument, NULL, OPT_MODE},
    {"id", required_argument, NULL, OPT_ID},
    {"exact", required_argument, NULL, OPT_EXACT},
    {"meaning", required_argument, NULL, OPT_MEANING},
    {"older-than", required_argument, NULL, OPT_OLDER_THAN},
    {"all", no_argument, NULL, OPT_ALL},
    {"dry-run", no_argument, NULL, OPT_DRY_RUN},
    {"from", required_argument, NULL, OPT_FROM},
    {"to", required_argument, NULL, OPT_TO},
    {"step", required_argument, NULL, OPT_STEP},
    {NULL, 0, NULL, 0},
};

static bool read_real(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*out);
}

static bool read_int(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return end != text && *end == '\0' && errno == 0;
}

static bool list_add(cli_list *list, char *item)
{
    if (list->count == CLI_LIST_MAX)
        return false;
    list->items[list->count++] = item;
    return true;
}

/* The first line of the file, malloc'd. */
static bool token_read(const char *path, cli_options *o)
{
    char  *line = NULL;
    size_t room = 0;
    FILE  *file = fopen(path, "re");
    if (file == NULL)
        return false;
    ssize_t len = getline(&line, &room, file);
    fclose(file);
    if (len <= 0) {
        free(line);
        return false;
    }
    line[strcspn(line, "\r\n")] = '\0';
    o->client.token = line;
    return true;
}

static bool connection_set(cli_options *o, int option, char *value)
{
    switch (option) {
    case OPT_TARGET:
        o->client.target = value;
        return true;
    case OPT_TLS:
        o->client.tls = true;
        return true;
    case OPT_CA:
        o->client.tls = true;
        o->client.ca_file = value;
        return true;
    case OPT_CERT:
        o->client.cert_file = value;
        return true;
    case OPT_KEY:
        o->client.key_file = value;
        return true;
    case OPT_SERVER_NAME:
        o->client.server_name = value;
        return true;
    case OPT_TOKEN_FILE:
        return token_read(value, o);
    case OPT_TIMEOUT:
        return read_int(value, &o->timeout_ms) && o->timeout_ms > 0;
    default:
        return false;
    }
}

static bool question_set(cli_options *o, int option, char *value)
{
    switch (option) {
    case OPT_JSON:
        return o->json = true;
    case OPT_SYSTEM:
        o->system = value;
        return true;
    case OPT_MODEL:
        o->model = value;
        return true;
    case OPT_TEMPERATURE:
        return o->has_temperature = read_real(value, &o->temperature);
    case OPT_CORPUS:
        o->corpus_version = value;
        return true;
    case OPT_MAX_DISTANCE:
        return o->has_max_distance = read_real(value, &o->max_distance);
    case OPT_TOP_K:
        return o->has_top_k = read_int(value, &o->top_k) && o->top_k >= 0 && o->top_k <= UINT32_MAX;
    case OPT_TTL:
        return o->has_ttl = read_int(value, &o->ttl);
    case OPT_TAG:
        return list_add(&o->tags, value);
    case OPT_MODE:
        o->mode = value;
        return true;
    default:
        return false;
    }
}

static bool criterion_set(cli_options *o, int option, char *value)
{
    switch (option) {
    case OPT_ID:
        return list_add(&o->ids, value);
    case OPT_EXACT:
        o->exact = value;
        return true;
    case OPT_MEANING:
        o->meaning = value;
        return true;
    case OPT_OLDER_THAN:
        return o->has_older_than = read_int(value, &o->older_than);
    case OPT_ALL:
        return o->all = true;
    case OPT_DRY_RUN:
        return o->dry_run = true;
    case OPT_FROM:
        return read_real(value, &o->from);
    case OPT_TO:
        return read_real(value, &o->to);
    case OPT_STEP:
        return read_real(value, &o->step) && o->step > 0;
    default:
        return false;
    }
}

static bool option_set(cli_options *o, int option, char *value)
{
    if (option <= OPT_TIMEOUT)
        return connection_set(o, option, value);
    return option <= OPT_MODE ? question_set(o, option, value) : criterion_set(o, option, value);
}

static void defaults_set(cli_options *o)
{
    const char *target = getenv("SEMCACHE_TARGET");
    const char *token = getenv("SEMCACHE_TOKEN");

    o->client.target = target != NULL && *target != '\0' ? target : "127.0.0.1:50051";
    o->client.token = token != NULL ? strdup(token) : NULL;
    o->timeout_ms = 60000;
    o->from = 0.05;
    o->to = 0.60;
    o->step = 0.05;
}

const char *cli_options_read(int argc, char **argv, cli_options *o)
{
    int option, at = 0;

    defaults_set(o);
    while ((option = getopt_long(argc, argv, "h", table, &at)) != -1) {
        if (option == '?')
            return NULL;
        if (option == OPT_HELP || option == 'h') {
            fputs(help, stdout);
            return "";
        }
        if (option == OPT_TOKEN_FILE) {
            free((char *)(uintptr_t)o->client.token);
            o->client.token = NULL;
        }
        if (!option_set(o, option, optarg)) {
            fprintf(stderr, "semcache: --%s: %s: not a valid value\n", table[at].name, optarg);
            return NULL;
        }
    }
    if (optind == argc) {
        fputs(help, stderr);
        return NULL;
    }
    o->words = argv + optind + 1;
    o->words_count = (size_t)(argc - optind - 1);
    return argv[optind];
}

void cli_options_free(cli_options *o)
{
    char *token = (char *)(uintptr_t)o->client.token;
    if (token != NULL)
        explicit_bzero(token, strlen(token));
    free(token);
}
