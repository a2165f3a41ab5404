"""differential_requests.py - random requests for differential.py: a seed gives a list of steps, and nothing else does.

A step is a dict that needs no answer of an earlier one: what depends on the server stands there as a placeholder, a
dict with one name that begins with "$", and is filled in when the step runs:
  {"$rev": n}     the newest revision seen, plus n      {"$token": user}  the token of the user's last login
  {"$lease": n}   the id of the n-th lease that the server named          {"$member": n}  the id of the n-th member added
  {"$leader": n}  what the n-th Campaign answered       {"$lock": n}      the key that the n-th Lock answered
"""
import base64
import json
import random

KEYS = ["a", "b", "c", "ab", "abc", "b\0", "k/1", "k/2", "\0", "\xff"]
KEY_WEIGHTS = [9, 8, 6, 3, 2, 2, 3, 3, 1, 1]
LEASES = [7, 8, 1000000007, -5, 9223372036854775807]
VALUES = ["", "1", "2", "10", "x", "\0\xff"]
USERS = ["root", "u1", "u2"]
ROLES = ["root", "r1", "r2"]
BIG = [1 << 62, (1 << 63) - 1, -(1 << 63), -1]


def b64(text):
    return base64.b64encode(text.encode("latin-1") if isinstance(text, str) else text).decode()


def prefix_end(key):
    stem = key.rstrip("\xff")
    return stem[:-1] + chr(ord(stem[-1]) + 1) if stem else "\0"


