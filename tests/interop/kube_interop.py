#!/usr/bin/env python3
"""kube_interop.py HOST:PORT [CA CERT KEY] - the calls of a kube-apiserver's storage (1.20 to 1.36), in its order, by gRPC:
create, guaranteed update, paged lists, watches with bookmarks, leased events, the compactor, health and size; and the
probes of kubeadm's manifest. SCHEMA_FROM=HOST:PORT (one of ours, plain) lets it ask a server without reflection: etcd.
"""
import http.client
import json
import os
import queue
import re
import ssl

import grpc

from clients import HOST, PORT, TLS, channel, check, done
from reflected import Api

OURS = "SCHEMA_FROM" not in os.environ

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
    version = tuple(int(part) for part in re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", status.version).groups())
    check(version >= (3, 5, 13), "status: lists from the cache (1.31 and later) ask for this version")
    check(0 < status.dbSizeInUse <= status.dbSize and not status.isLearner and not status.errors, "status: the size")
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
    if OURS:
        parts = list(api.KV.RangeStream(key=PODS, range_end=END, revision=revision))
        streamed = [kv for part in parts for kv in part.range_response.kvs]
        check(streamed == got and parts[-1].range_response.count == 1234, "the same as a stream (3.7)")
    names_only = api.KV.Range(key=PODS, range_end=END, keys_only=True)
    check(len(names_only.kvs) == 1235 and not any(kv.value for kv in names_only.kvs) and all(kv.mod_revision for kv in names_only.kvs),
          "names only, as the estimate of sizes asks (1.34)")
    one = api.KV.Range(key=got[0].key, limit=1)
    check(one.count == 1 and not one.more and one.kvs[0] == got[0], "get: a range of one with a limit (1.33)")
    check(api.KV.Range(key=PODS + b"none", limit=1).header.revision == revision + 1, "the revision of now, from a get of nothing")
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


def progress(api):
    """Lists from the cache (1.31 and later): each asks how far all watches of a stream are, and trusts the answer."""
    start = api.KV.Range(key=PODS, range_end=END, limit=1).header.revision
    stream = Stream(api)
    for prefix in (b"/registry/pods/", b"/registry/secrets/", b"/registry/nodes/"):
        stream.ask(create_request=dict(key=prefix, range_end=prefix[:-1] + b"0", start_revision=start + 1, prev_kv=True, progress_notify=True))
        check(stream.next().created, "created")
    key, seen, wanted = b"/registry/secrets/default/s", 0, start
    for number in range(150):
        wanted = api.KV.Put(key=key if number % 3 else b"/registry/leases/other", value=b"%d" % number).header.revision
        stream.ask(progress_request={})
        while True:  # what was written comes before the answer that covers it
            answer = stream.next()
            if not answer.events and answer.watch_id == -1 and answer.header.revision >= wanted:
                break
            for event in answer.events:
                check(event.kv.mod_revision > seen, "in order")
                seen = event.kv.mod_revision
    check(seen == wanted, "nothing is missing below what the last answer covers")
    before = api.KV.Range(key=b"compact_rev_key")
    stream.ask(create_request=dict(key=b"compact_rev_key", start_revision=before.header.revision))
    check(stream.next().created, "a watch of one key that may not be there (1.34)")
    stream.close()


def probes(_api):
    """What kubeadm's manifest asks of the member, by version; the answers are etcd's."""
    if TLS:
        context = ssl.create_default_context(cafile=TLS["ca"])
        context.load_cert_chain(TLS["cert"], TLS["key"])
        link = http.client.HTTPSConnection(HOST, PORT, timeout=20, context=context)
    else:
        link = http.client.HTTPConnection(HOST, PORT, timeout=20)

    def get(path):
        link.request("GET", path)
        answer = link.getresponse()
        return answer.status, answer.read().decode()

    for path in ("/health", "/health?exclude=NOSPACE&serializable=true", "/health?serializable=false"):
        check(get(path) == (200, '{"health":"true","reason":""}'), path)
    for path in ("/livez", "/readyz", "/readyz?exclude=linearizable_read"):
        check(get(path) == (200, "ok\n"), path)
    for path, checked in (("/livez?verbose", ["serializable_read"]), ("/readyz?verbose", ["data_corruption", "serializable_read", "linearizable_read"])):
        status, text = get(path)
        check(status == 200 and all("[+]%s ok" % name in text for name in checked), path)
    check(json.loads(get("/version")[1])["etcdcluster"].startswith("3.5"), "version")


def events(api):
    lease = api.Lease.LeaseGrant(TTL=3600).ID
    key = b"/registry/events/default/web.1"
    check(create(api, key, b"event", lease).succeeded, "an event with a lease")
    ttl = api.Lease.LeaseTimeToLive(ID=lease, keys=True)
    check(ttl.grantedTTL == 3600 and list(ttl.keys) == [key], "its lease")
    alive = api.Lease.LeaseKeepAlive(iter([api.message("etcdserverpb.LeaseKeepAliveRequest", ID=lease)] * 3))
    check([answer.TTL for answer in alive] == [3600] * 3, "keep-alive: one answer each, then the end")
    others = [b"/registry/events/default/web.%d" % number for number in range(2, 12)]
    for other in others:
        create(api, other, b"event", lease)
    update(api, others[0], b"kept", api.KV.Range(key=others[0]).kvs[0].mod_revision)
    check(set(api.Lease.LeaseTimeToLive(ID=lease, keys=True).keys) == {key, *others[1:]}, "shared; a put without it lets a key go")
    api.Lease.LeaseRevoke(ID=lease)
    check(api.KV.Range(key=key).count == 0, "it goes with its lease")
    check(api.KV.Range(key=b"/registry/events/", range_end=b"/registry/events0").count == 1, "and so do all of it")
    refused(lambda: create(api, key, b"event", lease), grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found")


def compactor(api):
    def step(version, revision):
        return api.KV.Txn(compare=[dict(target=VERSION, key=b"compact_rev_key", version=version)],
                          success=[dict(request_put=dict(key=b"compact_rev_key", value=b"%d" % revision))],
                          failure=[dict(request_range=dict(key=b"compact_rev_key"))])

    revision = api.KV.Range(key=PODS, range_end=END, limit=1).header.revision
    check(step(0, revision).succeeded, "the first compactor counts")
    other = step(0, revision)
    check(not other.succeeded and other.responses[0].response_range.kvs[0].version == 1, "the others see its count")
    stream = Stream(api)
    stream.ask(create_request=dict(key=b"compact_rev_key", start_revision=other.header.revision))  # 1.34: from this revision on
    check(stream.next().created and stream.next().events[0].kv.value == b"%d" % revision, "they watch it")
    check(step(1, revision).succeeded and stream.next().events[0].kv.version == 2, "and see each step")
    stream.close()
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
    kube = Api(opened, None if OURS else grpc.insecure_channel(os.environ["SCHEMA_FROM"]))
    for part in (starts, probes, objects, lists, watches, progress, events, compactor, locks, users):
        part(kube)
done()
