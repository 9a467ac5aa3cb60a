#include "src/store/redis/resp.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <pthread.h>

/* Decimal with prefix and line end: faster than printf, and half of a command is headers. */
static void put_header(sc_buf *out, char kind, uint64_t value)
{
    char   text[24];
    size_t at = sizeof text;

    text[--at] = '\n';
    text[--at] = '\r';
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    text[--at] = kind;
    sc_buf_append(out, text + at, sizeof text - at);
}

void sc_resp_command(sc_buf *out, size_t words)
{
    put_header(out, '*', words);
}

void sc_resp_str(sc_buf *out, sc_str word)
{
    put_header(out, '$', word.len);
    sc_buf_append(out, word.ptr, word.len);
    sc_buf_append(out, "\r\n", 2);
}

void sc_resp_text(sc_buf *out, const char *word)
{
    sc_resp_str(out, sc_str_of(word));
}

void sc_resp_int(sc_buf *out, int64_t word)
{
    char text[24];
    int  len = snprintf(text, sizeof text, "%" PRId64, word);
    sc_resp_str(out, (sc_str){text, (size_t)len});
}

void sc_resp_key_command(sc_buf *out, const char *verb, sc_str key)
{
    sc_resp_command(out, 2);
    sc_resp_text(out, verb);
    sc_resp_str(out, key);
}

void sc_resp_words(sc_buf *out, const char *const *words)
{
    size_t count = 0;

    while (words[count] != NULL)
        count++;
    sc_resp_command(out, count);
    for (size_t i = 0; i < count; i++)
        sc_resp_text(out, words[i]);
}

#if HIREDIS_MAJOR >= 1

redisReader *sc_resp_reader(void)
{
    redisReader *reader = redisReaderCreate();
    if (reader != NULL) {
        reader->maxbuf = 0;
        reader->maxelements = SC_RESP_ELEMENTS_MAX;
    }
    return reader;
}

#else

static redisReplyObjectFunctions bounded;
static void *(*create_array)(const redisReadTask *task, int elements);
static pthread_once_t bounded_once = PTHREAD_ONCE_INIT;

static void *create_bounded_array(const redisReadTask *task, int elements)
{
    return elements > SC_RESP_ELEMENTS_MAX ? NULL : create_array(task, elements);
}

static void make_bounded(void)
{
    redisReader *reader = redisReaderCreate();
    if (reader == NULL)
        return;
    bounded = *reader->fn;
    create_array = bounded.createArray;
    bounded.createArray = create_bounded_array;
    redisReaderFree(reader);
}

redisReader *sc_resp_reader(void)
{
    pthread_once(&bounded_once, make_bounded);
    redisReader *reader =
        bounded.createArray == NULL ? NULL : redisReaderCreateWithFunctions(&bounded);
    if (reader != NULL)
        reader->maxbuf = 0;
    return reader;
}

#endif
