#!/usr/bin/env python3
"""patroni_interop.py HOST:PORT [CA CERT KEY] - two nodes of Patroni (its class for etcd 3): a leader's life."""
import logging, time

from patroni.dcs.etcd3 import Etcd3

from clients import HOST, PORT, TLS, check, done

logging.disable(logging.CRITICAL)


def node(name):
    tls = dict(protocol="https", cacert=TLS["ca"], cert=TLS["cert"], key=TLS["key"]) if TLS else {}
    return Etcd3(dict(host="%s:%d" % (HOST, PORT), scope="batman", namespace="/service", name=name, ttl=30, loop_wait=10,
                      retry_timeout=10, **tls))


def wait(what, fact):
    end = time.monotonic() + 10
    while not fact():
        check(time.monotonic() < end, what)
        time.sleep(0.02)
    check(True, what)


one, two = node("one"), node("two")
check(one.initialize(create_new=True) and not two.initialize(create_new=True), "initialize: the first one does")
check(one.touch_member({"conn_url": "postgres://one", "state": "running"}), "touch_member")
check(two.touch_member({"conn_url": "postgres://two", "state": "running"}), "touch_member: the other")
check(one.attempt_to_acquire_leader() and not two.attempt_to_acquire_leader(), "one leader")
wait("the other sees the leader, by its watch",
     lambda: two.get_cluster().leader is not None and two.get_cluster().leader.name == "one")
check({member.name for member in two.get_cluster().members} == {"one", "two"}, "members")
check(one.update_leader(1234, None), "update_leader: the lease is renewed")
wait("the leader's position, by the watch", lambda: two.get_cluster().last_lsn == 1234)
check(one.set_config_value('{"ttl": 30}') and one.set_sync_state_value('{"leader": "one"}'), "configuration, sync state")
wait("the configuration, by the watch", lambda: two.get_cluster().config is not None)
index = two.get_cluster().config.index
check(two.set_config_value('{"ttl": 20}', index) and not two.set_config_value('{"ttl": 10}', index), "compare and set")
one.get_cluster()
check(one.delete_leader(), "the leader goes")
wait("the other may lead now", lambda: two.get_cluster().leader is None or two.get_cluster().leader.name != "one")
check(two.attempt_to_acquire_leader(), "the other leads")
check(two.delete_cluster(), "delete_cluster")
done()
