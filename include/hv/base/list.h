/* SPDX-License-Identifier: MIT */
/* A circular doubly linked list; the node lives inside the object. */
#ifndef HV_BASE_LIST_H
#define HV_BASE_LIST_H

#include <stdbool.h>

struct hv_list {
    struct hv_list *next, *prev;
};

static inline void hv_list_init(struct hv_list *head)
{
    head->next = head->prev = head;
}

static inline bool hv_list_empty(const struct hv_list *head)
{
    return head->next == head;
}

static inline void hv_list_add_tail(struct hv_list *head, struct hv_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* the node may be removed again: it is left as an empty list */
static inline void hv_list_remove(struct hv_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    hv_list_init(node);
}

#endif
