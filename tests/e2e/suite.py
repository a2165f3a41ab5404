"""suite.py - what the end-to-end tests share: a server process, requests to it, a tally of checks.

Everything listens on 127.0.0.1; every folder is temporary; every wait is for a fact, with a bound.
"""
import atexit
import base64
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
WAIT_S = float(os.environ.get("WAIT_S", "30"))
handed_out = set()  # ports, in this process


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def lowest_given_away():
    """The first port that the kernel gives to outgoing connections."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            return int(file.read().split()[0])
    except (OSError, ValueError):
        return 32768


def free_ports(count):
    """Ports below those that the kernel gives away: a server that is started again finds its own free."""
    high = max(lowest_given_away(), 22000)
    ports = []
    while len(ports) < count:
        port = random.randrange(20000, high)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in handed_out:
            handed_out.add(port)
            ports.append(port)
    return ports


def wait_for(what, fact, seconds=None):
    """Wait until fact() is true; the value it returned."""
    end = time.monotonic() + (seconds or WAIT_S)
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited in vain for " + what)
        time.sleep(0.005)


class TooSlow(AssertionError):
    """A figure of time, or of memory, that was not kept: best_of() looks again."""


def best_of(tries, check, *args):
    """The same facts again where a figure was not kept: an unlucky moment of the machine is not there every time."""
    for left in reversed(range(tries)):
        try:
            return check(*args)
        except TooSlow as error:
            if left == 0:
                raise
            print(f"    once more: {error}", flush=True)


class Machine(threading.Thread):
    """
    How long the machine itself stood still: what a sleep of 10 ms and a sync of 4 KiB into a file beside the servers
    take beyond QUIET_S. A bound of time may be longer by that.
    """
    QUIET_S = 0.05

    def __init__(self, root):
        super().__init__(daemon=True)
        self.file = tempfile.TemporaryFile(dir=root)
        self.lost, self.began, self.stopped = 0.0, time.monotonic(), False
        self.start()

    def run(self):
        while not self.stopped:
            for step in (lambda: time.sleep(0.01), self.sync):
                self.began = time.monotonic()
                step()
                self.lost += max(0.0, time.monotonic() - self.began - self.QUIET_S)

    def sync(self):
        os.pwrite(self.file.fileno(), bytes(4096), 0)
        os.fdatasync(self.file.fileno())

    def stood(self):
        """Seconds since the beginning, with those of a stall that lasts still: take the difference of two."""
        return self.lost + max(0.0, time.monotonic() - self.began - self.QUIET_S)

    def stop(self):
        self.stopped = True
        self.join()
        self.file.close()


def put_down(process):
    """Nothing that a test started outlives it, however it ends."""
    if process.poll() is None:
        process.kill()
        process.wait()


class Server:
    """One etcd (ours or a real one) on one data directory; it may be started again and again."""

    def __init__(self, program, root, name="m1", args=(), tls=False, env=None, wrap=()):
        self.program, self.root, self.name = program, root, name
        self.dir, self.log = os.path.join(root, name + ".etcd"), os.path.join(root, name + ".log")
        self.port, self.peer_port = free_ports(2)
        self.args, self.env, self.wrap = list(args), dict(env or {}), list(wrap)
        self.scheme = "https" if tls else "http"
        self.peer_scheme = "http"
        self.peer_url = None  # what the others are told, when it is not where the member listens
        self.tls_context = None  # of TLS, for requests
        self.process = None

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def peer_listen_url(self):
        return f"{self.peer_scheme}://127.0.0.1:{self.peer_port}"

    @property
    def advertised_peer_url(self):
        return self.peer_url or self.peer_listen_url

    def command(self):
        peer = self.advertised_peer_url
        given = [arg.split("=")[0] for arg in self.args]
        flags = {"--name": self.name, "--data-dir": self.dir, "--listen-client-urls": self.url,
                 "--advertise-client-urls": self.url, "--listen-peer-urls": self.peer_listen_url,
                 "--initial-advertise-peer-urls": peer, "--initial-cluster": f"{self.name}={peer}"}
        return [*self.wrap, self.program, *(f"{k}={v}" for k, v in flags.items() if k not in given), *self.args]

    def launch(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, env={**os.environ, **self.env})
        atexit.register(put_down, self.process)
        return self

    def start(self):
        self.launch()
        wait_for("the server to get ready, see " + self.log, self.ready)
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.tail()}")
        try:
            return self.post("/v3/kv/range", {"key": b64("x")}, timeout=5)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def tail(self, lines=12):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def logged(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def connect(self, timeout=WAIT_S):
        if self.tls_context is not None:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.tls_context)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def post(self, path, body, link=None, timeout=WAIT_S):
        """(status, JSON or text) of one request."""
        own = link or self.connect(timeout)
        try:
            own.request("POST", path, body if isinstance(body, (bytes, str)) else json.dumps(body),
                        {"Content-Type": "application/json"})
            answer = own.getresponse()
            text = answer.read()
        finally:
            if link is None:
                own.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    def put(self, key, value, link=None, timeout=WAIT_S):
        return self.post("/v3/kv/put", {"key": b64(key), "value": b64(value)}, link, timeout)

    def get(self, key, link=None):
        status, answer = self.post("/v3/kv/range", {"key": b64(key)}, link)
        if status != 200:
            raise AssertionError(f"get {key}: {status} {answer}")
        return base64.b64decode(answer["kvs"][0]["value"]) if answer.get("kvs") else None

    def revision(self):
        return int(self.post("/v3/kv/range", {"key": b64("x")})[1]["header"]["revision"])

    def hash_kv(self, revision=0):
        status, answer = self.post("/v3/maintenance/hashkv", {"revision": revision})
        if status != 200:
            raise AssertionError(f"HashKV: {status} {answer}")
        return answer["hash"], answer.get("compact_revision", 0)

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        return self.end()

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.end()

    def end(self):
        """Wait for the process; its status (negative: the signal that ended it)."""
        return self.process.wait(WAIT_S) if self.process is not None else None


class Tally:
    """Runs named checks one after the other and remembers which failed."""

    def __init__(self, title):
        self.title, self.passed, self.failed = title, 0, []

    def run(self, name, check, *args):
        try:
            check(*args)
            self.passed += 1
            print(f"ok - {name}", flush=True)
        except Exception as error:  # a test may fail in any way; the others still run
            self.failed.append(name)
            print(f"not ok - {name}: {type(error).__name__}: {error}", flush=True)

    def finish(self):
        print(f"{self.title}: {self.passed} passed, {len(self.failed)} failed"
              + "".join("\n    " + name for name in self.failed), flush=True)
        sys.exit(1 if self.failed else 0)


def temporary(name):
    return tempfile.TemporaryDirectory(prefix=name + ".", dir=os.environ.get("TEST_DIR"))
