#include "tests/support/fake_store.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/random.h"
#include "src/store/memory/memory.h"

/* A call on its way. While the inner store has it, its done() is ours. */
typedef struct {
    sc_link        link;
    fake_store    *fake;
    sc_store_call *call;
    fake_store_op  op;
    void (*done)(sc_store_call *call);
    bool answered;
} flying;

static void answer(flying *f)
{
    sc_store_call *call = f->call;
    call->done = f->done;
    call->_op = NULL;
    free(f);
    call->done(call);
}

static void tell_lie(fake_store *fake, flying *f)
{
    sc_entry *lie = atomic_load(&fake->lie);
    if (lie == NULL || f->call->status != SC_OK)
        return;
    if (f->op == FAKE_GET) {
        sc_store_get *get = SC_CONTAINER(f->call, sc_store_get, call);
        sc_entry_unref(get->found);
        get->found = sc_entry_ref(lie);
    } else if (f->op == FAKE_SEARCH) {
        sc_store_search *search = SC_CONTAINER(f->call, sc_store_search, call);
        if (search->found_count == SC_STORE_CANDIDATES_MAX)
            sc_entry_unref(search->found[--search->found_count].entry);
        memmove(search->found + 1, search->found, search->found_count * sizeof *search->found);
        search->found[0] = (sc_candidate){sc_entry_ref(lie), 0};
        search->found_count++;
    }
}

static void put_aside(flying *f)
{
    fake_store *fake = f->fake;
    pthread_mutex_lock(&fake->lock);
    sc_list_push_back(&fake->held, &f->link);
    atomic_fetch_add(&fake->held_count, 1);
    pthread_mutex_unlock(&fake->lock);
}

static void inner_done(sc_store_call *call)
{
    flying     *f = call->_op;
    fake_store *fake = f->fake;
    f->answered = true;
    tell_lie(fake, f);
    if (f->op == FAKE_PUT && call->status == SC_OK && atomic_load(&fake->echo)) {
        sc_store_put *put = SC_CONTAINER(call, sc_store_put, call);
        fake->feed.put(fake->feed.context, put->entry, put->vector);
    }
    if (atomic_load(&fake->late[f->op]))
        put_aside(f);
    else
        answer(f);
}

static void ask_inner(flying *f)
{
    sc_store           *inner = f->fake->inner;
    const sc_store_ops *ops = inner->ops;
    sc_store_call      *call = f->call;
    switch (f->op) {
    case FAKE_GET:
        ops->get(inner, SC_CONTAINER(call, sc_store_get, call));
        return;
    case FAKE_SEARCH:
        ops->search(inner, SC_CONTAINER(call, sc_store_search, call));
        return;
    case FAKE_VERIFY:
        ops->verify(inner, SC_CONTAINER(call, sc_store_verify, call));
        return;
    case FAKE_PUT:
        ops->put(inner, SC_CONTAINER(call, sc_store_put, call));
        return;
    case FAKE_INVALIDATE:
        ops->invalidate(inner, SC_CONTAINER(call, sc_store_invalidate, call));
        return;
    case FAKE_OPS:
        abort();
    }
}

static void go(void *argument)
{
    flying     *f = argument;
    fake_store *fake = f->fake;
    sc_status   status = (sc_status)atomic_load(&fake->status);
    if ((double)sc_random_between(0, 999) < atomic_load(&fake->failure_rate) * 1000)
        status = SC_UNAVAILABLE;
    if (status != SC_OK) {
        f->call->status = sc_fail(&f->call->error, status, "the fake store fails");
        answer(f);
        return;
    }
    f->call->done = inner_done;
    f->call->_op = f;
    ask_inner(f);
}

