"""cluster.py - members as real processes on loopback, and what the tests of clusters ask them.

With `links` every connection between two members goes through a proxy in here that can cut or slow
each direction of each pair by itself.
"""
import asyncio
import base64
import http.client
import os
import re
import signal
import ssl
import subprocess
import threading
import time

from suite import Machine, Server, TooSlow, WAIT_S, b64, free_ports, wait_for

ELECTION_S = 1.0  # the default --election-timeout
CALM = ("--heartbeat-interval=200", "--election-timeout=5000")  # where elections are not the subject
PASSING = ("leader changed", "no leader", "timed out", "not leader", "unhealthy cluster", "too many requests")


def status(member, timeout=WAIT_S):
    return member.post("/v3/maintenance/status", {}, timeout=timeout)[1]


def asked(member, path, body, done=None):
    """
    The answer of 200, asked again while it is 503 or 504, an election got between or the connection ended: the leader
    may go at any moment, by design also when its disk stands still. Any other answer is final, and raises. What was
    not answered may have been done nevertheless: a refusal of which done(refusal) is true counts as the answer, and what
    it returned is the result. `member` may be a function that tells whom to ask now.
    """
    def tried():
        try:
            code, answer = (member() if callable(member) else member).post(path, body)
        except (OSError, http.client.HTTPException):
            return None
        if code == 200:
            return (answer,)
        found = done(answer) if done is not None else None
        if found:
            return (found,)
        if code in (503, 504) or any(words in str(answer) for words in PASSING):
            return None
        raise AssertionError(f"{path}: {code} {answer}")
    return wait_for(f"{path} to be answered", tried)[0]


def put_at_last(member, key, value):
    asked(member, "/v3/kv/put", {"key": b64(key), "value": b64(value)})


def get_at_last(member, key):
    """A linearizable read."""
    found = asked(member, "/v3/kv/range", {"key": b64(key)}).get("kvs")
    return base64.b64decode(found[0]["value"]) if found else None


def remove_at_last(member, identity):
    asked(member, "/v3/cluster/member/remove", {"ID": identity}, lambda answer: "member not found" in str(answer))


def entry_of(member, url):
    """In the list as this member has it."""
    members = asked(member, "/v3/cluster/member/list", {})["members"]
    return next((one for one in members if url in one["peerURLs"]), None)


def add_at_last(member, url, learner):
    """The new member, by its list entry; also of one that was added by a try without an answer."""
    def listed(_=None):
        return entry_of(member, url)
    asked(member, "/v3/cluster/member/add", {"peerURLs": [url], "isLearner": learner}, listed)
    return wait_for("the new member in the list", listed)


def promote_at_last(member, identity):
    """Refused until it has the leader's log; the members then."""
    def promoted():
        try:
            whom = member() if callable(member) else member
            code, answer = whom.post("/v3/cluster/member/promote", {"ID": identity})
            if code == 200:
                return answer["members"]
            members = whom.post("/v3/cluster/member/list", {})[1].get("members", ())
        except (OSError, http.client.HTTPException):
            return None
        return members if any(one["ID"] == identity and not one.get("isLearner") for one in members) else None
    return wait_for("the learner to be promoted", promoted, max(WAIT_S, 60))


def final(member, path, body, words="\0"):
    """(status, answer) as soon as it is none that an election, a stalled disk or a lost connection gives, or has the words."""
    def tried():
        try:
            code, answer = member.post(path, body)
        except (OSError, http.client.HTTPException):
            return None
        passing = code in (503, 504) or any(known in str(answer) for known in PASSING)
        return None if passing and words not in str(answer) else (code, answer)
    return wait_for(f"a final answer to {path}", tried)


