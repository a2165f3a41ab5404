#!/usr/bin/python3
"""doors_interop.py BIN - every unary RPC at both doors of real servers, with the same answer; members without a leader,
deadlines, and the end of a server, as gRPC clients see them."""
import os, re, socket, struct, sys, threading, time

try:
    import grpc
    from google.protobuf import json_format
except ImportError:
    print("LEFT OUT: both doors with a gRPC client that is not ours; it needs the Debian package python3-etcd3")
    sys.exit(0)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]
from cluster import Cluster
from reflected import Api
from suite import Server, Tally, b64, temporary, wait_for

PROGRAM = os.path.join(os.path.abspath(sys.argv[1]), "etcd-server")
PERM = {"permType": "READWRITE", "key": b64("a"), "range_end": b64("b")}
HTTP = {400: {3, 9, 11}, 404: {5}, 409: {6, 10}, 403: {7}, 401: {16}, 429: {8}, 503: {14}, 504: {4}, 501: {12}, 500: {2, 13}}

# In this order on a new store: what is asked, and with which token. {leader} is the answer of Campaign.
CALLS = [
    ("KV.Put", {"key": b64("a"), "value": b64("1")}), ("KV.Put", {"key": b64("a"), "value": b64("2"), "prev_kv": True}),
    ("KV.Put", {}), ("KV.Range", {"key": b64("a")}), ("KV.Range", {"key": b64("a"), "revision": "99"}), ("KV.Range", {}),
    ("KV.Txn", {"compare": [{"key": b64("a"), "target": "VALUE", "value": b64("2")}],
                "success": [{"request_put": {"key": b64("b"), "value": b64("x")}}, {"request_range": {"key": b64("a"), "range_end": b64("c")}}]}),
    ("KV.DeleteRange", {"key": b64("b"), "prev_kv": True}), ("KV.Compact", {"revision": "3"}), ("KV.Compact", {"revision": "2"}),
    ("KV.Range", {"key": b64("a"), "revision": "2"}),
    ("Lease.LeaseGrant", {"TTL": "600", "ID": "77"}), ("Lease.LeaseGrant", {"TTL": "600", "ID": "77"}),
    ("KV.Put", {"key": b64("leased"), "lease": "77"}), ("Lease.LeaseTimeToLive", {"ID": "77", "keys": True}),
    ("Lease.LeaseTimeToLive", {"ID": "78"}), ("Lease.LeaseLeases", {}), ("Lease.LeaseRevoke", {"ID": "77"}), ("Lease.LeaseRevoke", {"ID": "77"}),
    ("Cluster.MemberList", {}), ("Cluster.MemberAdd", {"peerURLs": ["http://127.0.0.1:1"], "isLearner": True}),
    ("Cluster.MemberAdd", {"peerURLs": ["nonsense"]}), ("Cluster.MemberPromote", {"ID": "5"}), ("Cluster.MemberUpdate", {"ID": "5", "peerURLs": ["http://127.0.0.1:2"]}),
    ("Cluster.MemberRemove", {"ID": "5"}),
    ("Maintenance.Status", {}), ("Maintenance.Alarm", {}), ("Maintenance.Alarm", {"action": "ACTIVATE", "alarm": "NOSPACE"}),
    ("KV.Put", {"key": b64("a"), "value": b64("3")}), ("Maintenance.Alarm", {"action": "DEACTIVATE", "alarm": "NOSPACE"}),
    ("Maintenance.Defragment", {}), ("Maintenance.Hash", {}), ("Maintenance.HashKV", {}), ("Maintenance.HashKV", {"revision": "1"}),
    ("Maintenance.MoveLeader", {"targetID": "5"}), ("Maintenance.Downgrade", {"action": "VALIDATE", "version": "nonsense"}),
    ("Lease.LeaseGrant", {"TTL": "600", "ID": "88"}), ("Lock.Lock", {"name": b64("lock"), "lease": "88"}), ("Lock.Lock", {"name": b64("lock"), "lease": "99"}),
    ("Lock.Unlock", {"key": b64("lock/58")}), ("Election.Campaign", {"name": b64("e"), "lease": "88", "value": b64("one")}),
    ("Election.Leader", {"name": b64("e")}), ("Election.Leader", {"name": b64("nobody")}), ("Election.Proclaim", {"leader": "{leader}", "value": b64("two")}),
    ("Election.Proclaim", {}), ("Election.Resign", {"leader": "{leader}"}),
    ("Auth.AuthStatus", {}), ("Auth.AuthEnable", {}), ("Auth.RoleAdd", {"name": "r"}), ("Auth.RoleAdd", {"name": "r"}), ("Auth.RoleAdd", {}),
    ("Auth.RoleGrantPermission", {"name": "r", "perm": PERM}), ("Auth.RoleGrantPermission", {"name": "r"}), ("Auth.RoleGet", {"role": "r"}),
    ("Auth.RoleList", {}), ("Auth.UserAdd", {"name": "root", "password": "x"}), ("Auth.UserAdd", {"name": "u", "password": "x"}),
    ("Auth.UserAdd", {"name": "u"}), ("Auth.UserGrantRole", {"user": "u", "role": "r"}), ("Auth.UserGrantRole", {"user": "root", "role": "root"}),
    ("Auth.UserGet", {"name": "u"}), ("Auth.UserList", {}), ("Auth.UserChangePassword", {"name": "u", "password": "y"}),
    ("Auth.AuthEnable", {}), ("Auth.Authenticate", {"name": "u", "password": "wrong"}), ("KV.Range", {"key": b64("a")}),
    ("Auth.UserList", {}), ("Auth.AuthDisable", {}), ("Auth.AuthDisable", {}, "root:x"), ("Auth.Authenticate", {"name": "u", "password": "y"}),
    ("Auth.RoleRevokePermission", {"role": "r", "key": b64("a"), "range_end": b64("b")}), ("Auth.UserRevokeRole", {"name": "u", "role": "r"}),
    ("Auth.UserRevokeRole", {"name": "u", "role": "r"}), ("Auth.RoleDelete", {"role": "r"}), ("Auth.UserDelete", {"name": "u"}), ("Auth.UserDelete", {"name": "u"}),
]
VOLATILE = {"cluster_id", "member_id", "raft_term", "dbSize", "dbSizeInUse", "raftIndex", "raftAppliedIndex", "leader", "raftTerm",
            "ID", "memberID", "clientURLs", "peerURLs", "hash", "dbSizeQuota"}


