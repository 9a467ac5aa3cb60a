/* move.h - what the steps of a work are made of; private to the pipeline.
 *
 * A step is a move of the machine in work.c, in one half or two. It starts operations between
 * begin and park, each announced by expect and ended by came_back; the second half runs when all
 * have come back. The steps are in look.c and ask.c, the answers they lead to in serve.c. */
#pragma once

#include "src/pipeline/work.h"

typedef enum {
    SC_MOVE_NEXT,
    SC_MOVE_AGAIN,  /* the same step, from its start */
    SC_MOVE_PARKED, /* an operation will go on; the work must not be touched any more */
    SC_MOVE_END
} sc_move;

void    sc_work_begin(sc_work *work);
void    sc_work_expect(sc_work *work);
sc_move sc_work_park(sc_work *work);      /* the end of every starting half */
void    sc_work_came_back(sc_work *work); /* the end of every operation */

static inline sc_instant sc_in_ms(int64_t ms)
{
    return sc_instant_after_ms(sc_now(), ms);
}

/* Adds the time since the step began to its account. */
void sc_work_lap(sc_work *work);

/* Memory or store is about to be read: what an invalidation ends from now on is not to be served. */
void sc_work_reading(sc_work *work);
/* No invalidation has ended since. */
bool sc_work_still_true(const sc_work *work);

/* The last gate, on the entry itself. */
bool sc_work_may_serve(const sc_work *work, const sc_entry *entry);
/* Do the words of the two questions say that they differ? */
bool sc_work_is_opposed(const sc_work *work, const sc_entry *entry);
/* Remembers the nearest that was not served for its words or values; takes its own reference. */
void sc_work_refuse(sc_work *work, const sc_candidate *candidate);

/* Answers everyone for whom the hit is near enough; an exact one is for everyone. */
void sc_work_serve(sc_work *work, sc_candidate *hit, sc_source source);
void sc_work_serve_exact(sc_work *work, sc_entry *entry);

/* Answers one request, which has been taken off the flight. */
void sc_work_finish_hit(sc_work *work, sc_request *request, const sc_candidate *hit,
                        sc_source source);
/* Fills in why there was no hit, the nearest candidate and the times. */
void sc_work_put_miss(const sc_work *work, sc_request *request);

/* The question's vector, or NULL when it has none that compares. */
const float *sc_work_vector(const sc_work *work);

sc_move sc_move_exact(sc_work *work);
sc_move sc_move_exact_after(sc_work *work);
sc_move sc_move_embed(sc_work *work);
sc_move sc_move_embed_after(sc_work *work);
sc_move sc_move_prefilter(sc_work *work);
sc_move sc_move_verify(sc_work *work);
sc_move sc_move_verify_after(sc_work *work);
sc_move sc_move_confirm(sc_work *work);
sc_move sc_move_confirm_after(sc_work *work);
sc_move sc_move_ask(sc_work *work);
sc_move sc_move_ask_after(sc_work *work);
sc_move sc_move_keep(sc_work *work);
sc_move sc_move_reply(sc_work *work);