class Requests:
    """Draws requests; each method gives the JSON body of one kind."""

    def __init__(self, rng, own_leases=False):
        self.rng, self.own_leases = rng, own_leases
        self.targets = ["KEY", "VERSION", "CREATE", "MOD", "VALUE"]
        # one in a run: of several, etcd heeds the last raised only, and none when one is lifted
        self.alarm, self.alarmed = self.one("NOSPACE", "NOSPACE", "CORRUPT"), self.one(0, 5, {"$self": 0}, BIG[1])

    def chance(self, probability):
        return self.rng.random() < probability

    def one(self, *choices):
        return self.rng.choice(choices)

    def key(self):
        if self.chance(0.015):
            return ""
        return self.rng.choices(KEYS, KEY_WEIGHTS)[0]

    def range_end(self, key):
        """The end of a range from key, or None for no such field."""
        kind = self.rng.choices(["none", "all", "prefix", "key", "same", "empty", "zeros"], [40, 18, 14, 18, 4, 3, 1])[0]
        return {"none": None, "all": "\0", "prefix": prefix_end(key) if key else "\0", "key": self.key(), "same": key,
                "empty": "", "zeros": "\0\0"}[kind]

    def span(self):
        key = self.one("\0", "a") if self.chance(0.25) else self.key()
        end = self.range_end(key)
        body = {"key": b64(key)} if key or self.chance(0.5) else {}
        if end is not None:
            body["range_end"] = b64(end)
        return body

    def revision(self):
        if self.chance(0.08):
            return self.rng.choice(BIG)
        if self.chance(0.12):
            return self.one(0, 1, 2, 3)
        return {"$rev": self.rng.choices([0, -1, -2, -4, -9, 1, 2, 50], [6, 6, 5, 4, 3, 3, 1, 1])[0]}

    def lease(self):
        kind = self.rng.random()
        if kind < 0.8:
            return self.rng.choice(LEASES)
        if kind < (0.95 if self.own_leases else 0.80):
            return {"$lease": self.rng.randrange(3)}
        return self.one(0, 404, -404)

    def range(self):
        body = self.span()
        options = {
            "limit": lambda: self.rng.choice([1, 1, 2, 3, 5, 0, -1, 100, BIG[1]]),
            "revision": self.revision,
            "sort_order": lambda: self.one("NONE", "ASCEND", "DESCEND", "DESCEND"),
            "sort_target": lambda: self.rng.choice(self.targets),
            "serializable": lambda: self.chance(0.7), "keys_only": lambda: self.chance(0.7), "count_only": lambda: self.chance(0.7),
            "min_mod_revision": self.revision, "max_mod_revision": self.revision,
            "min_create_revision": self.revision, "max_create_revision": self.revision}
        for name in self.rng.sample(sorted(options), self.rng.choices([0, 1, 2, 3, 5], [2, 3, 3, 2, 1])[0]):
            body[name] = options[name]()
        return body

    def put(self):
        key = self.key()
        body = {"key": b64(key)} if key or self.chance(0.5) else {}
        if self.chance(0.85):
            body["value"] = b64(self.rng.choice(VALUES))
        if self.chance(0.25):
            body["lease"] = self.lease()
        if self.chance(0.3):
            body["prev_kv"] = True
        if self.chance(0.08):
            body["ignore_value"] = True
            if self.chance(0.8):
                body.pop("value", None)
        if self.chance(0.08):
            body["ignore_lease"] = True
            if self.chance(0.8):
                body.pop("lease", None)
        return body

    def delete(self):
        body = self.span()
        if self.chance(0.4):
            body["prev_kv"] = True
        return body

    def compare(self):
        body = {"key": b64(self.key())}
        if self.chance(0.25):
            end = self.range_end("a")
            if end is not None:
                body["range_end"] = b64(end)
        fields = {"VERSION": ("version", lambda: self.one(0, 1, 2, 3)), "CREATE": ("create_revision", self.revision),
                  "MOD": ("mod_revision", self.revision), "VALUE": ("value", lambda: b64(self.rng.choice(VALUES))),
                  "LEASE": ("lease", self.lease)}
        target = self.rng.choice(sorted(fields))
        if self.chance(0.95):
            body["target"] = target if self.chance(0.98) else 9
        if self.chance(0.92):
            body["result"] = self.one("EQUAL", "GREATER", "LESS", "NOT_EQUAL")
        if self.chance(0.93):
            name, make = fields[target if self.chance(0.94) else self.rng.choice(sorted(fields))]
            body[name] = make()
        if self.chance(0.01):
            body["result"] = 9
        return body

    def operation(self, depth):
        kind = self.rng.choices(["put", "range", "delete", "txn", "none"], [40, 25, 22, 12 if depth < 3 else 0, 1])[0]
        return {"put": lambda: {"request_put": self.put()}, "range": lambda: {"request_range": self.range()},
                "delete": lambda: {"request_delete_range": self.delete()}, "txn": lambda: {"request_txn": self.txn(depth + 1)},
                "none": lambda: {}}[kind]()

    def txn(self, depth=1):
        body = {}
        for name in ("compare", "success", "failure"):
            count = self.rng.choices([0, 1, 2, 3, 5], [3, 5, 3, 1, 0.3])[0] if name != "compare" else self.rng.choices([0, 1, 2], [4, 5, 1])[0]
            made = [self.compare() if name == "compare" else self.operation(depth) for _ in range(count)]
            if made or self.chance(0.2):
                body[name] = made
        if depth == 1 and self.chance(0.01):
            body["success"] = [{"request_range": {"key": b64("many")}}] * self.one(128, 129)
        return body

    def compaction(self):
        body = {"revision": self.one(0, 1, -1) if self.chance(0.1) else {"$rev": self.rng.choices([-12, -6, -3, 0, 1], [3, 4, 3, 1, 1])[0]}}
        if self.chance(0.5):
            body["physical"] = True
        return body

    def grant(self):
        body = {"TTL": self.rng.choice([100, 600, 3000, 70000, 9000000000, 9000000001, BIG[1]])}
        if self.chance(0.85):
            body["ID"] = self.rng.choice(LEASES)
        return body

    def permission(self):
        body = {}
        if self.chance(0.9):
            body["permType"] = self.one("READ", "WRITE", "READWRITE", "READWRITE", 7)
        body.update(self.span())
        return body

    def watch(self):
        body = self.span()
        if self.chance(0.5):
            body["start_revision"] = self.revision()
        if self.chance(0.3):
            body["prev_kv"] = True
        if self.chance(0.2):
            body["filters"] = self.rng.choice([["NOPUT"], ["NODELETE"], ["NOPUT", "NODELETE"], [0, 0], [9], []])
        if self.chance(0.2):
            body["watch_id"] = self.one(0, 1, 2, 5, -3, -7, BIG[1])
        if self.chance(0.1):
            body["fragment"] = True
        if self.chance(0.1):
            body["progress_notify"] = True
        return body

    def watch_message(self, first=False):
        kind = self.rng.choices(["create", "cancel", "progress", "none"], [12, 0 if first else 4, 0 if first else 2, 1])[0]
        return {"create": lambda: {"create_request": self.watch()},
                "cancel": lambda: {"cancel_request": {"watch_id": self.one(0, 0, 1, 2, 5, -1, 99)}},
                "progress": lambda: {"progress_request": {}}, "none": lambda: {}}[kind]()


