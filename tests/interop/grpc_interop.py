#!/usr/bin/env python3
"""grpc_interop.py HOST:PORT - what Python's gRPC clients do with a running server: python3-etcd3's
main operations, the health service, gzip, deadlines, and reflection (v1 and v1alpha)."""
import sys, threading

import etcd3
import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

HOST, PORT = sys.argv[1].rsplit(":", 1)


def check(good, what):
    print("ok  " if good else "FAIL", what)
    if not good:
        sys.exit(1)


def etcd3_basics():
    client = etcd3.client(host=HOST, port=int(PORT), timeout=5)
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
    client.close()


class Reflection:
    """A reflection client without generated code: the answers are parsed by a descriptor made here."""

    def __init__(self, channel, package):
        file = descriptor_pb2.FileDescriptorProto(name=package + "-client.proto", package=package, syntax="proto3")

        def message(name, *fields):
            made = file.message_type.add(name=name)
            for number, field, kind, many, of in fields:
                added = made.field.add(name=field, number=number, type=kind, label=3 if many else 1)
                if of:
                    added.type_name = "." + package + "." + of

        message("Request", (3, "file_by_filename", 9, 0, ""), (4, "file_containing_symbol", 9, 0, ""),
                (7, "list_services", 9, 0, ""))
        message("Name", (1, "name", 9, 0, ""))
        message("Names", (1, "service", 11, 1, "Name"))
        message("Files", (1, "file_descriptor_proto", 12, 1, ""))
        message("Error", (1, "error_code", 5, 0, ""))
        message("Response", (4, "files", 11, 0, "Files"), (6, "services", 11, 0, "Names"), (7, "error", 11, 0, "Error"))
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        factory = message_factory.MessageFactory(pool)
        self.request, response = (factory.GetPrototype(pool.FindMessageTypeByName(package + "." + name))
                                  for name in ("Request", "Response"))
        self.call = channel.stream_stream("/%s.ServerReflection/ServerReflectionInfo" % package,
                                          request_serializer=self.request.SerializeToString,
                                          response_deserializer=response.FromString)

    def ask(self, **what):
        return next(self.call(iter([self.request(**what)]), timeout=5))

    def services(self):
        return [service.name for service in self.ask(list_services="*").services.service]

    def load(self, pool, loaded, **what):
        for bytes_ in self.ask(**what).files.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(bytes_)
            if file.name in loaded:
                continue
            loaded.add(file.name)
            for dependency in file.dependency:
                self.load(pool, loaded, file_by_filename=dependency)
            pool.Add(file)


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
    check(check_health(b"", timeout=5) == b"\x08\x01", "health: check")
    try:
        check_health(b"\x0a\x01x", timeout=5)
        check(False, "health: unknown service")
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.NOT_FOUND and error.details() == "unknown service", "health: unknown service")
    stream = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
    check(next(stream) == b"\x08\x01", "health: watch")
    stream.cancel()
    put = channel.unary_unary("/etcdserverpb.KV/Put")
    answer, call = put.with_call(b"\x0a\x01z\x12\x82\x20" + b"v" * 4098, timeout=5, compression=grpc.Compression.Gzip)
    check(len(answer) > 10 and call.code() == grpc.StatusCode.OK, "gzip: put")
    answer = channel.unary_unary("/etcdserverpb.KV/Range")(b"\x0a\x01z", timeout=5, compression=grpc.Compression.Gzip)
    check(b"v" * 4098 in answer, "gzip: range")
    for path, text in (("/a.B/C", "unknown service a.B"),
                       ("/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV")):
        try:
            channel.unary_unary(path)(b"", timeout=5)
            check(False, path)
        except grpc.RpcError as error:
            check((error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, text), text)
    try:
        put(b"\x0a\x01z\x12\x80\x80\x81\x01" + b"v" * 2113536, timeout=5)
        check(False, "too large")
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and error.details() ==
              "grpc: received message larger than max (2113544 vs. 2097152)", "too large: " + error.details())


with grpc.insecure_channel(HOST + ":" + PORT) as channel:
    raw(channel)
    reflection(channel)
etcd3_basics()
