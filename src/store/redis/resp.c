#include "src/store/redis/resp.h"

#include <stdatomic.h>
#include <pthread.h>

/* By hand: faster than printf, and half of a command is headers. The digits end where out does. */
static char *write_digits(uint64_t number, char *end)
{
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    return end;
}

const char *sc_resp_digits(uint64_t number, char out[SC_RESP_DIGITS_MAX])
{
    out[SC_RESP_DIGITS_MAX - 1] = '\0';
    return write_digits(number, out + SC_RESP_DIGITS_MAX - 1);
}

static void put_header(sc_buf *out, char kind, uint64_t value)
{
    char  text[SC_RESP_DIGITS_MAX + 3];
    char *end = text + sizeof text;

    memcpy(end - 2, "\r\n", 2);
    char *at = write_digits(value, end - 2);
    *--at = kind;
    sc_buf_append(out, at, (size_t)(end - at));
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
    char  text[SC_RESP_DIGITS_MAX];
    char *end = text + sizeof text;
    char *at = write_digits(word < 0 ? -(uint64_t)word : (uint64_t)word, end);

    if (word < 0)
        *--at = '-';
    sc_resp_str(out, (sc_str){at, (size_t)(end - at)});
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