# (weight, RPC, how its body is drawn) of each family
def families(r):
    name = lambda: r.one("", *USERS, *USERS, "nobody")
    role = lambda: r.one("", *ROLES, *ROLES, "none")
    leader = lambda: {"$leader": r.rng.randrange(3)} if r.chance(0.9) else {"name": b64("e"), "key": b64("e/7"), "rev": r.revision(), "lease": 7}
    return {
        "kv": [(30, "KV.Range", r.range), (26, "KV.Put", r.put), (12, "KV.DeleteRange", r.delete), (26, "KV.Txn", r.txn), (4, "KV.Compact", r.compaction),
               (3, "Maintenance.HashKV", lambda: {"revision": r.revision()} if r.chance(0.7) else {})],
        "lease": [(10, "Lease.LeaseGrant", r.grant), (4, "Lease.LeaseRevoke", lambda: {"ID": r.lease()}),
                  (5, "Lease.LeaseTimeToLive", lambda: {"ID": r.lease(), "keys": r.chance(0.6)}), (4, "Lease.LeaseLeases", dict),
                  (4, "Lease.LeaseKeepAlive", lambda: {"ID": r.lease()})],
        "auth": [(4, "Auth.UserAdd", lambda: {"name": name(), "password": r.one("", "p", "q"), **({"options": {"no_password": True}} if r.chance(0.1) else {})}),
                 (2, "Auth.UserGet", lambda: {"name": name()}), (1, "Auth.UserList", dict), (1, "Auth.UserDelete", lambda: {"name": name()}),
                 (1, "Auth.UserChangePassword", lambda: {"name": name(), "password": r.one("p", "q", "")}),
                 (5, "Auth.UserGrantRole", lambda: {"user": name(), "role": role()}), (2, "Auth.UserRevokeRole", lambda: {"name": name(), "role": role()}),
                 (3, "Auth.RoleAdd", lambda: {"name": role()}), (2, "Auth.RoleGet", lambda: {"role": role()}), (1, "Auth.RoleList", dict),
                 (1, "Auth.RoleDelete", lambda: {"role": role()}),
                 (8, "Auth.RoleGrantPermission", lambda: {"name": role(), **({"perm": r.permission()} if r.chance(0.97) else {})}),
                 (3, "Auth.RoleRevokePermission", lambda: {"role": role(), **r.span()}), (1, "Auth.AuthStatus", dict),
                 (1, "Auth.AuthEnable", dict), (0.4, "Auth.AuthDisable", dict),
                 (4, "Auth.Authenticate", lambda: {"name": name(), "password": r.one("p", "p", "p", "q", "")})],
        "cluster": [(6, "Cluster.MemberList", lambda: {"linearizable": r.chance(0.5)}),
                    (2, "Cluster.MemberAdd", lambda: {"peerURLs": r.rng.choice([["http://127.0.0.1:1"], ["http://127.0.0.1:2", "http://127.0.0.1:3"], [], ["nonsense"],
                                                                             ["http://127.0.0.1"], ["http://127.0.0.1:1/x"], ["ftp://127.0.0.1:1"], ["http://127.0.0.1:2380"]]),
                                                      "isLearner": True}),
                    (2, "Cluster.MemberPromote", lambda: {"ID": r.one(5, {"$member": 0}, {"$member": 1}, {"$self": 0})}),
                    (2, "Cluster.MemberRemove", lambda: {"ID": r.one(5, {"$member": 0}, {"$member": 1})}),
                    (1, "Cluster.MemberUpdate", lambda: {"ID": 5, "peerURLs": r.rng.choice([[], ["bad"]])} if r.chance(0.4) else {"ID": r.one(5, {"$self": 0}), "peerURLs": r.rng.choice([["http://127.0.0.1:4"], ["http://127.0.0.1:1"], ["http://127.0.0.1:2380"]])})],
        "maintenance": [(6, "Maintenance.Status", dict), (5, "Maintenance.HashKV", lambda: {"revision": r.revision()} if r.chance(0.7) else {}),
                        (1, "Maintenance.Defragment", dict), (1, "Maintenance.MoveLeader", lambda: {"targetID": r.one(0, 5, {"$self": 0})}),
                        (1, "Maintenance.Downgrade", lambda: {"action": r.one("VALIDATE", "VALIDATE", 9), "version": r.one("3.4", "3.4.0", "3.5", "3.3", "x", "", "4", "3.4.0.1", "v3.4", "3.4.99")}),
                        (3, "Maintenance.Alarm", lambda: {"action": "GET", **({"alarm": r.one("NONE", "NOSPACE", "CORRUPT", 7)} if r.chance(0.5) else {})})],
        "alarm": [(2, "Maintenance.Alarm", lambda: {"action": r.one("ACTIVATE", "DEACTIVATE", "DEACTIVATE"), "alarm": r.one("NONE", *[r.alarm] * 5), "memberID": r.alarmed})],
        "lock": [(4, "Lock.Lock", lambda: {"name": b64(r.one("l", "m", "a", "")), "lease": r.lease()}), (4, "Lock.Unlock", lambda: {"key": r.one({"$lock": r.rng.randrange(3)}, b64("l/7"), b64("m/8"), b64(""))}),
                 (4, "Election.Campaign", lambda: {"name": b64(r.one("e", "f")), "lease": r.lease(), "value": b64(r.rng.choice(VALUES))}),
                 (3, "Election.Proclaim", lambda: {"leader": leader(), "value": b64(r.rng.choice(VALUES))} if r.chance(0.9) else {}),
                 (3, "Election.Leader", lambda: {"name": b64(r.one("e", "f", "g", ""))}), (4, "Election.Resign", lambda: {"leader": leader()} if r.chance(0.9) else {})],
    }


