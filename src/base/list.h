/* list.h - an intrusive doubly linked list: links live in the items, nothing is allocated.
 *
 * The head is a link of its own. An item knows how to leave without knowing its list.
 * Guard it with the lock of whatever owns the head. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct sc_link {
    struct sc_link *prev, *next; /* both NULL while in no list */
} sc_link;

#define SC_CONTAINER(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

#define SC_LIST_EACH(item, head)                                                                   \
    for (sc_link *item = (head)->next; item != (head); item = item->next)

/* Allows the item to be removed while walking. */
#define SC_LIST_EACH_SAFE(item, after, head)                                                       \
    for (sc_link *item = (head)->next, *after = item->next; item != (head);                        \
         item = after, after = item->next)

static inline void sc_list_init(sc_link *head)
{
    head->prev = head->next = head;
}

static inline bool sc_list_empty(const sc_link *head)
{
    return head->next == head;
}

static inline void sc_list_insert_before(sc_link *at, sc_link *item)
{
    item->prev = at->prev;
    item->next = at;
    at->prev->next = item;
    at->prev = item;
}

static inline void sc_list_push_back(sc_link *head, sc_link *item)
{
    sc_list_insert_before(head, item);
}

static inline void sc_list_push_front(sc_link *head, sc_link *item)
{
    sc_list_insert_before(head->next, item);
}

/* Welcome also for an item in no list. */
static inline void sc_list_remove(sc_link *item)
{
    if (item->next == NULL)
        return;
    item->prev->next = item->next;
    item->next->prev = item->prev;
    item->prev = item->next = NULL;
}

static inline bool sc_list_linked(const sc_link *item)
{
    return item->next != NULL;
}

/* First item, taken out; NULL when empty. */
static inline sc_link *sc_list_pop_front(sc_link *head)
{
    if (sc_list_empty(head))
        return NULL;
    sc_link *item = head->next;
    sc_list_remove(item);
    return item;
}

/* Moves everything in `from` to the end of `to`; `from` is empty then. */
static inline void sc_list_splice_back(sc_link *to, sc_link *from)
{
    if (sc_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    sc_list_init(from);
}
