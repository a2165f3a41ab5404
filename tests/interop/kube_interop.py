#!/usr/bin/env python3
"""kube_interop.py HOST:PORT [CA CERT KEY] - the calls of a kube-apiserver's storage, in its order, by gRPC:
create, guaranteed update, paged lists, watches with bookmarks, leased events, the compactor, health and size."""
import queue

import grpc

from clients import channel, check, done
from reflected import Api

PODS, END = b"/registry/pods/", b"/registry/pods0"
MOD, VERSION = 2, 0  # Compare.CompareTarget


class Stream:
    """A watch stream: requests go in one by one, answers come out."""

    def __init__(self, api):
        self.api, self.requests = api, queue.Queue()
        self.answers = api.Watch.Watch(iter(self.requests.get, None), timeout=60, metadata=[("hasleader", "true")])

    def ask(self, **what):
        self.requests.put(self.api.message("etcdserverpb.WatchRequest", **what))

    def next(self):
        return next(self.answers)

    def close(self):
        self.answers.cancel()


def create(api, key, value, lease=0):
    return api.KV.Txn(compare=[dict(target=MOD, key=key, mod_revision=0)],
                      success=[dict(request_put=dict(key=key, value=value, lease=lease))])


def update(api, key, value, revision):
    return api.KV.Txn(compare=[dict(target=MOD, key=key, mod_revision=revision)],
                      success=[dict(request_put=dict(key=key, value=value))], failure=[dict(request_range=dict(key=key))])


def delete(api, key, revision):
    return api.KV.Txn(compare=[dict(target=MOD, key=key, mod_revision=revision)],
                      success=[dict(request_delete_range=dict(key=key))], failure=[dict(request_range=dict(key=key))])


def refused(call, code, text):
    try:
        call()
        check(False, text)
    except grpc.RpcError as error:
        check((error.code(), error.details()) == (code, text), "%s %s" % (error.code(), error.details()))


def starts(api):
    status = api.Maintenance.Status()
    check(status.version.startswith("3.5") and status.dbSize > 0, "status: the features and the size")
    check(api.Health.Check().status == 1, "health")
    check(len(api.Cluster.MemberList(linearizable=True).members) == 1, "members")
    check(api.KV.Range(key=b"/registry/health").count == 0, "the storage's health check")


def objects(api):
    key = PODS + b"default/web"
    made = create(api, key, b"v1")
    check(made.succeeded and not create(api, key, b"again").succeeded, "create once")
    again = update(api, key, b"v2", made.header.revision)
    check(again.succeeded, "guaranteed update")
    lost = update(api, key, b"v3", made.header.revision)
    found = lost.responses[0].response_range.kvs[0]
    check(not lost.succeeded and (found.value, found.mod_revision) == (b"v2", again.header.revision), "a conflict gives what is there")
    check(update(api, key, b"v3", found.mod_revision).succeeded, "and the next try works")
    gone = delete(api, key, again.header.revision)
    check(not gone.succeeded and gone.responses[0].response_range.kvs[0].value == b"v3", "delete of an old version")
    check(delete(api, key, gone.responses[0].response_range.kvs[0].mod_revision).responses[0].response_delete_range.deleted == 1, "delete")


def lists(api):
    names = [PODS + b"default/pod-%04d" % i for i in range(1234)]
    for name in names:
        create(api, name, b"x" * 100)
    first = api.KV.Range(key=PODS, range_end=END, limit=500)
    check(len(first.kvs) == 500 and first.more and first.count == 1234, "first page")
    revision, got, last = first.header.revision, list(first.kvs), first
    create(api, PODS + b"default/pod-0777a", b"later")  # the pages are those of one moment
    while last.more:
        last = api.KV.Range(key=got[-1].key + b"\0", range_end=END, limit=500, revision=revision)
        got += last.kvs
    check([kv.key for kv in got] == names and last.count == 234, "all pages, at the revision of the first")
    check(api.KV.Range(key=PODS, range_end=END, count_only=True).count == 1235, "count")
    check(len(api.KV.Range(key=PODS, range_end=END, keys_only=True, serializable=True).kvs) == 1235, "keys only, from here")
    parts = list(api.KV.RangeStream(key=PODS, range_end=END, revision=revision))
    streamed = [kv for part in parts for kv in part.range_response.kvs]
    check(streamed == got and parts[-1].range_response.count == 1234, "the same as a stream (3.7)")
    refused(lambda: api.KV.Range(key=PODS, revision=10**9), grpc.StatusCode.OUT_OF_RANGE,
            "etcdserver: mvcc: required revision is a future revision")


