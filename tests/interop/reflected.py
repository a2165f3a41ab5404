"""reflected.py - the server's gRPC API from its own reflection, without generated code.

    api = Api(channel)
    api.KV.Put(key=b"a", value=b"1").header.revision
    for answer in api.Watch.Watch(requests): ...      # requests: an iterator of api.message("etcdserverpb.WatchRequest", ...)
"""
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICES = ["etcdserverpb." + name for name in ("KV", "Watch", "Lease", "Cluster", "Maintenance", "Auth")] + [
    "v3lockpb.Lock", "v3electionpb.Election", "grpc.health.v1.Health"]


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


class Service:
    def __init__(self, api, name):
        self.api, self.descriptor = api, api.pool.FindServiceByName(name)

    def __getattr__(self, name):
        method = self.descriptor.FindMethodByName(name)
        proto = descriptor_pb2.MethodDescriptorProto()
        method.CopyToProto(proto)
        make = getattr(self.api.channel, "%s_%s" % ("stream" if proto.client_streaming else "unary",
                                                    "stream" if proto.server_streaming else "unary"))
        request, response = (self.api.factory.GetPrototype(kind) for kind in (method.input_type, method.output_type))
        call = make("/%s/%s" % (self.descriptor.full_name, name), request_serializer=request.SerializeToString,
                    response_deserializer=response.FromString)
        if proto.client_streaming:
            return lambda requests, timeout=20, metadata=None: call(requests, timeout=timeout, metadata=metadata)
        return lambda timeout=20, metadata=None, **fields: call(request(**fields), timeout=timeout, metadata=metadata)


class Api:
    """Every service of the server as an attribute; a server without reflection (etcd) is described by another one."""

    def __init__(self, channel, described_by=None):
        self.channel, self.pool = channel, descriptor_pool.DescriptorPool()
        reflection, loaded = Reflection(described_by or channel, "grpc.reflection.v1"), set()
        for name in SERVICES:
            reflection.load(self.pool, loaded, file_containing_symbol=name)
        self.factory = message_factory.MessageFactory(self.pool)
        for name in SERVICES:
            setattr(self, name.split(".")[-1], Service(self, name))

    def message(self, name, **fields):
        return self.factory.GetPrototype(self.pool.FindMessageTypeByName(name))(**fields)
