/* SPDX-License-Identifier: MIT */
/*
 * Notification ports. A connection is found by a tree over the bits of its id: as many steps for many as for one, no
 * lock, and nothing moves when others come and go. What is taken out of the tree is freed after a partition_flush.
 */
#include "port.h"
#include "doorbell.h"
#include "hypercall.h"

#define CONNECTION_ID_BITS 24u
#define LEVELS             4u
#define LEVEL_BITS         (CONNECTION_ID_BITS / LEVELS)
#define NODE_CHILDREN      (1u << LEVEL_BITS)

_Static_assert(CONNECTION_ID_BITS % LEVELS == 0, "the tree's levels are alike");

struct hv_port {
    struct hv_port *next, **link;         /* (m) */
    struct hv_partition *partition;       /* (c) */
    struct hv_host_event *event;          /* (c) of HV_PORT_EVENT; a doorbell has its own */
    struct hv_port_parameters parameters; /* (c) */
};

/* (a) for readers in a walk bracket, (m) to change; the last level's children are ports. */
struct node {
    void *children[NODE_CHILDREN];
    uint32_t used; /* (m) children that are there */
};

/* Goes with the partition's last port. */
struct ports {
    struct node root;
    struct hv_port *all; /* (m) of both kinds */
    uint32_t users;      /* (m) ports, and those that are being made */
};

/* ------------------------------------------------------------------------------------ connections */

static void **child_of(struct node *node, uint32_t id, unsigned level)
{
    return &node->children[id >> (LEVELS - 1 - level) * LEVEL_BITS & (NODE_CHILDREN - 1)];
}

/* In a walk bracket. */
static const struct hv_port *find(const struct hv_partition *p, uint32_t id)
{
    struct ports *ports = __atomic_load_n(&p->ports, __ATOMIC_ACQUIRE);
    void *at = ports ? &ports->root : NULL;

    if (id >> CONNECTION_ID_BITS)
        return NULL;
    for (unsigned level = 0; at && level < LEVELS; level++)
        at = __atomic_load_n(child_of(at, id, level), __ATOMIC_ACQUIRE);
    return at;
}

bool port_is_connected(const struct hv_vp *vp, uint32_t connection_id)
{
    return find(vp->partition, connection_id);
}

bool port_signal(const struct hv_vp *vp, uint32_t connection_id)
{
    const struct hv_port *port = find(vp->partition, connection_id);

    if (port)
        hv_host_event_signal(port->event);
    return port;
}

/* The nodes of a branch, whose first is of this level; not the port at its end. */
static void free_branch(void *branch, const struct hv_port *port, unsigned level)
{
    for (void *next; level < LEVELS; level++, branch = next) {
        next = *child_of(branch, port->parameters.connection_id, level);
        hv_host_free(branch, sizeof(struct node));
    }
}

/* The nodes from this level on that lead to the port alone; the port itself below the last. NULL: no memory. */
static void *make_branch(struct hv_port *port, unsigned level)
{
    void *branch = port;

    for (unsigned l = LEVELS; l-- > level;) {
        struct node *node = hv_host_alloc(sizeof(*node));

        if (!node) {
            free_branch(branch, port, l + 1);
            return NULL;
        }
        *child_of(node, port->parameters.connection_id, l) = branch;
        node->used = 1;
        branch = node;
    }
    return branch;
}

/* Under the mutex. One store makes the port known. */
static enum hv_status connect(struct ports *ports, struct hv_port *port)
{
    uint32_t id = port->parameters.connection_id;
    struct node *node = &ports->root;
    unsigned level = 0;
    void *branch, **child;

    while (*(child = child_of(node, id, level)) && ++level < LEVELS)
        node = *child;
    if (level == LEVELS)
        return HV_E_CONFLICT;
    branch = make_branch(port, level + 1);
    if (!branch)
        return HV_E_NO_MEMORY;
    node->used++;
    __atomic_store_n(child, branch, __ATOMIC_RELEASE);
    return HV_OK;
}

/* Under the mutex. Cuts the branch off that leads to the port alone; its first node is of *level. */
static void *disconnect(struct ports *ports, const struct hv_port *port, unsigned *level)
{
    uint32_t id = port->parameters.connection_id;
    struct node *node = &ports->root, *fork = node; /* the last that has other children */
    void **child, *branch;

    *level = 1;
    for (unsigned l = 1; l < LEVELS; l++) {
        node = *child_of(node, id, l - 1);
        if (node->used > 1) {
            fork = node;
            *level = l + 1;
        }
    }
    child = child_of(fork, id, *level - 1);
    branch = *child;
    fork->used--;
    __atomic_store_n(child, NULL, __ATOMIC_SEQ_CST);
    return branch;
}

/* ------------------------------------------------------------------------------------------ kinds */

static enum hv_status attach_event(struct hv_port *port, void *event)
{
    struct hv_partition *p = port->partition;
    enum hv_status st;