class Certificates:
    """One set of etcd-pki for members of these names and a client; mutual TLS on both ports of a member."""

    def __init__(self, programs, folder, names):
        self.folder = folder
        subprocess.run([os.path.join(programs, "etcd-pki"), "cluster", "-q", "--dir", folder, "--key", "p256",
                        "--client", "tester", *(f"--member={name}=127.0.0.1" for name in names)], check=True, capture_output=True)
        self.client = [os.path.join(folder, name) for name in (f"{names[0]}/etcd/ca.crt", "clients/tester.crt", "clients/tester.key")]
        self.context = ssl.create_default_context(cafile=self.client[0])
        self.context.load_cert_chain(*self.client[1:])

    def give(self, member):
        """Requests of the test then come with the client's certificate."""
        own = os.path.join(self.folder, member.name, "etcd")
        member.scheme = member.peer_scheme = "https"
        member.tls_context = self.context
        return [f"--cert-file={own}/server.crt", f"--key-file={own}/server.key", "--client-cert-auth",
                f"--trusted-ca-file={own}/ca.crt", f"--peer-cert-file={own}/peer.crt", f"--peer-key-file={own}/peer.key",
                "--peer-client-cert-auth", f"--peer-trusted-ca-file={own}/ca.crt"]


class Cluster:
    def __init__(self, root, programs, args=(), links=None, prepare=None, names="m"):
        self.root, self.links = root, links
        self.members = [Server(program, root, f"{names}{i}") for i, program in enumerate(programs)]
        for member in self.members:
            if prepare is not None:
                prepare(member)
            if links is not None:
                links.put_before(member)
        self.args = list(args)
        self.set_initial(self.members)

    def set_initial(self, members, state=()):
        initial = ",".join(f"{m.name}={m.advertised_peer_url}" for m in members)
        for member in members:
            own = getattr(member, "own_args", [])
            member.args = [f"--initial-cluster={initial}", *state, *self.args, *own]

    def start(self):
        for member in self.members:
            member.launch()
        self.wait_ready()
        return self

    def wait_ready(self):
        for member in self.members:
            wait_for(f"{member.name} to get ready, see {member.log}", member.ready)

    def leader_now(self, among=None):
        """(member, term) of the one that says it leads, of the highest term; None."""
        found = None
        for member in among or self.members:
            if not member.alive():
                continue
            try:
                facts = status(member, 1)
                term = int(facts.get("raftTerm", 0))
                if facts.get("leader") and facts["leader"] == facts["header"]["member_id"] and (found is None or term > found[1]):
                    found = member, term
            except (OSError, http.client.HTTPException, KeyError, TypeError, ValueError):
                continue
        return found

    def leader(self, among=None):
        """The member that leads, as soon as one does."""
        return wait_for("a leader", lambda: self.leader_now(among))[0]

    def follower(self):
        leader = self.leader()
        return next(member for member in self.members if member is not leader)

    def others(self, *those):
        return [member for member in self.members if member not in those]

    def new_leader_s(self, survivors, term, turns=1):
        """
        Seconds until one of the survivors leads a term after this one. That may take two election timeouts (times
        `turns`); when votes were split, which the terms tell, two more for each further vote; and as much as the
        machine itself stood still meanwhile. TooSlow else.
        """
        machine = Machine(self.root)

        def found():
            now = self.leader_now(survivors)
            return now if now is not None and now[1] > term else None
        began = time.monotonic()
        try:
            _, new_term = wait_for("a new leader", found)
            took, stood = time.monotonic() - began, machine.stood()
        finally:
            machine.stop()
        if took > 2 * ELECTION_S * (new_term - term - 1 + turns) + stood:
            raise TooSlow(f"a new leader took {took:.2f} s, {new_term - term} votes; the machine stood still for {stood:.2f} s")
        return took

    def hashes_at(self, revision):
        return {member.hash_kv(revision)[0] for member in self.members}

    def newest(self):
        """The revision of a linearizable read: nothing that was acknowledged before is newer."""
        def read():
            try:
                return int(self.members[0].post("/v3/kv/range", {"key": "AA=="})[1]["header"]["revision"])
            except (OSError, http.client.HTTPException, KeyError, TypeError):  # an election, perhaps
                return None
        return wait_for("a linearizable read", read)

    def wait_equal(self):
        """Until all have the newest revision; then HashKV has to be the same everywhere: at once, and then for good."""
        revision = self.newest()

        def reached():
            return all(int(status(member, WAIT_S)["header"]["revision"]) >= revision for member in self.members)
        wait_for(f"revision {revision} on every member", reached)
        found = {member.name: member.hash_kv(revision)[0] for member in self.members}
        assert len(set(found.values())) == 1, f"HashKV at revision {revision} differs: {found}"
        return revision

    def add(self, url, learner):
        """
        The new member, when all that are there know it: it may ask any of them when it starts, and ends if that one
        has another number of members.
        """
        added = add_at_last(self.leader, url, learner)
        for member in self.members:
            if member.alive():
                wait_for(f"{member.name} to know the new member", lambda m=member: entry_of(m, url))
        return added

    def move_leader(self, target):
        """Make it the leader; asked again while elections get between."""
        identity = status(target)["header"]["member_id"]

        def moved():
            now = self.leader_now()
            if now is None:
                return False
            if now[0] is target:
                return True
            try:
                now[0].post("/v3/maintenance/transfer-leadership", {"targetID": identity}, timeout=5)
            except (OSError, http.client.HTTPException):
                pass
            return False
        wait_for(f"{target.name} to lead", moved)

    def stop(self):
        for member in self.members:
            if member.alive():
                member.process.send_signal(signal.SIGCONT)
                member.kill()
        if self.links is not None:
            self.links.stop()
        for member in self.members:
            broken = re.search(r".*(?:Sanitizer|runtime error:|bug: ).*", member.logged() if os.path.exists(member.log) else "")
            assert not broken, f"{member.name}: {broken.group(0)}"


