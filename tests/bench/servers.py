"""servers.py - the servers that the bench programs compare: ours and a real etcd, started alike."""
import base64, http.client, json, os, re, shutil, signal, socket, subprocess, sys, tempfile, time


# Before a command, so that other work does not disturb it: BENCH_RT=1, or the real-time priority above that of others'.
FIRST = ["chrt", "-r", str(max(int(os.environ["BENCH_RT"]), 10))] if os.environ.get("BENCH_RT") else []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def b64(data):
    return base64.b64encode(data).decode()


class Server:
    """One server process and its data directory."""

    def __init__(self, label, program, directory, flags=()):
        self.label, self.program, self.directory, self.flags = label, program, directory, list(flags)
        self.port, self.peer = free_port(), free_port()
        self.process = None

    def start(self):
        """Start it; returns the seconds until it answered a linearizable read."""
        url, peer = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.peer}"
        log = open(self.directory + ".log", "ab")
        began = time.monotonic()
        self.process = subprocess.Popen(
            [*FIRST, self.program, "--name=bench", "--data-dir=" + self.directory, "--listen-client-urls=" + url,
             "--advertise-client-urls=" + url, "--listen-peer-urls=" + peer,
             "--initial-advertise-peer-urls=" + peer, "--initial-cluster=bench=" + peer,
             "--log-level=warn", "--quota-backend-bytes=8000000000", *self.flags], stdout=log, stderr=log)
        log.close()
        while True:
            if self.process.poll() is not None:
                sys.exit(f"bench: {self.program} ended; see {self.directory}.log")
            try:
                self.call("/v3/kv/range", {"key": b64(b"x")})
                return time.monotonic() - began
            except (OSError, http.client.HTTPException, ValueError):
                if time.monotonic() - began > 120:
                    sys.exit(f"bench: {self.program} does not get ready")
                time.sleep(0.0005)

    def call(self, path, body, connection=None):
        link = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        link.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = link.getresponse()
        data = answer.read()
        if connection is None:
            link.close()
        if answer.status != 200:
            raise ValueError(data)
        return data

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def memory_mib(self, name="VmRSS"):
        """A figure of /proc/PID/status; RssAnon: without the pages of the mapped backend."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(name + r":\s+(\d+)", status.read()).group(1)) / 1024

    def fill(self, prefix, count, value, batch=100):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for first in range(0, count, batch):
            puts = [{"requestPut": {"key": b64(b"%s%08d" % (prefix, i)), "value": b64(value)}}
                    for i in range(first, min(first + batch, count))]
            self.call("/v3/kv/txn", {"success": puts}, link)
        link.close()


class Bench:
    """Ours and, when its folder is given, etcd, in a new folder under $BENCH_DIR; a context."""

    def __init__(self, binaries, etcd_binaries, flags=(), make=Server):
        base = os.environ.get("BENCH_DIR", "build/bench")
        os.makedirs(base, exist_ok=True)
        self.root = tempfile.mkdtemp(dir=base)
        self.servers = [make("ours", os.path.join(binaries, "etcd-server"), os.path.join(self.root, "ours"), flags)]
        if etcd_binaries:
            self.servers.append(make("etcd", os.path.join(etcd_binaries, "etcd"),
                                     os.path.join(self.root, "etcd"), flags))
        else:
            print("NO REAL ETCD: ours alone is measured; give ETCD_BIN=<folder of etcd, etcdctl, etcdutl>")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.kill()
        shutil.rmtree(self.root, ignore_errors=True)


class Table:
    def __init__(self, servers, width=34):
        self.servers, self.width = servers, width
        heads = [server.label for server in servers] + (["ratio"] if len(servers) == 2 else [])
        print(f"{'':{width}}" + "".join(f"{head:>14}" for head in heads))

    def row(self, what, values, more_is_better, form="{:,.0f}"):
        line = f"{what:{self.width}}" + "".join(f"{form.format(value):>14}" for value in values)
        if len(values) == 2:
            better, worse = values if more_is_better else reversed(values)
            line += f"{better / worse:>13.1f}x" if worse != 0 else f"{'-':>14}"
        print(line, flush=True)