# what a run of the kind is made of
PROFILES = {
    "kv": {"kv": 84, "lease": 10, "spelled": 6, "restart": 0.4},
    "lease": {"kv": 40, "lease": 40, "watch": 6, "lock": 10, "observe": 4, "keepalives": 3, "expiry": 0.4, "restart": 0.5},
    "watch": {"kv": 45, "watch": 40, "lease": 10, "maintenance": 2},
    "auth": {"kv": 40, "auth": 35, "lease": 8, "lock": 3, "maintenance": 3, "cluster": 2, "watch": 6, "http": 1, "restart": 0.6},
    "json": {"kv": 15, "mutated": 80, "lease": 5},
    "http": {"kv": 20, "http": 75, "mutated": 5},
    "mixed": {"kv": 35, "lease": 12, "watch": 8, "lock": 10, "observe": 3, "cluster": 8, "maintenance": 10, "alarm": 6, "spelled": 5, "mutated": 3, "auth": 5,
              "bytes": 6, "restart": 0.6},
}
PROFILE_WEIGHTS = {"kv": 5, "lease": 2, "watch": 2, "auth": 4, "json": 3, "http": 1, "mixed": 3}


class Obj(list):
    """A JSON object as a list of (name, value): a name may come twice."""


class Raw(bytes):
    """Bytes that stand in the JSON text as they are."""


ODD = [b"null", b"true", b"false", b"0", b"1", b"-1", b"2", b"1.5", b"2.0", b"2e0", b"20e-1", b"1e3", b"1E+2", b"2e", b"-0", b"-", b"01", b"+2", b".5", b"1.", b"0x10",
       b"1e400", b"1e-400", b"0e99999999999", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"-9223372036854775809",
       b"18446744073709551615", b"18446744073709551616", b"9.223372036854775807e18", b"2147483647", b"2147483648", b"-2147483649", b'"2"', b'"2.0"', b'"2e0"', b'"20e-1"', b'""', b'" 2"', b'"2 "',
       b'"+2"', b'"02"', b'"0x2"', b'"-0"', b'"1_0"', b'"NaN"', b"NaN", b"Infinity", b'"Infinity"', b'"null"', b'"true"', b'"false"', b"[]", b"{}", b"[null]", b"[1]", b"[{}]", b'{"a":1}',
       b'"YQ"', b'"YQ=="', b'"YQ="', b'"Y Q=="', b'"YQ==\\n"', b'"Y\\nQ=="', b'"_-__"', b'"+/+/"', b'"+-+-"', b'"YR=="', b'"YR"', b'"A"', b'"AAAAA"', b'"YQ=="', b'"===="', b'"=YQ="', b'"YQ==YQ=="', b'"YQ=Y"', b'"YWI"', b'"YWI="', b'"YWI=="',
       b'"\\u0059Q=="', b'"\\ud83d\\ude00"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u12"', b'"\\uD83Dx"', b'"\\x"', b'"\\/"', b'"\\b\\f\\n\\r\\t"', b'"\xff"', b'"\xc3\xa9"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xc0\x80"', b'"\x00"', b'"\\u0000"', b'"\x7f"', b'"\x1f"',
       b'"ASCEND"', b'"DESCEND"', b'"KEY"', b'"VALUE"', b'"EQUAL"', b'"VERSION"', b'"descend"', b'"NOPUT"', b'"READ"', b'"1"', b'"UNKNOWN"', b"tru", b"nul", b"True", b"'a'", b"", b'"', b'{"', b"/**/1", b"[1,]", b"[,1]", b'{"a":1,}', b'{"a"}', b"{a:1}", b"1 2", b'{"a":1 "b":2}', b"]", b"}", b",", b":"]


def to_obj(value):
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value)).startswith("$"):
            return value
        return Obj((name, to_obj(inner)) for name, inner in value.items())
    return [to_obj(inner) for inner in value] if isinstance(value, list) else value


def places(value, found=None):
    """Every container and index in it."""
    found = [] if found is None else found
    if isinstance(value, list):
        for index, inner in enumerate(value):
            found.append((value, index))
            places(inner[1] if isinstance(value, Obj) else inner, found)
    return found


def text_of(value, blank=b""):
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, Obj):
        return b"{" + b",".join(text_of(name) + blank + b":" + blank + text_of(inner, blank) for name, inner in value) + blank + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(blank + text_of(inner, blank) for inner in value) + b"]"
    return json.dumps(value).encode()


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


