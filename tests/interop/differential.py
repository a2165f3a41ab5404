#!/usr/bin/python3
"""differential.py BIN ETCD_BIN [--seed N] [--runs N] [--steps M] [--seconds S] [--profile P] - the same random requests for us and for etcd.

Each run starts one fresh server of ours and one real etcd on loopback, gives both the same steps (differential_requests.py
draws them from the seed), through the gateway and, where python3-grpcio is there, through gRPC, and compares what comes
back: status, headers, the JSON with its revisions, counts and order, error codes and texts, watch messages, and, again
and again, the whole state with its HashKV. What cannot be alike (ids that a server chose, sizes, times) is replaced by
what it is. A difference is printed with seed, step, request, both answers and, with --minimise, the few steps that
bring it about; differential_wanted.py lists those that we want, each with the reason.
"""
import argparse
import base64
import http.client
import json
import os
import queue
import random
import re
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]
from differential_requests import LEASES, PROFILES, ROLES, USERS, Requests, Spelling, Story, b64  # noqa: E402
from differential_wanted import PARTING, wanted  # noqa: E402
from suite import Server, temporary, wait_for  # noqa: E402

try:
    import grpc
    from google.protobuf import json_format
    from reflected import Api
except ImportError:
    grpc = None

PEER = "http://127.0.0.1:2380"  # advertised by both, so that their ids are alike
ARGS = ["--log-level=error", "--unsafe-no-fsync", "--bcrypt-cost=4", f"--initial-advertise-peer-urls={PEER}", f"--initial-cluster=m1={PEER}",
        "--advertise-client-urls=http://127.0.0.1:2379"]
SIZES = {"dbSize", "dbSizeInUse", "raftIndex", "raftAppliedIndex"}  # of what is kept otherwise
UNORDERED = {"keys", "members", "alarms", "errors"}  # in etcd as a hash table or an id has it
BYTES = {"key", "value", "range_end", "name", "keys"}
KNOWN = {str(n) for n in LEASES} | {str(n) for n in ((1 << 62), (1 << 63) - 1, -(1 << 63), (1 << 64) - 1, 9000000000)}
NO_LEADER = {"name": b64("e"), "key": b64("e/7"), "rev": "1", "lease": "7"}  # with a lease: for one without, etcd makes one that nobody wants
QUIET_S, SETTLE_S = 0.05, 0.16  # etcd looks for watches with history every 100 ms
IGNORED_HEADERS = {"date", "content-length", "transfer-encoding", "connection", "trailer"}  # "Trailer": for TE: trailers, with nothing but the content type in it


# ---------------------------------------------------------------- one server

class Names:
    """Numbers that a server chose, by the order in which they were first seen."""

    def __init__(self):
        self.given, self.unordered = {}, UNORDERED

    def of(self, number):
        return f"#{self.given.setdefault(number, len(self.given))}"

    def text(self, text, name=""):
        known = lambda m: m.group() in KNOWN or (name == "message" and int(m.group()) not in self.given)
        text = re.sub(r"(?<![0-9a-fA-F#.-])[0-9]{17,20}(?![0-9])", lambda m: m.group() if known(m) else self.of(int(m.group())), text)
        return re.sub(r"/([0-9a-f]{15,16})(?![0-9a-f])", lambda m: "/" + (m.group(1) if str(int(m.group(1), 16)) in KNOWN else self.of(int(m.group(1), 16))), text)

    def plain(self, value, name=""):
        """A JSON value with the names in it."""
        if isinstance(value, dict):
            return {k: self.plain(v, k) for k, v in value.items() if k not in SIZES}
        if isinstance(value, list):
            made = [self.plain(one, name) for one in value]
            return sorted(made, key=json.dumps) if name in self.unordered else made
        if not isinstance(value, str):
            return value
        if name in BYTES:
            try:
                return "b:" + self.text(base64.b64decode(value, validate=True).decode("latin-1"))
            except ValueError:
                pass
        return "TOKEN" if name == "token" else self.text(value, name)


