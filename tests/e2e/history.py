"""history.py - clients that write and read while members fail, and whether what they saw is linearizable.

Every put has a value of its own and, when it is acknowledged, its revision: that is the order. What
became of a put without an answer tells the watch history that the cluster gives at the end. Checked:
  every acknowledged put is in the history, at the revision it was told;
  nothing is in it that was not asked for, and nothing twice;
  real time: what began after another had ended has a higher revision (a read: not a lower one);
  each read returned the state at the revision that it named.
"""
import base64
import bisect
import http.client
import json
import random
import threading
import time

from suite import b64, wait_for


class Operation:
    """One request. `end` and `revision` are None: nobody knows what became of it."""
    __slots__ = ("kind", "key", "value", "begin", "end", "revision")

    def __init__(self, kind, key, value=None):
        self.kind, self.key, self.value = kind, key, value
        self.begin, self.end, self.revision = time.monotonic(), None, None


class Client(threading.Thread):
    """Puts and linearizable reads through any member, until told to stop."""

    def __init__(self, number, prefix, members, keys, timeout, pause_s):
        super().__init__(daemon=True)
        self.number, self.prefix = number, prefix
        self.members, self.keys, self.timeout, self.pause_s = members, keys, timeout, pause_s
        self.operations, self.ended, self.errors = [], False, []  # errors: (what, seconds since the last success)
        self.acknowledged, self.last_success, self.longest_wait = 0, time.monotonic(), 0
        self.dice = random.Random(number)

    def one(self, member, link):
        key = f"{self.prefix}{self.dice.randrange(self.keys)}"
        if self.dice.random() < 0.6:
            operation = Operation("put", key, f"{self.number}.{len(self.operations)}".encode())
            self.operations.append(operation)
            code, answer = member.put(key, operation.value, link)
        else:
            operation = Operation("get", key)
            self.operations.append(operation)
            code, answer = member.post("/v3/kv/range", {"key": b64(key)}, link)
        end = time.monotonic()
        if code != 200:
            raise ValueError(f"{operation.kind}: {code} {answer}")
        if operation.kind == "get":
            operation.value = base64.b64decode(answer["kvs"][0]["value"]) if answer.get("kvs") else None
        operation.revision = int(answer["header"]["revision"])
        operation.end = end
        self.acknowledged += operation.kind == "put"
        self.longest_wait = max(self.longest_wait, end - self.last_success)
        self.last_success = end

    def run(self):
        link, at = None, self.number
        while not self.ended:
            member = self.members[at % len(self.members)]
            try:
                if link is None:
                    link = member.connect(self.timeout)
                self.one(member, link)
                time.sleep(self.pause_s)
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.errors.append((f"{member.name}: {error!r}", time.monotonic() - self.last_success))
                if isinstance(error, ConnectionRefusedError):
                    time.sleep(0.005)  # perhaps nobody is there
            else:
                if self.dice.random() < 0.95:
                    continue
            if link is not None:  # another member's turn
                link.close()
            link, at = None, at + 1


class History:
    """The clients, and what they saw; each history has keys of its own."""
    serial = 0

    def __init__(self, members, clients=6, keys=8, timeout=3, pause_s=0.001):
        History.serial += 1
        self.prefix = f"h{History.serial}/"
        self.clients = [Client(n, self.prefix, list(members), keys, timeout, pause_s) for n in range(clients)]
        for client in self.clients:
            client.start()

    def acknowledged(self):
        return sum(client.acknowledged for client in self.clients)

    def errors(self):
        """What members could not answer; the client went on with the next member."""
        return [error for client in self.clients for error in client.errors]

    def longest_wait(self):
        """Seconds that a client was without a success."""
        return max(client.longest_wait for client in self.clients)

    def stop(self):
        for client in self.clients:
            client.ended = True
        for client in self.clients:
            client.join()

    def check(self, members):
        """Raises what is wrong; (operations, of them without an answer)."""
        self.stop()
        operations = [operation for client in self.clients for operation in client.operations]
        histories = [events_of(member, self.prefix) for member in members]
        for other in histories[1:]:
            assert other == histories[0], "two members tell different histories"
        faults = faults_of(operations, histories[0])
        assert not faults, f"{len(faults)} violations: " + "; ".join(faults[:3])
        return len(operations), sum(operation.end is None for operation in operations)


def read_or_none(member, body):
    try:
        code, answer = member.post("/v3/kv/range", body)
        return (code, answer) if code == 200 else None
    except (OSError, http.client.HTTPException):  # an election, perhaps
        return None


def events_of(member, prefix):
    """[(revision, key, value)] of everything under the prefix, as a watch from the first revision tells it."""
    end = prefix[:-1] + "0"
    link = member.connect()
    link.request("POST", "/v3/watch", json.dumps({"create_request": {
        "key": b64(prefix), "range_end": b64(end), "start_revision": 1, "progress_notify": False}}))
    _, answer = wait_for("a linearizable read", lambda: read_or_none(member, {
        "key": b64(prefix), "range_end": b64(end), "sort_target": "MOD", "sort_order": "DESCEND", "limit": 1}))
    last = answer.get("kvs")
    wanted, events = int(last[0]["mod_revision"]) if last else 0, []
    stream = link.getresponse()
    while wanted and (not events or events[-1][0] < wanted):
        for event in json.loads(stream.readline())["result"].get("events", []):
            pair = event["kv"]
            events.append((int(pair["mod_revision"]), base64.b64decode(pair["key"]).decode(), base64.b64decode(pair["value"])))
    link.close()
    return events


def faults_of(operations, events):
    faults = []
    asked = {operation.value: operation for operation in operations if operation.kind == "put"}
    at_revision = {revision: (key, value) for revision, key, value in events}
    seen, of_key = set(), {}
    for revision, key, value in events:
        of_key.setdefault(key, ([], []))
        of_key[key][0].append(revision)
        of_key[key][1].append(value)
        operation = asked.get(value)
        if operation is None or operation.key != key:
            faults.append(f"nobody put {value} under {key}")
        elif value in seen:
            faults.append(f"{value} was put twice")
        elif operation.revision is None:
            operation.revision = revision  # now it is known
        seen.add(value)
    for operation in operations:
        if operation.end is None:
            continue
        if operation.kind == "put" and at_revision.get(operation.revision) != (operation.key, operation.value):
            faults.append(f"acknowledged put {operation.value} is not at revision {operation.revision}")
        if operation.kind == "get":
            revisions, values = of_key.get(operation.key, ([], []))
            position = bisect.bisect_right(revisions, operation.revision)
            state = values[position - 1] if position else None
            if state != operation.value:
                faults.append(f"read of {operation.key} at revision {operation.revision} gave {operation.value}, not {state}")
    return faults + order_faults([operation for operation in operations if operation.revision is not None])


def order_faults(operations):
    """Real time against revisions, in one sweep: the highest revision that had been told by then."""
    faults, highest = [], 0
    ends = sorted((operation for operation in operations if operation.end is not None), key=lambda o: o.end)
    at = 0
    for operation in sorted(operations, key=lambda o: o.begin):
        while at < len(ends) and ends[at].end < operation.begin:
            highest = max(highest, ends[at].revision)
            at += 1
        if operation.revision < highest or (operation.kind == "put" and operation.revision == highest):
            faults.append(f"{operation.kind} of {operation.key} at revision {operation.revision} began after {highest} was told")
    return faults