def watches(api):
    start = api.KV.Range(key=PODS, range_end=END, limit=1).header.revision
    key = PODS + b"default/watched"
    first = create(api, key, b"1").header.revision
    stream = Stream(api)
    stream.ask(create_request=dict(key=PODS, range_end=END, start_revision=start + 1, prev_kv=True, progress_notify=True, fragment=True))
    check(stream.next().created, "created")
    event = stream.next().events[0]
    check((event.kv.key, event.kv.create_revision == event.kv.mod_revision, event.kv.mod_revision) == (key, True, first), "history: ADDED")
    second = update(api, key, b"2", first).header.revision
    event = stream.next().events[0]
    check((event.kv.value, event.prev_kv.value, event.kv.mod_revision) == (b"2", b"1", second), "live: MODIFIED, with what was before")
    create(api, b"/registry/services/other", b"")
    stream.ask(progress_request={})
    bookmark = stream.next()
    check(not bookmark.events and bookmark.watch_id == -1 and bookmark.header.revision == second + 1, "RequestProgress: a bookmark")
    delete(api, key, second)
    event = stream.next().events[0]
    check(event.type == 1 and event.prev_kv.value == b"2", "DELETED, with what was before")
    stream.ask(cancel_request=dict(watch_id=0))
    check(stream.next().canceled, "cancelled")
    stream.close()


def events(api):
    lease = api.Lease.LeaseGrant(TTL=3600).ID
    key = b"/registry/events/default/web.1"
    check(create(api, key, b"event", lease).succeeded, "an event with a lease")
    ttl = api.Lease.LeaseTimeToLive(ID=lease, keys=True)
    check(ttl.grantedTTL == 3600 and list(ttl.keys) == [key], "its lease")
    alive = api.Lease.LeaseKeepAlive(iter([api.message("etcdserverpb.LeaseKeepAliveRequest", ID=lease)] * 3))
    check([answer.TTL for answer in alive] == [3600] * 3, "keep-alive: one answer each, then the end")
    api.Lease.LeaseRevoke(ID=lease)
    check(api.KV.Range(key=key).count == 0, "it goes with its lease")


def compactor(api):
    def step(version, revision):
        return api.KV.Txn(compare=[dict(target=VERSION, key=b"compact_rev_key", version=version)],
                          success=[dict(request_put=dict(key=b"compact_rev_key", value=b"%d" % revision))],
                          failure=[dict(request_range=dict(key=b"compact_rev_key"))])

    revision = api.KV.Range(key=PODS, range_end=END, limit=1).header.revision
    check(step(0, revision).succeeded, "the first compactor counts")
    other = step(0, revision)
    check(not other.succeeded and other.responses[0].response_range.kvs[0].version == 1, "the others see its count")
    api.KV.Compact(revision=revision)
    refused(lambda: api.KV.Compact(revision=revision), grpc.StatusCode.OUT_OF_RANGE,
            "etcdserver: mvcc: required revision has been compacted")
    refused(lambda: api.KV.Range(key=PODS, revision=revision - 1), grpc.StatusCode.OUT_OF_RANGE,
            "etcdserver: mvcc: required revision has been compacted")
    stream = Stream(api)
    stream.ask(create_request=dict(key=PODS, range_end=END, start_revision=revision - 1, progress_notify=True))
    check(stream.next().created, "a watch from before: created")
    gone = stream.next()
    check(gone.canceled and gone.compact_revision == revision, "and cancelled: the client lists again")
    stream.close()


def locks(api):
    lease = api.Lease.LeaseGrant(TTL=60).ID
    held = api.Lock.Lock(name=b"controller", lease=lease)
    api.Lock.Unlock(key=held.key)
    leader = api.Election.Campaign(name=b"scheduler", lease=lease, value=b"one").leader
    check(api.Election.Leader(name=b"scheduler").kv.value == b"one", "election")
    api.Election.Proclaim(leader=leader, value=b"two")
    check(next(api.Election.Observe(name=b"scheduler")).kv.value == b"two", "proclaimed, observed")
    api.Election.Resign(leader=leader)
    api.Lease.LeaseRevoke(ID=lease)


def users(api):
    api.Auth.UserAdd(name="root", password="secret")
    api.Auth.RoleAdd(name="reader")
    api.Auth.RoleGrantPermission(name="reader", perm=dict(permType=0, key=PODS, range_end=END))
    api.Auth.UserAdd(name="kube", password="kube")
    api.Auth.UserGrantRole(user="root", role="root")
    api.Auth.UserGrantRole(user="kube", role="reader")
    api.Auth.AuthEnable()
    token = lambda name, word: [("token", api.Auth.Authenticate(name=name, password=word).token)]
    root, kube = token("root", "secret"), token("kube", "kube")
    check(api.KV.Range(key=PODS, range_end=END, metadata=kube).count > 0, "what the role allows")
    refused(lambda: api.KV.Put(key=PODS, metadata=kube), grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")
    refused(lambda: api.KV.Put(key=PODS, metadata=[("token", "no.1")]), grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")
    refused(lambda: api.Auth.Authenticate(name="kube", password="no"), grpc.StatusCode.INVALID_ARGUMENT,
            "etcdserver: authentication failed, invalid user ID or password")
    api.Auth.AuthDisable(metadata=root)
    for name in ("kube", "root"):
        api.Auth.UserDelete(name=name)
    api.Auth.RoleDelete(role="reader")


with channel() as opened:
    kube = Api(opened)
    for part in (starts, objects, lists, watches, events, compactor, locks, users):
        part(kube)
done()
