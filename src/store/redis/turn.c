/* Who searches when. Redis runs one search after the other, each for a fraction of a millisecond or,
 * in a large scope, for many. When questions come faster than that a queue forms somewhere.
 *
 * In Redis' socket, with one time limit for every search, a queue longer than the limit makes each
 * answer too late; it is thrown away, and Redis goes on to work for the next one that will be too
 * late. 256 callers at a time got 6 % of their hits so, and the LLM the rest.
 *
 * So the queue is here. Redis has FLYING_MAX searches at a time, enough to keep it busy while replies
 * travel, and to have several in one read and one write; fewer when they are slow. The others wait
 * their turn. What a search must not exceed is Redis' silence, not its own age: as long as answers
 * come, waiting a little longer ends in a hit, and is cheaper than the LLM. The wait has a limit of
 * its own; who would exceed it, as far as can be foreseen, is refused at once, so that a Redis that
 * is asked for more than it can give costs the excess, and not the hits of all. Whom nobody waits
 * for any more is not asked about.
 *
 * No timer: the queue moves whenever a search ends, and those under way end by their deadline. First
 * come, first served: of those that wait, the first is the first to be too late. */
#include "src/base/log.h"
#include "src/store/redis/inside.h"

enum { FLYING_MAX = 32, QUIET_SHARE = 4, SMOOTHING = 32, REFUSED_LOG_MS = 10000 };

static sc_store_search *search_of(const sc_op *op)
{
    return SC_CONTAINER(op->call, sc_store_search, call);
}

static sc_instant later(sc_instant a, sc_instant b)
{
    return sc_instant_before(a, b) ? b : a;
}

/* Redis answers all that it has read at a time together, in silence until then. */
static size_t flying_max(const sc_redis *redis)
{
    int64_t quiet_ns = (int64_t)redis->options.timeout_ms * 1000000 / QUIET_SHARE;
    int64_t fitting = redis->turns.each_ns == 0 ? FLYING_MAX : quiet_ns / redis->turns.each_ns;
    return fitting < 1 ? 1 : fitting > FLYING_MAX ? FLYING_MAX : (size_t)fitting;
}

static void fly(sc_op *op)
{
    sc_turns *turns = &op->redis->turns;

    op->since = later(op->begun, turns->answered);
    sc_list_push_back(&turns->flying, &op->link);
    turns->flying_count++;
    sc_search_send(op);
}

/* Of one that waited: says nothing about Redis. */
static void give_up(sc_op *op, sc_status status, const char *text)
{
    op->unsent = true;
    sc_op_finish(op, status, text);
}

static void refuse(sc_op *op)
{
    static sc_log_limit limit;
    sc_redis           *redis = op->redis;
    int64_t             left_out;

    redis->turns.refused++;
    if (sc_log_allow(&limit, REFUSED_LOG_MS, sc_now(), &left_out))
        sc_log(SC_LOG_WARN, "redis.searches_refused",
               sc_kv_int("waiting", redis->turns.waiting_count),
               sc_kv_int("each_us", redis->turns.each_ns / 1000),
               sc_kv_int("refused", redis->turns.refused));
    give_up(op, SC_BUSY, "Redis answers searches more slowly than they come");
}

static bool is_moot(const sc_op *op)
{
    const atomic_bool *moot = search_of(op)->moot;
    return moot != NULL && atomic_load(moot);
}

/* Ends one whose wait is over. False: it goes on waiting. */
static bool gave_up(sc_op *op, sc_instant now)
{
    const sc_redis *redis = op->redis;
    int64_t         silent_us = sc_elapsed_us(later(op->begun, redis->turns.answered), now);

    if (is_moot(op))
        give_up(op, SC_CANCELLED, "nobody waits for it any longer");
    else if (silent_us >= (int64_t)redis->options.timeout_ms * 1000)
        give_up(op, SC_TIMEOUT, "no reply from Redis in time");
    else if (!sc_instant_before(now, op->call->deadline))
        give_up(op, SC_TIMEOUT, "its turn did not come in time");
    else if (sc_elapsed_us(op->begun, now) >= (int64_t)redis->options.search_wait_ms * 1000)
        refuse(op);
    else
        return false;
    return true;
}

static sc_op *leave_queue(sc_turns *turns)
{
    turns->waiting_count--;
    return SC_CONTAINER(sc_list_pop_front(&turns->waiting), sc_op, link);
}

/* A send that fails ends its op, which would come here again. */
static void move_up(sc_redis *redis)
{
    sc_turns *turns = &redis->turns;

    if (turns->moving)
        return;
    turns->moving = true;
    while (turns->waiting_count != 0 && turns->flying_count < flying_max(redis)) {
        sc_op *op = leave_queue(turns);
        if (!gave_up(op, sc_now()))
            fly(op);
    }
    turns->moving = false;
}

static bool would_wait_too_long(const sc_redis *redis)
{
    const sc_turns *turns = &redis->turns;
    int64_t         wait_ns = ((int64_t)turns->waiting_count + 1) * turns->each_ns;
    return wait_ns >= (int64_t)redis->options.search_wait_ms * 1000000;
}

bool sc_turn_is_free(const sc_redis *redis)
{
    return redis->turns.waiting_count == 0 && redis->turns.flying_count < flying_max(redis);
}

void sc_turn_take(sc_op *op)
{
    sc_turns *turns = &op->redis->turns;

    if (sc_turn_is_free(op->redis)) {
        fly(op);
    } else if (would_wait_too_long(op->redis)) {
        refuse(op);
    } else {
        sc_list_push_back(&turns->waiting, &op->link);
        turns->waiting_count++;
    }
}

void sc_turn_answered(sc_op *op)
{
    sc_turns  *turns = &op->redis->turns;
    sc_instant now = sc_now();

    turns->each_ns += (now.ns - op->since.ns - turns->each_ns) / SMOOTHING;
    turns->answered = now;
    SC_LIST_EACH (link, &turns->flying) {
        sc_op *flying = SC_CONTAINER(link, sc_op, link);
        flying->since = now;
        flying->command.deadline = sc_op_deadline(flying);
    }
}

void sc_turn_end(sc_op *op, sc_status status, const char *text)
{
    sc_redis *redis = op->redis;

    sc_list_remove(&op->link);
    redis->turns.flying_count--;
    sc_op_finish(op, status, text);
    move_up(redis);
}

void sc_turns_init(sc_turns *turns)
{
    sc_list_init(&turns->waiting);
    sc_list_init(&turns->flying);
}

void sc_turns_close(sc_turns *turns)
{
    while (turns->waiting_count != 0)
        give_up(leave_queue(turns), SC_CANCELLED, "the store is closing");
}