class Links:
    """
    Proxies before the peer ports. What a direction holds back comes when it is healed, as TCP does it; what it
    loses is gone, and the connection with it.
    """

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.ids = {}  # "%x" of a member -> its name, learnt from X-Server-From and told by identify()
        self.cut_pairs, self.delays, self.loses = set(), {}, False

    def put_before(self, member):
        port = free_ports(1)[0]
        member.peer_url = f"http://127.0.0.1:{port}"
        asyncio.run_coroutine_threadsafe(
            asyncio.start_server(lambda r, w: self.serve(member, r, w), "127.0.0.1", port), self.loop).result(WAIT_S)

    def identify(self, members):
        for member in members:
            self.ids[f"{int(status(member)['header']['member_id']):x}"] = member.name

    def cut(self, source, targets, both=True, loses=False):
        self.loses = loses
        for target in targets:
            self.cut_pairs.add((source.name, target.name))
            if both:
                self.cut_pairs.add((target.name, source.name))

    def slow(self, members, seconds):
        for source in members:
            for target in members:
                self.delays[source.name, target.name] = seconds

    def heal(self):
        self.cut_pairs.clear()
        self.delays.clear()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def is_cut(self, source, target):
        source, target = self.ids.get(source, source), self.ids.get(target, target)
        if source is None or target is None:  # a small request that does not say whose it is
            return any((source or target) in pair for pair in self.cut_pairs)
        return (source, target) in self.cut_pairs

    async def pump(self, names, reader, writer, first=b""):
        source, target = names
        try:
            data = first or await reader.read(65536)
            while data:
                while self.is_cut(source, target):
                    if self.loses:
                        return
                    await asyncio.sleep(0.01)
                delay = self.delays.get((self.ids.get(source, source), self.ids.get(target, target)))
                if delay:
                    await asyncio.sleep(delay)
                writer.write(data)
                await writer.drain()
                data = await reader.read(65536)
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(self, member, reader, writer):
        head = await reader.read(65536)
        told = re.search(rb"(?i)x-server-from: *([0-9a-f]+)", head)
        source = told.group(1).decode().lower() if told else None
        try:
            back, out = await asyncio.open_connection("127.0.0.1", member.peer_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.pump((source, member.name), reader, out, head),
                             self.pump((member.name, source), back, writer))