class Stream:
    """A watch in the background: its messages come through a queue."""

    def __init__(self):
        self.lines, self.status, self.fresh, self.ended = queue.Queue(), None, True, False

    def take(self, seconds):
        """What has come, until nothing more does for so long."""
        found = []
        while not self.ended:
            try:
                line = self.lines.get(timeout=seconds)
            except queue.Empty:
                break
            if line is None:
                self.ended = True
                break
            found.append(line)
        return found


class GatewayStream(Stream):
    def __init__(self, side, bodies, token, path="/v3/watch"):
        super().__init__()
        self.link = side.server.connect(timeout=None)
        headers = {} if token is None else {"Authorization": token}
        self.link.request("POST", path, b"\n".join(json.dumps(body).encode() for body in bodies), headers)
        self.socket = self.link.sock
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        try:
            answer = self.link.getresponse()
            self.status = answer.status
            for line in iter(answer.readline, b""):
                self.lines.put(json.loads(line))
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass
        self.lines.put(None)

    def send(self, body):
        pass  # over HTTP/1.1 etcd reads no more

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class RpcStream(Stream):
    def __init__(self, side, bodies, token):
        super().__init__()
        self.side, self.requests = side, queue.Queue()
        for body in bodies:
            self.send(body)
        self.call = side.channel.stream_stream("/etcdserverpb.Watch/Watch")(iter(self.requests.get, None), metadata=[] if token is None else [("token", token)])
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        try:
            for answer in self.call:
                self.lines.put({"result": self.side.api.text("etcdserverpb.WatchResponse", answer)})
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.CANCELLED:
                self.lines.put({"error": {"code": error.code().value[0], "message": error.details()}})
        self.lines.put(None)

    def send(self, body):
        self.requests.put(self.side.api.bytes("etcdserverpb.WatchRequest", body))

    def close(self):
        self.call.cancel()
        self.requests.put(None)


class Schema:
    """Messages by name, from our server's reflection (etcd has none)."""

    def __init__(self, channel):
        self.api = Api(channel)

    def kind(self, name):
        return self.api.factory.GetPrototype(self.api.pool.FindMessageTypeByName(name))

    def bytes(self, name, body):
        return json_format.ParseDict(body, self.kind(name)(), ignore_unknown_fields=True).SerializeToString()

    def text(self, name, data):
        return json_format.MessageToDict(self.kind(name).FromString(data), preserving_proto_field_name=True)

    def method(self, rpc):
        service, method = rpc.split(".")
        found = getattr(self.api, service).descriptor
        return "/%s/%s" % (found.full_name, method), found.FindMethodByName(method)


def gateway_paths():
    with open(os.path.join(HERE, "..", "..", "common", "schema", "rpc.def")) as table:
        return {f"{service}.{method}": path for service, method, path in re.findall(r'^RPC\("[\w.]+", (\w+), (\w+), .*?, "([^"]*)", (?:"[^"]*"|NULL), \w+\)', table.read(), re.M)}