NUMBERS = {"NONE": 0, "ASCEND": 1, "DESCEND": 2, "KEY": 0, "CREATE": 2, "MOD": 3, "EQUAL": 0, "GREATER": 1, "LESS": 2, "NOT_EQUAL": 3,
           "NOPUT": 0, "NODELETE": 1, "READ": 0, "WRITE": 1, "READWRITE": 2}


class Spelling:
    """Other texts for a body: those that mean the same, and those that may mean nothing."""

    def __init__(self, r):
        self.r, self.rng = r, r.rng

    def same(self, body):
        """The body in another spelling that means the same."""
        tree = to_obj(body)
        for holder, index in places(tree):
            if not isinstance(holder, Obj):
                continue
            name, value = holder[index]
            if self.r.chance(0.4):
                name = camel(name)
            if isinstance(value, bool) or isinstance(value, (list, dict)):
                pass
            elif isinstance(value, int) and self.r.chance(0.5):
                value = Raw(self.rng.choice([b'"%d"', b"%d.0", b"%de0", b"%d0e-1", b'"%d.00"']) % value)
            elif isinstance(value, str) and name in ("sort_order", "sortOrder", "result", "permType") and value in NUMBERS:
                value = NUMBERS[value]
            elif isinstance(value, str) and name in ("key", "value", "range_end", "rangeEnd") and self.r.chance(0.5):
                value = self.rng.choice([value.rstrip("="), value.replace("+", "-").replace("/", "_"), Raw(b'"' + b"".join(b"\\u%04x" % ord(c) for c in value) + b'"')])
            holder[index] = (name, value)
        if isinstance(tree, Obj):
            if self.r.chance(0.3):
                tree.insert(self.rng.randrange(len(tree) + 1), ("unknown_field", Raw(b'{"a":[1,{"b":null,"c":"\\u00e9"}],"a":2.5e9}')))
            self.rng.shuffle(tree)
        blank = self.rng.choice([b"", b" ", b"\n\t", b"\r\n"])
        return blank + text_of(tree, blank) + self.rng.choice([b"", b"\n", b" {", b" nonsense", b"\0"])

    def broken(self, body):
        """A body with a few things replaced, as bytes."""
        tree = to_obj(body)
        for _ in range(self.rng.choices([0, 1, 2], [1, 8, 2])[0]):
            found = places(tree)
            if not found:
                break
            self.change(*self.rng.choice(found))
        text = text_of(tree, self.rng.choice([b"", b"", b" "]))
        if self.r.chance(0.3):
            text = self.scratch(text)
        return text

    def change(self, holder, index):
        rng = self.rng
        if not isinstance(holder, Obj):
            holder[index] = Raw(rng.choice(ODD))
            return
        name, value = holder[index]
        kind = rng.choices(["value", "name", "twice", "twice_camel", "null_beside", "list", "unknown"], [12, 3, 2, 2, 1, 2, 2])[0]
        if kind == "value":
            holder[index] = (name, Raw(rng.choice(ODD)))
        elif kind == "name":
            holder[index] = (rng.choice([name.upper(), name.capitalize(), camel(name), name + " ", "", "key", "range_end", "rangeEnd", "version", "lease", "value",
                                         "requestPut", "request_range", "[etcdserverpb.x]", "@type"]), value)
        elif kind == "twice":
            holder.insert(rng.randrange(len(holder) + 1), (name, value if rng.random() < 0.5 else Raw(b"null")))
        elif kind == "twice_camel":
            holder.insert(rng.randrange(len(holder) + 1), (camel(name), value))
        elif kind == "null_beside":
            holder.append((rng.choice(["version", "request_put", "request_txn", "lease", "limit", "value", "mod_revision"]), Raw(b"null")))
        elif kind == "list":
            holder[index] = (name, [value])
        else:
            holder.insert(index, ("zz", Raw(rng.choice(ODD))))

    def scratch(self, text):
        rng = self.rng
        kind = rng.choice(["cut", "drop", "insert", "after", "before", "swap", "deep"])
        at = rng.randrange(len(text) + 1)
        if kind == "cut":
            return text[:at]
        if kind == "drop":
            return text[:at] + text[at + 1:]
        if kind == "insert":
            return text[:at] + rng.choice([b"{", b"}", b'"', b",", b":", b"[", b"]", b" ", b"\0", b"\n", b"\\", b"\xff", b"/", b"1", b"\x0b", b"\xc2\xa0"]) + text[at:]
        if kind == "after":
            return text + rng.choice([b"x", b"}", b"{}", b" ", b"\xff", b"]", b",", b"null", b"\xef\xbb\xbf"])
        if kind == "before":
            return rng.choice([b"\xef\xbb\xbf", b"\0", b",", b"[", b"x", b"\n", b"//x\n", b"\xff\xfe", b"\x0c"]) + text
        if kind == "deep":
            depth = rng.choice([5, 90, 380, 20000])
            opened = rng.choice([b"[", b'{"a":'])
            return b'{"zz":' + opened * depth + b"1" + (b"]" if opened == b"[" else b"}") * depth + b',"key":"YQ=="}'
        return text[:at][::-1] + text[at:]


