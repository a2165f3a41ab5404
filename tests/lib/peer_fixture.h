/*
 * peer_fixture.h - `nodes`, made anew for every test of the peers, and node(i) of them. Static
 * functions: include it once per program, behind cmocka.
 */
#ifndef TESTS_LIB_PEER_FIXTURE_H
#define TESTS_LIB_PEER_FIXTURE_H

#include "tests/lib/peer_nodes.h"

static struct peer_nodes nodes;

static inline struct peer_node *node(size_t i)
{
    return &nodes.node[i];
}

static inline int set_up(void **state)
{
    (void)state;
    peer_nodes_init(&nodes);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    peer_nodes_fini(&nodes);
    return 0;
}

#endif