def paths():
    """Service.Method -> gateway path, of all unary RPCs in the table."""
    table = open(os.path.join(HERE, "..", "..", "common", "schema", "rpc.def")).read()
    rows = re.findall(r'^RPC\("[\w.]+", (\w+), (\w+), .*?, ("[^"]*"|NULL), (?:"[^"]*"|NULL), UNARY\)', table, re.M)
    return {"%s.%s" % (service, method): path.strip('"') for service, method, path in rows if path != "NULL"}


def steady(value, name=""):
    """Without what differs from server to server."""
    if isinstance(value, dict):
        return {k: steady(v, k) for k, v in value.items() if k not in VOLATILE or (k == "ID" and name == "")}
    if not isinstance(value, list):
        return value
    if name == "members":
        value = sorted(value, key=lambda member: member.get("name", ""))  # they come in the order of their ids
    return [steady(one, name) for one in value]


class Rpc:
    """The gRPC door."""

    def __init__(self, server):
        self.channel = grpc.insecure_channel("127.0.0.1:%d" % server.port)
        self.api = Api(self.channel)

    def ask(self, name, _, request, token):
        service, method = name.split(".")
        service = getattr(self.api, service)
        kind = self.api.factory.GetPrototype(service.descriptor.FindMethodByName(method).input_type)
        fields = json_format.ParseDict(request, kind())
        try:
            answer = getattr(service, method)(metadata=[("token", token)] if token else None,
                                              **{field.name: getattr(fields, field.name) for field, _ in fields.ListFields()})
        except grpc.RpcError as error:
            return error.code().value[0], error.details()
        return 0, json_format.MessageToDict(answer, preserving_proto_field_name=True)


class Gateway:
    def __init__(self, server):
        self.server = server

    def ask(self, _, path, request, token):
        import json
        link = self.server.connect()
        link.request("POST", path, json.dumps(request), {"Authorization": token} if token else {})
        answer = link.getresponse()
        body = json.loads(answer.read())
        link.close()
        if answer.status == 200:
            return 0, body
        assert body["code"] in HTTP[answer.status], (path, answer.status, body)
        return body["code"], body["message"]


def both_doors(root):
    folders = [os.path.join(root, name) for name in ("rpc", "gateway")]
    for folder in folders:
        os.mkdir(folder)
    doors = [kind(Server(PROGRAM, folder).start()) for kind, folder in zip((Rpc, Gateway), folders)]
    table, asked, leaders = paths(), set(), [None, None]
    for name, request, *user in CALLS:
        asked.add(name)
        answers = []
        for number, door in enumerate(doors):
            token = ""
            if user:
                login, password = user[0].split(":")
                token = door.ask("Auth.Authenticate", table["Auth.Authenticate"], {"name": login, "password": password}, "")[1]["token"]
            mine = {k: leaders[number] if v == "{leader}" else v for k, v in request.items()}
            answers.append(door.ask(name, table[name], mine, token))
            if name == "Election.Campaign":
                leaders[number] = answers[-1][1]["leader"]
        assert answers[0][0] == answers[1][0] and steady(answers[0][1]) == steady(answers[1][1]), \
            "%s %s:\n  gRPC    %s\n  gateway %s" % (name, request, *answers)
    missing = set(table) - asked
    assert not missing, "not asked: %s" % missing