PATHS = ["/v3/kv/range", "/v3/kv/put", "/v3/kv/txn", "/v3/lease/timetolive", "/v3/watch", "/v3/lease/keepalive", "/v3/maintenance/status", "/v3/auth/user/list", "/v3/cluster/member/list"]
ODD_PATHS = ["/", "/v3", "/v3/", "/v3/kv", "/v3/kv/", "/v3/kv/range/", "/v3/kv/range/x", "/v3/KV/range", "/v3/kv/Range", "/v3//kv/range", "//v3/kv/range", "/v3/./kv/range",
             "/v3/../v3/kv/range", "/v3/kv%2Frange", "/v3/kv/rang%65", "/v3/kv/range%20", "/v3/kv/range%zz", "/v3/kv/range%00", "/v3/kv/range?", "/v3/kv/range?key=YQ==", "/v3/kv/range?%zz=1",
             "/v3/kv/range?a;b", "/v3/kv/range#x", "/v3/kv/range:verb", "/v3/kv/range:", "/v3/:verb", "/v3/:", "/v3/kv/:range", "/v3beta/kv/range", "/v3alpha/kv/range", "/v3beta/", "/v3beta", "/v2/keys/a", "/v2/members", "/v2/",
             "/version", "/version/", "/version?x=1", "/health", "/health/", "/health?serializable=true", "/health?exclude=NOSPACE", "/health?exclude=", "/livez", "/readyz", "/livez?verbose", "/readyz?verbose", "/livez/serializable_read",
             "/readyz/linearizable_read", "/readyz/data_corruption", "/livez/none", "/readyz/", "/livez?exclude=serializable_read", "/readyz?exclude=none&verbose", "/readyz?verbose=&exclude=data_corruption",
             "/members", "/raft", "/downgrade/enabled", "/debug/pprof/", "/debug/requests", "/config", "/favicon.ico", "/v3/kv/lease/leases", "/v3/kv/lease/revoke", "/v3/maintenance/snapshotx", "/v3/election/leader", "/v3/lock/lock", "*", "/.", "/..", "/v3/kv/range/..", "/v3/kv/range/../range"]