static void handle(sc_store *store, sc_store_call *call, fake_store_op op)
{
    fake_store *fake = SC_CONTAINER(store, fake_store, base);
    flying     *f = later_alloc(sizeof *f);
    *f = (flying){.fake = fake, .call = call, .op = op, .done = call->done};
    atomic_fetch_add(&fake->calls[op], 1);
    int delay_us = atomic_load(&fake->delay_us);
    if (atomic_load(&fake->hold[op]))
        put_aside(f);
    else if (delay_us != 0)
        later_post(fake->clock, sc_random_between(0, delay_us), go, f);
    else
        go(f);
}

void fake_store_let_go(fake_store *fake)
{
    sc_link all;
    sc_list_init(&all);
    pthread_mutex_lock(&fake->lock);
    sc_list_splice_back(&all, &fake->held);
    atomic_store(&fake->held_count, 0);
    pthread_mutex_unlock(&fake->lock);
    for (sc_link *link; (link = sc_list_pop_front(&all)) != NULL;) {
        flying *f = SC_CONTAINER(link, flying, link);
        if (f->answered)
            answer(f);
        else
            go(f);
    }
}

static void get(sc_store *store, sc_store_get *call)
{
    handle(store, &call->call, FAKE_GET);
}

static void search(sc_store *store, sc_store_search *call)
{
    handle(store, &call->call, FAKE_SEARCH);
}

static void verify(sc_store *store, sc_store_verify *call)
{
    handle(store, &call->call, FAKE_VERIFY);
}

static void put(sc_store *store, sc_store_put *call)
{
    handle(store, &call->call, FAKE_PUT);
}

static void invalidate(sc_store *store, sc_store_invalidate *call)
{
    handle(store, &call->call, FAKE_INVALIDATE);
}

static void used(sc_store *store, const sc_digest *id, sc_wall when)
{
    fake_store *fake = SC_CONTAINER(store, fake_store, base);
    atomic_fetch_add(&fake->used, 1);
    fake->inner->ops->used(fake->inner, id, when);
}

static void look(sc_store *store, sc_store_info *out)
{
    fake_store *fake = SC_CONTAINER(store, fake_store, base);
    fake->inner->ops->look(fake->inner, out);
}

static void close_store(sc_store *store, sc_instant deadline)
{
    fake_store *fake = SC_CONTAINER(store, fake_store, base);
    later_close(fake->clock);
    fake->inner->ops->close(fake->inner, deadline);
    sc_entry_unref(atomic_load(&fake->lie));
    pthread_mutex_destroy(&fake->lock);
}

static const sc_store_ops fake_ops = {get, search, verify, put, invalidate, used, look, close_store};

void fake_store_init(fake_store *fake, uint32_t dim)
{
    sc_memory_store_options options = {.dim = dim, .entries_max = 100000};
    *fake = (fake_store){.base = {&fake_ops, dim}, .clock = later_open(2)};
    pthread_mutex_init(&fake->lock, NULL);
    sc_list_init(&fake->held);
    if (sc_memory_store_open(&options, NULL, &fake->inner) != SC_OK)
        abort();
}

void fake_store_set_feed(fake_store *fake, const sc_store_feed *feed)
{
    fake->feed = *feed;
}

static void nothing(sc_store_call *call)
{
    (void)call;
}

void fake_store_forget(fake_store *fake, const sc_digest *id)
{
    sc_store_invalidate call = {.call = {.done = nothing},
                                .filter = {.any_tenant = true, .ids = id, .ids_count = 1}};
    fake->inner->ops->invalidate(fake->inner, &call);
    sc_candidates_unref(call.examples, call.examples_count);
}

void fake_store_add(fake_store *fake, sc_entry *entry, const float *vector)
{
    sc_store_put call = {.call = {.done = nothing}, .entry = entry, .vector = vector};
    fake->inner->ops->put(fake->inner, &call);
}

sc_entry *fake_store_find(fake_store *fake, const sc_digest *id)
{
    sc_store_get call = {.call = {.done = nothing}, .id = *id};
    fake->inner->ops->get(fake->inner, &call);
    return call.found;
}

size_t fake_store_documents(fake_store *fake)
{
    sc_store_info info;
    fake->inner->ops->look(fake->inner, &info);
    return info.documents;
}