class Side:
    """One of the two servers, what it has answered so far, and how to ask it."""

    def __init__(self, program, root, name, args):
        self.server = Server(program, root, "m1", ARGS + args)
        self.server.dir = os.path.join(root, name)
        self.server.log = os.path.join(root, name + ".log")
        self.server.launch()
        self.names, self.link, self.api = Names(), None, None
        self.revision, self.tokens, self.streams, self.used_own = 1, {}, {}, False
        self.found = {"$lease": [], "$member": [], "$leader": [], "$lock": [], "$self": []}

    def ready(self, paths):
        wait_for("the server to get ready, see " + self.server.log, self.server.ready)
        self.paths = paths
        self.found["$self"].append(self.server.post("/v3/cluster/member/list", {})[1]["members"][0]["ID"])

    def healthy(self):
        try:
            return self.http("GET", "/version", [], b"")["body"]["etcdcluster"] != "not_decided"
        except (OSError, TypeError, KeyError):
            return False

    def hang_up(self):
        """Before a restart: etcd waits five seconds for those who stay."""
        if self.link is not None:
            self.link.close()
        if self.api is not None:
            self.channel.close()
        self.streams, self.tokens, self.link = {}, {}, None

    def with_grpc(self, schema):
        self.channel, self.api = grpc.insecure_channel(f"127.0.0.1:{self.server.port}"), schema

    def end(self):
        for stream in self.streams.values():
            stream.close()
        if self.api is not None:
            self.channel.close()
        self.server.kill()

    def fill(self, body):
        """The body with its placeholders filled in."""
        if isinstance(body, list):
            return [self.fill(one) for one in body]
        if not isinstance(body, dict):
            return body
        if len(body) == 1 and next(iter(body)).startswith("$"):
            (kind, number), = body.items()
            if kind == "$rev":
                return self.revision + number
            self.used_own |= kind != "$self"
            found = self.found[kind]
            return found[-1 - number % len(found)] if found else {"$leader": NO_LEADER, "$lock": b64("none")}.get(kind, 3)
        return {name: self.fill(value) for name, value in body.items()}

    def token(self, name):
        return name if name is None or name in ("", "wrong", "wrong.1") else self.tokens.get(name)

    def http(self, method, path, headers, body, chunked=False, timeout=8, peer=False):
        """One request on a connection of its own, byte by byte as given."""
        port = self.server.peer_port if peer else self.server.port
        host = "" if any(name == "Host" for name, _ in headers) else f"Host: 127.0.0.1:{port}\r\n"
        head = f"{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
        if chunked:
            data = (head + "Transfer-Encoding: chunked\r\n\r\n").encode("latin-1") + (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        else:
            data = (head + (f"Content-Length: {len(body)}\r\n" if body or method == "POST" else "") + "\r\n").encode("latin-1") + body
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as link:
            try:
                link.sendall(data)
                answer = http.client.HTTPResponse(link, method=method)
                answer.begin()
                return self.answer(answer, answer.read())
            except (OSError, http.client.HTTPException) as error:
                return {"status": type(error).__name__}

    def answer(self, answer, data):
        headers = {}
        for name, value in answer.getheaders():
            if name.lower() not in IGNORED_HEADERS:
                headers.setdefault(name.lower(), []).append(value.replace(str(self.server.port), "PORT"))
        return {"status": answer.status, "headers": headers, "body": self.body(data)}

    def body(self, data):
        text = data.decode("utf-8", "backslashreplace")
        try:
            if text[:1] in ("{", "[") and not text.startswith("[+]"):
                rows = [json.loads(line) for line in text.splitlines() if line.strip()] if text.startswith('{"result"') else json.loads(text)
            else:
                return "\n".join(sorted(text.split("\n"))) if "[+]" in text else text.replace(str(self.server.port), "PORT")
        except ValueError:
            return text
        if isinstance(rows, dict) and "code" in rows and rows.get("error") == rows.get("message"):
            del rows["error"]  # of gateway version 1, a copy
        return rows

    def gateway(self, rpc, data, token, timeout, metadata=None):
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers[f"Grpc-Metadata-{metadata}" if metadata else "Authorization"] = token
        if timeout:
            headers["Grpc-Timeout"] = "%dm" % (timeout * 1000)
        for attempt in (1, 2):  # the server may have closed an idle connection
            if self.link is None:
                self.link = self.server.connect(timeout=12)
            try:
                self.link.request("POST", self.paths[rpc], data, headers)
                answer = self.link.getresponse()
                return self.answer(answer, answer.read())
            except (OSError, http.client.HTTPException) as error:
                self.link = None
                if attempt == 2 or not self.server.alive() or isinstance(error, TimeoutError):
                    return {"status": type(error).__name__}

    def rpc(self, rpc, body, token, timeout, metadata=None):
        path, method = self.api.method(rpc)
        data, metadata = self.api.bytes(method.input_type.full_name, body), [] if token is None else [(metadata or "token", token)]
        try:
            if rpc == "Lease.LeaseKeepAlive":
                answers = list(self.channel.stream_stream(path)(iter([data]), timeout=timeout or 12, metadata=metadata))
                return {"code": 0, "body": [{"result": self.api.text(method.output_type.full_name, one)} for one in answers]}
            answer, call = self.channel.unary_unary(path).with_call(data, timeout=timeout or 12, metadata=metadata)
            return {"code": 0, "trailers": sorted(map(str, call.trailing_metadata())), "body": self.api.text(method.output_type.full_name, answer)}
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return {"code": 4}  # the words are those of whose clock was first
            return {"code": error.code().value[0], "trailers": sorted(map(str, error.trailing_metadata() or ())), "body": {"message": error.details()}}

    def send_bytes(self, step):
        if self.api is None:
            return {}
        try:
            self.channel.unary_unary(step["path"])(bytes.fromhex(step["data"]), timeout=5)
            return {"code": 0}
        except grpc.RpcError as error:
            return {"code": error.code().value[0], "body": {"message": error.details()}}

    def call(self, step):
        """The answer of one call, and what later steps may want of it."""
        body, token = self.fill(step["body"]), self.token(step.get("token"))
        if step.get("door") == "grpc" and self.api is not None:
            answer = self.rpc(step["rpc"], body, token, step.get("timeout"), step.get("metadata"))
        else:
            answer = self.gateway(step["rpc"], spelled(step, body), token, step.get("timeout"), step.get("metadata"))
        self.remember(step, body, answer.get("body"))
        return answer

    def remember(self, step, body, answer):
        if not isinstance(answer, dict) or "message" in answer:
            return
        self.revision = max(self.revision, int(answer.get("header", {}).get("revision", 0)))
        rpc = step["rpc"]
        if rpc == "Lease.LeaseGrant":
            if int(answer["TTL"]) < 60 and "kept" not in step:  # not to end in the middle of the run
                self.gateway("Lease.LeaseRevoke", json.dumps({"ID": answer["ID"]}), self.tokens.get("root"), None)
            elif "ID" not in body:
                self.found["$lease"].append(answer["ID"])
        elif rpc == "Cluster.MemberAdd":
            self.found["$member"].append(answer["member"]["ID"])
        elif rpc == "Election.Campaign":
            self.found["$leader"].append(answer["leader"])
        elif rpc == "Lock.Lock":
            self.found["$lock"].append(answer["key"])
        elif rpc == "Auth.Authenticate" and "spelling" not in step:
            self.tokens[body["name"]] = answer["token"]


def spelled(step, body):
    if "spelling" not in step:
        return json.dumps(body)
    spelling = Spelling(Requests(random.Random(step["spelling"]["seed"])))
    return spelling.same(body) if step["spelling"]["kind"] == "spelled" else spelling.broken(body)


# ---------------------------------------------------------------- two servers

def crashes(text):
    """Whether etcd would end at it: an unknown number for sort_target (api.md 16)."""
    text = text if isinstance(text, str) else text.decode("latin-1")
    return any(value not in ("0", "1", "2", "3", "4") for value in re.findall(r'"sort_?[tT]arget"\s*:\s*([-0-9.][^,}\]\s]*)', text))


def alike(theirs, ours):
    """ours, with the seconds that are left of a lease as they are in theirs when they are near."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return {k: theirs[k] if k == "TTL" and near(theirs.get(k), v) else alike(theirs.get(k), v) for k, v in ours.items()}
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return [alike(one, other) for one, other in zip(theirs, ours)]
    return ours


def near(one, other):
    try:
        return min(int(one), int(other)) > 10 and abs(int(one) - int(other)) <= 2
    except (TypeError, ValueError):
        return False


def by_watch(messages):
    """Messages by the watch that they are for: among watches there is no order."""
    groups = {}
    for message in messages:
        groups.setdefault(message.get("result", {}).get("watch_id", "0"), []).append(message)
    return groups


class Pair:
    """A real etcd and our server, both fresh."""

    def __init__(self, programs, root, args):
        key = os.path.join(root, "key")
        with open(key, "w") as file:
            file.write("a secret of tests, long enough for HS256")
        args = [arg.replace("{key}", key) for arg in args]
        self.sides = [Side(program, root, name, args) for program, name in zip(programs, ("theirs", "ours"))]
        self.schema = None
        paths, self.compacted_at_nothing, self.own_leases, self.gave_up, self.ghosts = gateway_paths(), False, False, False, set()
        for side in self.sides:
            side.ready(paths)
        if grpc is not None:
            channel = grpc.insecure_channel(f"127.0.0.1:{self.sides[1].server.port}")
            self.schema = Schema(channel)
            for side in self.sides:
                side.with_grpc(self.schema)

    def end(self):
        for side in self.sides:
            side.end()

    def run(self, step):
        """(their answer, our answer), in words that can be compared; None where there is nothing to compare."""
        kind = step["do"]
        if kind == "call":
            if crashes(spelled(step, self.sides[0].fill(step["body"]))):
                return None
            nothing = step["rpc"] == "KV.Compact" and (int(self.sides[0].fill(step["body"]).get("revision", 0)) == 0 or "spelling" in step)
            for side in self.sides:
                side.used_own = False
            both = [side.call(step) for side in self.sides]
            self.gave_up |= step.get("token") is not None and step["rpc"] in ("Lock.Lock", "Election.Campaign") and (both[0].get("status") == 504 or both[0].get("code") == 4)
            if step["rpc"].split(".")[0] in ("KV", "Lock", "Election"):
                self.own_leases |= self.sides[0].used_own or (step["rpc"] in ("Lock.Lock", "Election.Campaign") and step["body"].get("lease", 0) == 0)
            self.compacted_at_nothing |= nothing and "message" not in (both[0].get("body") or {})
        elif kind == "http":
            self.own_leases |= step["path"] in ("/v3/lock/lock", "/v3/election/campaign")
            both = [side.http(step["method"], step["path"], step["headers"], step["body"].encode("latin-1"), step["chunked"], peer=step.get("peer")) for side in self.sides]
        elif kind == "watch":
            return self.open_watch(step)
        elif kind == "restart":
            return self.restart()
        elif kind == "sleep":
            time.sleep(step["seconds"])
            return None
        elif kind == "bytes":
            both = [side.send_bytes(step) for side in self.sides]
        elif kind == "watch_close":
            for side in self.sides:
                if step["slot"] in side.streams:
                    side.streams.pop(step["slot"]).close()
            return None
        else:
            if kind == "watch_send":
                self.watched(step["slot"])
                for side in self.sides:
                    if step["slot"] in side.streams:
                        side.streams[step["slot"]].fresh = True
                        side.streams[step["slot"]].send(side.fill(step["body"]))
            return self.watched(step["slot"])
        return self.words(both)

    def words(self, both):
        theirs, ours = (side.names.plain(answer) for side, answer in zip(self.sides, both))
        return theirs, alike(theirs, ours)

    def restart(self):
        """End both as an operator does, and start them on what they have."""
        for side in self.sides:
            for stream in side.streams.values():
                stream.close()
            side.hang_up()
            side.server.stop()
            side.server.launch()
        for side in self.sides:
            wait_for("the server to come back, see " + side.server.log, side.healthy)
            side.names.unordered |= {"leases"}  # those of equal TTL end at the same moment now
            if self.schema is not None:
                side.with_grpc(self.schema)

    def open_watch(self, step):
        slot, kind = step["slot"], RpcStream if step["door"] == "grpc" and grpc is not None else GatewayStream
        bodies = step["bodies"]
        if any("start_revision" in body.get("create_request", {}) for body in bodies):  # its history and what comes behind race
            bodies = [body for body in bodies if "cancel_request" not in body]
        bodies = [body for body in bodies if "progress_request" not in body]
        self.ghosts.discard(slot)
        for side in self.sides:
            if slot in side.streams:
                side.streams.pop(slot).close()
            side.streams[slot] = kind(side, side.fill(bodies), side.token(step.get("token")), *([step["path"]] if "path" in step else []))
        return self.watched(slot)

    def watched(self, slot):
        streams = [side.streams.get(slot) for side in self.sides]
        if None in streams:
            return None
        found = [streams[0].take(SETTLE_S if streams[0].fresh else QUIET_S), streams[1].take(0.01)]
        found[0] += streams[0].take(0.001)
        for attempt in range(8):
            if len(found[0]) == len(found[1]):
                break
            for one, stream in zip(found, streams):
                one += stream.take(0.25)
        for stream in streams:
            stream.fresh = False
        if any("compact_revision" in one.get("result", {}) for one in found[0]):
            self.ghosts.add(slot)
        both = self.words([{"status": stream.status, "ended": stream.ended, "messages": by_watch(one)} for one, stream in zip(found, streams)])
        return both

    def state(self):
        """The steps that show the whole state, as root where authentication is on."""
        call = lambda rpc, **body: {"do": "call", "rpc": rpc, "body": body, "token": "root"}
        yield {"do": "call", "rpc": "Auth.Authenticate", "body": {"name": "root", "password": "p"}}
        yield call("KV.Range", key=b64("\0"), range_end=b64("\0"))
        yield call("Maintenance.HashKV")
        yield call("Lease.LeaseLeases")
        for lease in LEASES:
            yield call("Lease.LeaseTimeToLive", ID=lease, keys=True)
        yield call("Auth.UserList")
        for user in USERS:
            yield call("Auth.UserGet", name=user)
        for role in ROLES:
            yield call("Auth.RoleGet", role=role)
        for rpc in ("Auth.RoleList", "Auth.AuthStatus", "Maintenance.Alarm", "Cluster.MemberList", "Maintenance.Status"):
            yield call(rpc)


# ---------------------------------------------------------------- runs

class Found:
    """A difference: at which step, and what was said."""

    def __init__(self, number, step, answers):
        self.number, self.step, self.answers = number, step, answers


def run(opts, args, steps, tally=None, go_on=False):
    """Every difference of the steps that is not wanted; only the first, unless going on."""
    found = []
    with temporary("differential") as root:
        pair = Pair(opts.programs, root, args)
        try:
            for number, step in enumerate(steps):
                shown = pair.state() if step["do"] == "check" else [step]
                for part in shown:
                    both = pair.run(part)
                    if tally is not None:
                        tally["requests"] += 1
                    if both is None or both[0] == both[1]:
                        continue
                    if tally is not None and opts.verbose:
                        print(json.dumps(part)[:300], flush=True)
                    name = wanted(part, *both, pair)
                    if name in PARTING:  # from here on the two are not alike
                        return found
                    if name is not None:
                        if tally is not None:
                            tally[name] += 1
                        continue
                    found.append(Found(number, part, both))
                    part["text"] = repr(spelled(part, pair.sides[0].fill(part["body"]))) if "spelling" in part else None
                    for side, whose in zip(pair.sides, ("etcd", "our server")):
                        if not side.server.alive():
                            print(f"{whose} ended:\n{side.server.tail(25)}")
                            return found
                    if not go_on or step["do"] == "check":
                        return found
        finally:
            pair.end()
    return found


def minimised(opts, args, steps, wanted):
    """Fewer steps that still end in the same difference; as few as a minute finds."""
    end = time.monotonic() + opts.minimise
    same = lambda tried: any(one.step == wanted.step for one in run(opts, args, tried, go_on=True))
    steps = steps[:wanted.number + 1]
    if same(steps[-1:]):
        return steps[-1:]
    size = len(steps) // 2
    while size and time.monotonic() < end:
        at = 0
        while at < len(steps) - 1 and time.monotonic() < end:
            fewer = steps[:at] + steps[min(at + size, len(steps) - 1):]
            if same(fewer):
                steps = fewer
            else:
                at += size
        size //= 2
    return steps


def differing(theirs, ours, where=""):
    """The first place where two values differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in [*theirs, *(k for k in ours if k not in theirs)]:
            if theirs.get(name, "(none)") != ours.get(name, "(none)"):
                return differing(theirs.get(name, "(none)"), ours.get(name, "(none)"), f"{where}.{name}")
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for number, (one, other) in enumerate(zip(theirs, ours)):
            if one != other:
                return differing(one, other, f"{where}[{number}]")
    return f"{where or 'all'}: etcd {json.dumps(theirs)[:600]}, we {json.dumps(ours)[:600]}"


def one_run(opts, seed, begun):
    """(story, steps, differences, what was counted) of one seed; nothing when the time is over."""
    if opts.seconds and time.monotonic() - begun > opts.seconds:
        return None, None, None, None
    story, tally = Story(seed, opts.profile), Counter()
    steps = story.steps(opts.steps)
    found = run(opts, story.args, steps, tally, go_on=True)
    if found:  # a moment that fell between two steps on one side only is no difference: it is not there again
        again = [one.step for one in run(opts, story.args, steps, go_on=True)]
        once = [one for one in found if one.step not in again]
        found = [one for one in found if one.step in again]
        tally["difference that came once"] += len(once)
        for one in once:
            print(f"once only: seed {seed} step {one.number} {json.dumps(one.step)[:300]}\n    {differing(*one.answers)}", flush=True)
    return story, steps, found, tally


def show(story, found, steps, opts):
    theirs, ours = found.answers
    print(f"FAIL seed {story.seed} ({story.profile} {' '.join(story.args)}) step {found.number}\n    {json.dumps(found.step)[:1500]}")
    if "spelling" in found.step:
        print(f"    body {found.step['text']:.600}")
    print(f"    {differing(theirs, ours)}")
    if opts.whole:
        print(f"    etcd {json.dumps(theirs)[:3000]}\n    we   {json.dumps(ours)[:3000]}")
    if opts.minimise:
        fewer = minimised(opts, story.args, steps, found)
        print(f"    of {len(steps)} steps these do:" + "".join("\n        " + json.dumps(step)[:700] for step in fewer))
    sys.stdout.flush()


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("bin", help="folder of etcd-server")
    ap.add_argument("etcd_bin", help="folder of a real etcd")
    ap.add_argument("--seed", type=int, default=1, help="the first seed")
    ap.add_argument("--runs", type=int, default=1, help="how many seeds")
    ap.add_argument("--steps", type=int, default=300, help="steps of each")
    ap.add_argument("--jobs", type=int, default=3, help="runs at the same time")
    ap.add_argument("--seconds", type=float, help="start no further run after so long")
    ap.add_argument("--profile", choices=sorted(PROFILES), help="what the runs are made of (default: the seed's choice)")
    ap.add_argument("--minimise", type=float, default=0, metavar="SECONDS", help="look so long for fewer steps that differ")
    ap.add_argument("--whole", action="store_true", help="print both answers")
    ap.add_argument("-v", "--verbose", action="store_true")
    opts = ap.parse_args()
    opts.programs = [os.path.join(os.path.abspath(opts.etcd_bin), "etcd"), os.path.join(os.path.abspath(opts.bin), "etcd-server")]
    if grpc is None:
        print("LEFT OUT: the half through gRPC; it needs the Debian package python3-grpcio")
    begun, tally, done, failed = time.monotonic(), Counter(), 0, 0
    with ThreadPoolExecutor(opts.jobs) as pool:  # they wait for servers most of the time
        for story, steps, differences, counted in pool.map(lambda seed: one_run(opts, seed, begun), range(opts.seed, opts.seed + opts.runs)):
            if story is None:
                continue
            tally += counted
            done += 1
            failed += bool(differences)
            for found in differences:
                show(story, found, steps, opts)
    wants = ", ".join(f"{count} x {name}" for name, count in sorted(tally.items()) if name != "requests")
    print(f"beside a real etcd: {done - failed} runs alike, {failed} not; {tally['requests']} requests in {time.monotonic() - begun:.0f} s"
          + (f" (on purpose: {wants})" if wants else ""))
    return 1 if failed or not done else 0


if __name__ == "__main__":
    sys.exit(main())
