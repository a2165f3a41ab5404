#!/usr/bin/env python3
"""grpc_interop.py HOST:PORT [CA CERT KEY] - what Python's gRPC clients do with a running server: python3-etcd3's
main operations, the health service, gzip, deadlines, and reflection (v1 and v1alpha)."""
import sys, threading

import etcd3
import grpc
from google.protobuf import descriptor_pool

from clients import HOST, PORT, TLS, channel as open_channel, check, done
from reflected import Reflection


def etcd3_basics():
    tls = dict(ca_cert=TLS["ca"], cert_cert=TLS["cert"], cert_key=TLS["key"]) if TLS else {}
    client = etcd3.client(host=HOST, port=PORT, timeout=20, **tls)
    client.put("grpc/a", "1")
    check(client.get("grpc/a")[0] == b"1", "etcd3: put, get")
    client.put("grpc/b", "2")
    check([v for v, _ in client.get_prefix("grpc/")] == [b"1", b"2"], "etcd3: get_prefix")
    done, _ = client.transaction(compare=[client.transactions.value("grpc/a") == "1"],
                                 success=[client.transactions.put("grpc/a", "3")], failure=[])
    check(done and client.get("grpc/a")[0] == b"3", "etcd3: transaction")
    check(client.replace("grpc/a", "3", "4") and not client.replace("grpc/a", "3", "5"), "etcd3: replace")
    lease = client.lease(60)
    client.put("grpc/leased", "x", lease)
    check(lease.remaining_ttl > 50 and list(lease.keys) == [b"grpc/leased"], "etcd3: lease, time to live")
    check(next(iter(lease.refresh())).TTL == 60, "etcd3: lease keep-alive")
    lease.revoke()
    check(client.get("grpc/leased")[0] is None, "etcd3: revoke")
    events, cancel = client.watch_prefix("grpc/watched/")
    threading.Timer(0, lambda: [client.put("grpc/watched/%d" % i, str(i)) for i in range(3)]).start()
    got = [next(events).value for _ in range(3)]
    cancel()
    check(got == [b"0", b"1", b"2"], "etcd3: watch")
    with client.lock("grpc-lock", ttl=10) as lock:
        check(lock.is_acquired(), "etcd3: lock")
    check(len(list(client.members)) == 1 and client.status().version.startswith("3."), "etcd3: members, status")
    check(client.delete("grpc/b") and client.delete_prefix("grpc/").deleted >= 1, "etcd3: delete")
    snapshot = sum(len(part) for part in [open_snapshot(client)])
    check(snapshot > 16384, "etcd3: snapshot of %d bytes" % snapshot)
    check(client.hash() != 0 and [alarm for alarm in client.list_alarms()] == [], "etcd3: hash, alarms")
    client.compact(client.status().header.revision if hasattr(client.status(), "header") else 2)
    client.defragment()
    client.close()


def open_snapshot(client):
    import io
    out = io.BytesIO()
    client.snapshot(out)
    return out.getvalue()


def reflection(channel):
    for package in ("grpc.reflection.v1", "grpc.reflection.v1alpha"):
        client = Reflection(channel, package)
        names = client.services()
        check({"etcdserverpb.KV", "etcdserverpb.Watch", "grpc.health.v1.Health", package.replace("alpha", "") +
               ".ServerReflection"} <= set(names), package + ": list services")
        pool, loaded = descriptor_pool.DescriptorPool(), set()
        for name in names:
            client.load(pool, loaded, file_containing_symbol=name)
            pool.FindServiceByName(name)
        request = pool.FindServiceByName("etcdserverpb.KV").FindMethodByName("Range").input_type
        check(request.fields_by_name["range_end"].number == 2, package + ": the schema loads")
        check(client.ask(file_containing_symbol="no.such").error.error_code == 5, package + ": unknown symbol")


def raw(channel):
    check_health = channel.unary_unary("/grpc.health.v1.Health/Check")
    check(check_health(b"", timeout=20) == b"\x08\x01", "health: check")
    try:
        check_health(b"\x0a\x01x", timeout=20)
        check(False, "health: unknown service")
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.NOT_FOUND and error.details() == "unknown service", "health: unknown service")
    stream = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
    check(next(stream) == b"\x08\x01", "health: watch")
    stream.cancel()
    put = channel.unary_unary("/etcdserverpb.KV/Put")
    answer, call = put.with_call(b"\x0a\x01z\x12\x82\x20" + b"v" * 4098, timeout=20, compression=grpc.Compression.Gzip)
    check(len(answer) > 10 and call.code() == grpc.StatusCode.OK, "gzip: put")
    answer = channel.unary_unary("/etcdserverpb.KV/Range")(b"\x0a\x01z", timeout=20, compression=grpc.Compression.Gzip)
    check(b"v" * 4098 in answer, "gzip: range")
    for path, text in (("/a.B/C", "unknown service a.B"),
                       ("/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV")):
        try:
            channel.unary_unary(path)(b"", timeout=20)
            check(False, path)
        except grpc.RpcError as error:
            check((error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, text), text)
    try:
        put(b"\x0a\x01z\x12\x80\x80\x81\x01" + b"v" * 2113536, timeout=20)
        check(False, "too large")
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and error.details() ==
              "grpc: received message larger than max (2113544 vs. 2097152)", "too large: " + error.details())


threading.excepthook = lambda _: None  # of python3-etcd3: its watch thread dies loudly at close()
with open_channel() as channel:
    raw(channel)
    reflection(channel)
etcd3_basics()
done()