    port->event = hv_host_event_get(event);
    if (!port->event)
        return HV_E_INVALID;
    hv_mutex_lock(&p->mutex);
    st = connect(p->ports, port);
    hv_mutex_unlock(&p->mutex);
    if (st != HV_OK)
        hv_host_event_put(port->event);
    return st;
}

static void detach_event(struct hv_port *port)
{
    struct hv_partition *p = port->partition;
    unsigned level;
    void *branch;

    hv_mutex_lock(&p->mutex);
    branch = disconnect(p->ports, port, &level);
    partition_flush(p);
    hv_mutex_unlock(&p->mutex);
    free_branch(branch, port, level);
    hv_host_event_put(port->event);
}

static enum hv_status attach_doorbell(struct hv_port *port, void *event)
{
    return doorbell_add(port->partition, &port->parameters.doorbell, event, port);
}

static void detach_doorbell(struct hv_port *port)
{
    (void)doorbell_take_away(port->partition, &port->parameters.doorbell, port); /* it is there */
}

static bool is_valid(const struct hv_port_parameters *parameters)
{
    switch (parameters->type) {
    case HV_PORT_EVENT:
        return !(parameters->connection_id >> CONNECTION_ID_BITS);
    case HV_PORT_DOORBELL: /* the rest is looked at when it is registered */
        return true;
    }
    return false;
}

static enum hv_status attach(struct hv_port *port, void *event)
{
    return port->parameters.type == HV_PORT_EVENT ? attach_event(port, event) : attach_doorbell(port, event);
}

static void detach(struct hv_port *port)
{
    if (port->parameters.type == HV_PORT_EVENT)
        detach_event(port);
    else
        detach_doorbell(port);
}

/* ------------------------------------------------------------------------------------------- life */

static enum hv_status hold_locked(struct hv_partition *p)
{
    struct ports *ports = p->ports;

    if (!p->is_set_up)
        return HV_E_STATE;
    if (!ports) {
        ports = hv_host_alloc(sizeof(*ports));
        if (!ports)
            return HV_E_NO_MEMORY;
        __atomic_store_n(&p->ports, ports, __ATOMIC_RELEASE);
    }
    ports->users++;
    return HV_OK;
}

static enum hv_status hold_ports(struct hv_partition *p)
{
    enum hv_status st;

    hv_mutex_lock(&p->mutex);
    st = hold_locked(p);
    hv_mutex_unlock(&p->mutex);
    return st;
}

static void release_ports(struct hv_partition *p)
{
    struct ports *ports = p->ports;

    hv_mutex_lock(&p->mutex);
    if (--ports->users) {
        hv_mutex_unlock(&p->mutex);
        return;
    }
    __atomic_store_n(&p->ports, NULL, __ATOMIC_SEQ_CST);
    partition_flush(p);
    hv_mutex_unlock(&p->mutex);
    hv_host_free(ports, sizeof(*ports));
}

static void link_port(struct hv_port *port)
{
    struct hv_partition *p = port->partition;

    hv_mutex_lock(&p->mutex);
    port->next = p->ports->all;
    port->link = &p->ports->all;
    if (port->next)
        port->next->link = &port->next;
    p->ports->all = port;
    hv_mutex_unlock(&p->mutex);
}

static void unlink_port(struct hv_port *port)
{
    struct hv_partition *p = port->partition;

    hv_mutex_lock(&p->mutex);
    *port->link = port->next;
    if (port->next)
        port->next->link = port->link;
    hv_mutex_unlock(&p->mutex);
}

static enum hv_status create(struct hv_partition *p, const struct hv_port_parameters *parameters, void *event,
                             struct hv_port **out)
{
    struct hv_port *port = hv_host_alloc(sizeof(*port));
    enum hv_status st;

    if (!port)
        return HV_E_NO_MEMORY;
    port->partition = p;
    port->parameters = *parameters;
    st = attach(port, event);
    if (st != HV_OK) {
        hv_host_free(port, sizeof(*port));
        return st;
    }
    link_port(port);
    *out = port;
    return HV_OK;
}

enum hv_status hv_port_create(struct hv_partition *p, const struct hv_port_parameters *parameters, void *event,
                              struct hv_port **out)
{
    enum hv_status st = is_valid(parameters) ? hold_ports(p) : HV_E_INVALID;

    if (st != HV_OK)
        return st;
    st = create(p, parameters, event, out);
    if (st != HV_OK)
        release_ports(p);
    return st;
}

void hv_port_delete(struct hv_port *port)
{
    struct hv_partition *p = port->partition;

    detach(port);
    unlink_port(port);
    hv_host_free(port, sizeof(*port));
    release_ports(p);
}

/* Nobody looks any more; doorbells go with the partition's others. */
void port_free_all(struct hv_partition *p)
{
    struct hv_port *port, *next;

    if (!p->ports)
        return;
    for (port = p->ports->all; port; port = next) {
        next = port->next;
        if (port->parameters.type == HV_PORT_EVENT)
            detach_event(port);
        hv_host_free(port, sizeof(*port));
    }
    hv_host_free(p->ports, sizeof(*p->ports));
}