def refusal(call):
    start = time.monotonic()
    try:
        call()
    except grpc.RpcError as error:
        return error.code().name, error.details(), time.monotonic() - start
    return "OK", "", time.monotonic() - start


def quick_refusal(call, seconds):
    """As refusal(), of a call that can be made again and is refused within that time: the best of three."""
    for left in (2, 1, 0):
        code, text, took = refusal(call)
        if took < seconds or not left:
            return code, text, took
        print("again: a refusal took %.1f s" % took, flush=True)


def without_leader(root):
    three = Cluster(root, [PROGRAM] * 3, ["--heartbeat-interval=100", "--election-timeout=3000"], names="lone").start()
    one = three.members[0]
    rpc = Rpc(one)
    rpc.api.KV.Put(key=b"a", value=b"1")
    watch = rpc.api.Watch.Watch(iter([rpc.api.message("etcdserverpb.WatchRequest", create_request=dict(key=b"a"))]), metadata=[("hasleader", "true")])
    patient = rpc.api.Watch.Watch(iter([rpc.api.message("etcdserverpb.WatchRequest", create_request=dict(key=b"a"))]))
    assert next(watch).created and next(patient).created
    for member in three.members[1:]:
        member.kill()
    wait_for("the leader to be missed", lambda: rpc.api.Maintenance.Status().leader == 0)
    required = [("hasleader", "true")]
    for call in (lambda: rpc.api.KV.Put(key=b"a", metadata=required), lambda: rpc.api.KV.Range(key=b"a", metadata=required)):
        code, text, took = quick_refusal(call, 2)
        assert (code, text) == ("UNAVAILABLE", "etcdserver: no leader") and took < 2, (code, text, took)
    code, text, _ = refusal(lambda: next(watch))
    assert (code, text) == ("UNAVAILABLE", "etcdserver: no leader"), (code, text)
    code, text, took = quick_refusal(lambda: rpc.api.KV.Put(key=b"a", timeout=0.5), 3)
    assert code == "DEADLINE_EXCEEDED" and 0.4 < took < 3, (code, text, took)
    assert rpc.api.KV.Range(key=b"a", serializable=True).kvs[0].value == b"1"
    assert patient.is_active(), "a watch that asked for no leader stays"
    patient.cancel()
    for member in three.members:
        member.kill()


def a_deadline_frees_the_server(root):
    server = Server(PROGRAM, root, "deadline").start()
    rpc = Rpc(server)
    lease = rpc.api.Lease.LeaseGrant(TTL=100).ID
    other = rpc.api.Lease.LeaseGrant(TTL=100).ID
    rpc.api.Lock.Lock(name=b"l", lease=lease)
    code, _, took = quick_refusal(lambda: rpc.api.Lock.Lock(name=b"l", lease=other, timeout=0.3), 3)
    assert code == "DEADLINE_EXCEEDED" and took < 3, (code, took)
    wait_for("its place in the queue to be free", lambda: rpc.api.KV.Range(key=b"l/", range_end=b"l0", count_only=True).count == 1)
    server.stop()


def frames(data):
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        yield data[3], data[4], data[9:9 + length]
        data = data[9 + length:]


def goaway_at_the_end(root):
    server = Server(PROGRAM, root, "ends", ["--max-concurrent-streams=7"]).start()
    link = socket.create_connection(("127.0.0.1", server.port))
    link.settimeout(20)
    link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    seen = b""
    while not any(kind == 4 and flags & 1 for kind, flags, _ in frames(seen)):
        seen += link.recv(4096)
    settings = next(payload for kind, flags, payload in frames(seen) if kind == 4 and not flags & 1)
    assert struct.pack(">HI", 3, 7) in settings, settings
    threading.Timer(0.1, lambda: server.stop()).start()
    seen = b""
    while True:
        more = link.recv(4096)
        if not more:
            break
        seen += more
    goaway = [payload for kind, _, payload in frames(seen) if kind == 7]
    assert goaway and goaway[0][4:8] == b"\0\0\0\0", seen
    wait_for("the server to end", lambda: not server.alive())


tally = Tally("both doors")
with temporary("doors") as folder:
    for check in (both_doors, without_leader, a_deadline_frees_the_server, goaway_at_the_end):
        tally.run(check.__name__.replace("_", " "), check, folder)
tally.finish()
