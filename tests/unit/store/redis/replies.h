/* replies.h - redisReplies from a line of text: [a b] is an array, :5 an integer, ~ a nil, 'quoted
 * words' one string, !text an error up to the next ] or the end, anything else a string. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/store/redis/resp.h"

static inline const char *sc_test_reply_item(const char *at, sc_buf *out);

static inline const char *sc_test_reply_array(const char *at, sc_buf *out)
{
    sc_buf   items;
    unsigned count = 0;

    sc_buf_init(&items, 1 << 20);
    while (*(at += strspn(at, " ")) != ']') {
        at = sc_test_reply_item(at, &items);
        count++;
    }
    sc_buf_printf(out, "*%u\r\n", count);
    sc_buf_str(out, sc_buf_view(&items));
    sc_buf_fini(&items);
    return at + 1;
}

static inline const char *sc_test_reply_item(const char *at, sc_buf *out)
{
    if (*at == '[')
        return sc_test_reply_array(at + 1, out);
    if (*at == '!') {
        size_t to = strcspn(at, "]");
        sc_buf_printf(out, "-%.*s\r\n", (int)(to - 1), at + 1);
        return at + to;
    }
    if (*at == '~') {
        sc_buf_printf(out, "$-1\r\n");
        return at + 1;
    }
    bool   quoted = *at == '\'';
    size_t len = strcspn(at + quoted, quoted ? "'" : " ]");
    if (*at == ':')
        sc_buf_printf(out, "%.*s\r\n", (int)len, at);
    else
        sc_resp_str(out, (sc_str){at + quoted, len});
    return at + len + 2 * (size_t)quoted;
}

static inline redisReply *sc_test_reply(const char *text)
{
    sc_buf       bytes;
    redisReader *reader = sc_resp_reader();
    void        *reply = NULL;

    sc_buf_init(&bytes, 1 << 20);
    sc_test_reply_item(text, &bytes);
    if (redisReaderFeed(reader, bytes.data, bytes.len) != REDIS_OK ||
        redisReaderGetReply(reader, &reply) != REDIS_OK || reply == NULL)
        abort();
    redisReaderFree(reader);
    sc_buf_fini(&bytes);
    return reply;
}