class Http:
    """Requests that are odd as HTTP."""

    def __init__(self, r, bodies):
        self.r, self.rng, self.bodies = r, r.rng, bodies

    def step(self):
        rng = self.rng
        method = rng.choices(["POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "post", "FOO", "TRACE"], [20, 10, 3, 3, 3, 3, 2, 1, 1, 1])[0]
        path = rng.choice(PATHS) if self.r.chance(0.4) else rng.choice(ODD_PATHS)
        headers = []
        for name, values in (("Content-Type", ["application/json", "text/plain", "application/x-www-form-urlencoded", "application/grpc", "application/octet-stream", "x", "multipart/form-data"]),
                             ("Accept", ["application/json", "*/*", "text/html", "application/json-patch"]), ("Origin", ["http://a.example:80", "http://a.example", "http://c.example:8080", "null"]),
                             ("Grpc-Timeout", ["1S", "100", "S", "1000000000S", "-1S", "+1S", "0S", "-0m", "2S", "1x", "", "99999999n", "123456789S", "0000000000001S", "1 S"]),
                             ("Authorization", ["", "x", "Bearer x", "x.1"]), ("Grpc-Metadata-Token", ["", "y"]), ("Grpc-Metadata-Foo", ["1"]), ("Grpc-Metadata-Foo-Bin", ["AA==", "A", "!"]),
                             ("Accept-Encoding", ["gzip", "identity"]), ("TE", ["trailers"]), ("Expect", ["100-continue"]), ("Access-Control-Request-Method", ["POST"])):
            if self.r.chance(0.1):
                headers.append((name, rng.choice(values)))
        if self.r.chance(0.15):
            path = rng.choice(["/members", "/version", "/downgrade/enabled", "/members/promote/5", "/members/promote/x", "/members/promote/", "/members/hashkv", "/health", "/metrics", "/v3/kv/range", "/", "/raft/x", "/leases", "/leases/internal", "/members/", "/v2/keys"])
            body = rng.choice(["", "{}", '{"revision":1}', '{"revision":99}', "x"])
            return {"do": "http", "method": rng.choice(["GET", "GET", "GET", "POST", "PUT", "HEAD", "DELETE"]), "path": path, "headers": [], "body": body, "chunked": False, "peer": True}
        if self.r.chance(0.05):
            headers.append(("Host", rng.choice(["evil.example", "localhost", "good.example:99", "[::1]:5", "", "127.0.0.1"])))
        if path == "/v3/lock/lock":  # who waits there gives up in time
            headers = [(name, value) for name, value in headers if name != "Grpc-Timeout"] + [("Grpc-Timeout", "300m")]
        if path in ("/v3/watch", "/v3/lease/keepalive") and method == "POST":
            path = "/v3/kv/range"
        body = rng.choice([b"", b"{}", b'{"key":"YQ=="}', b'{"key":"YQ==","value":"MQ=="}', b"key=YQ==", b"{", b"[]", b'{"TTL":100}'])
        if method in ("GET", "HEAD", "OPTIONS", "TRACE"):
            body = b""
        return {"do": "http", "method": method, "path": path, "headers": headers, "body": body.decode("latin-1"), "chunked": self.r.chance(0.1)}


def login(user, password):
    return {"do": "call", "rpc": "Auth.Authenticate", "body": {"name": user, "password": password}}


def auth_on(rng):
    """What makes authentication be on, with some users who may do a little."""
    call = lambda rpc, **body: {"do": "call", "rpc": rpc, "body": body}
    steps = [call("Auth.RoleAdd", name=role) for role in ROLES] + [call("Auth.UserAdd", name=user, password="p") for user in USERS]
    steps += [call("Auth.UserGrantRole", user="root", role="root"), call("Auth.UserGrantRole", user="u1", role="r1"), call("Auth.UserGrantRole", user="u2", role="r2")]
    r = Requests(rng)
    steps += [call("Auth.RoleGrantPermission", name=rng.choice(["r1", "r2"]), perm=r.permission()) for _ in range(6)]
    return steps + [call("Auth.AuthEnable")] + [login(user, "p") for user in USERS]


class Story:
    """The steps of one seed."""

    def __init__(self, seed, profile=None):
        self.seed, self.rng = seed, random.Random("differential %d" % seed)
        self.profile = profile or self.rng.choices(list(PROFILE_WEIGHTS), PROFILE_WEIGHTS.values())[0]
        self.r = Requests(self.rng, self.rng.random() < 0.15)
        self.families, self.spelling = families(self.r), Spelling(self.r)
        self.http = Http(self.r, self.families)
        self.args = ["--max-txn-ops=%d" % self.rng.choice([3, 4, 8])] if self.rng.random() < 0.15 else []
        if self.rng.random() < 0.12 and self.profile in ("kv", "json", "watch"):  # not where there are locks: their txn is not the same to the byte
            self.args.append("--max-request-bytes=%d" % self.rng.randrange(60, 240))
        if self.profile == "auth" and self.rng.random() < 0.2:
            self.families["auth"] = [row for row in self.families["auth"] if row[1] != "Auth.UserDelete"]  # whose token etcd still takes for leases
            self.args.append("--auth-token=jwt,sign-method=HS256,pub-key={key},priv-key={key},ttl=10m")
        if self.profile == "http":
            self.args += self.rng.choice([[], [], ["--cors=http://a.example:80"], ["--cors=http://b.example:80,http://c.example:8080"], ["--host-whitelist=good.example,127.0.0.1"]])
        self.logged_in = self.profile == "auth" and self.rng.random() < 0.85

    def steps(self, count):
        weights = PROFILES[self.profile]
        steps = [{"do": "call", "rpc": "Lease.LeaseGrant", "body": {"TTL": 600 + 300 * n, "ID": id}} for n, id in enumerate(LEASES[:3])]
        if self.logged_in:
            steps += auth_on(self.rng)
        steps += [{"do": "call", "rpc": "Lease.LeaseGrant", "body": {"TTL": 5000 + 300 * n}, "token": "root"} for n in range(2)]
        if self.profile == "kv" and self.rng.random() < 0.25:
            steps += self.many_keys()
        unchecked = 0
        while len(steps) < count:
            made = self.step(self.rng.choices(list(weights), weights.values())[0])
            steps += made if isinstance(made, list) else [made]
            unchecked += 1
            if unchecked % 12 == 0:
                steps.append({"do": "check"})
        return steps[:count] + [{"do": "check"}]

    def many_keys(self):
        """Keys for ranges that are long; then only the order by key is defined, in which no two are equal."""
        self.r.targets = ["KEY"]
        names = ["k/%03d" % n for n in range(80)]
        self.rng.shuffle(names)
        return [{"do": "call", "rpc": "KV.Put", "body": {"key": b64(name), "value": b64(name[::-1] * self.rng.choice([1, 1, 1, 900]))}} for name in names]

    def call(self, family):
        rows = self.families[family]
        _, rpc, body = self.rng.choices(rows, [weight for weight, _, _ in rows])[0]
        step = {"do": "call", "rpc": rpc, "body": body(), "door": "gateway" if self.r.chance(0.6) else "grpc"}
        if family == "lock":
            step["timeout"] = 0.3
        if rpc == "Auth.Authenticate":
            return step
        if self.profile == "auth":
            managing = family in ("auth", "cluster", "maintenance")
            step["token"] = self.rng.choices(["root", "u1", "u2", "", "wrong", "wrong.1", None], [48, 10, 10, 2, 3, 3, 5] if managing else [15, 30, 30, 1, 2, 2, 5])[0]
        elif self.r.chance(0.02):
            step["token"] = "wrong"
        if "token" in step and self.r.chance(0.2):
            step["metadata"] = self.r.one("authorization", "token")
        return step

    def bytes(self):
        """A gRPC message as it should not be, or a method that is not there."""
        path = self.r.one("/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Txn", "/etcdserverpb.Lease/LeaseRevoke", "/etcdserverpb.KV/Nothing",
                          "/etcdserverpb.KV/range", "/nothing.KV/Range", "/KV/Range", "/etcdserverpb.KV", "/etcdserverpb.KV/Range/", "/v3/kv/range", "//", "/")
        data = self.r.one(b"", b"\n\1a", b"\n\1a\x12\1b", b"\n", b"\n\5a", b"\xff", b"\xff" * 11, b"\0", b"\x08\1", b"\n\1a\x98\6\1", b"\n\1a\n\1b", b"\n\1a\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", b"\n\1a\x28\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1",
                          b"\n\1a\x7b\x7c", b"\n\1a\x7b", b"\n\1a\x7c", b"\x12\4\x1a\2\n\1", b"\x12\5\x12\3\n\1a")
        return {"do": "bytes", "path": path, "data": data.hex()}

    def expiry(self):
        """A lease that ends by itself, with a key."""
        return [{"do": "call", "rpc": "Lease.LeaseGrant", "body": {"TTL": self.r.one(-1, 0, 1, 2), "ID": 55}, "kept": True},
                {"do": "call", "rpc": "KV.Put", "body": {"key": b64(self.r.key() or "a"), "value": b64("1"), "lease": 55}},
                {"do": "sleep", "seconds": 4.2}, {"do": "check"}]

    def keepalives(self):
        bodies = [json.dumps({"ID": self.rng.choice(LEASES + [404])}) for _ in range(self.rng.randrange(1, 5))]
        if self.rng.random() < 0.1:
            bodies.insert(self.rng.randrange(0, 2), self.rng.choice(["nonsense", '{"ID":"x"}', "[]", "null", '{"ID":1.5}']))
        return {"do": "http", "method": "POST", "path": "/v3/lease/keepalive", "headers": [], "body": self.r.one("", "\n", " ").join(bodies), "chunked": False}

    def step(self, kind):
        rng = self.rng
        if kind == "http":
            return self.http.step()
        if kind == "observe":
            return {"do": "watch", "slot": 2, "door": "gateway", "path": "/v3/election/observe", "bodies": [{"name": b64("e")}]} if self.r.chance(0.3) else {"do": "watch_collect", "slot": 2}
        if kind == "restart":
            return [{"do": "restart"}, {"do": "check"}, *([login(user, "p") for user in USERS] if self.logged_in else [])]
        if kind in ("watch", "bytes", "expiry", "keepalives"):
            return getattr(self, kind)()
        if kind in ("spelled", "mutated"):
            family = rng.choices(["kv", "lease", "auth", "cluster", "maintenance"], [20, 5, 4, 2, 1])[0]
            while True:
                step = self.call(family)
                if kind == "spelled" or step["rpc"] not in ("Cluster.MemberAdd", "Cluster.MemberUpdate", "Cluster.MemberRemove", "Auth.AuthEnable", "Maintenance.Defragment", "Lease.LeaseKeepAlive", "Maintenance.Downgrade", "Maintenance.Alarm"):
                    break
            step["door"] = "gateway"
            step["spelling"] = {"seed": rng.randrange(1 << 30), "kind": kind}
            return step
        return self.call(kind)

    def watch(self):
        rng = self.rng
        slot = rng.randrange(2)
        kind = rng.choices(["open", "send", "collect", "close"], [5, 4, 8, 1])[0]
        if kind == "open":
            door = "gateway" if self.r.chance(0.5) else "grpc"
            count = rng.choices([1, 2, 3], [5, 2, 1])[0]
            step = {"do": "watch", "slot": slot, "door": door, "bodies": [self.r.watch_message(first=n == 0) for n in range(count)]}
            if self.profile == "auth":
                step["token"] = rng.choices(["root", "u1", "u2", "wrong", None], [3, 5, 5, 1, 1])[0]
            return step
        if kind == "send":
            return {"do": "watch_send", "slot": slot, "body": self.r.watch_message()}
        return {"do": "watch_" + kind, "slot": slot}
