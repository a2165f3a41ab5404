#!/usr/bin/env python3
"""Black-box conformance runner for the HTTP/JSON gateway and client HTTP endpoints.

Runs the case files (gateway/*.json) against a server and compares every
response with the recorded expectation.  gateway.md describes the case format.

  run_gateway.py --server 'CMD {data_dir} {client_port} {peer_port}' [FILE|DIR ...]
  run_gateway.py --endpoint http://127.0.0.1:2379 --filter kv-put-get

With --server every case file gets a fresh server; with --endpoint the given
server is used as it is, so run one case file at a time on an empty server.
"""
import argparse, base64, hashlib, http.client, json, os, queue, re, shlex, shutil
import signal, socket, ssl, string, subprocess, sys, tempfile, threading, time
from urllib.parse import urlsplit

HERE = os.path.dirname(os.path.abspath(__file__))
HEADER_FIELDS = ("cluster_id", "member_id", "raft_term")
VOLATILE = {"raftIndex", "raftAppliedIndex", "raftTerm", "dbSize", "dbSizeInUse"}
BYTES_FIELDS = {"key", "value", "range_end", "name", "keys"}


class Mismatch(Exception):
    pass


# ---------------------------------------------------------------- building

def build(node, env):
    """Turn a request template into plain JSON: $b64, $repeat, $var, ${name}."""
    if isinstance(node, str):
        return re.sub(r"\$\{(\w+)\}", lambda m: str(env[m.group(1)]), node)
    if isinstance(node, list):
        return [build(x, env) for x in node]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        (op, arg), = node.items()
        if op == "$b64":
            return base64.b64encode(to_bytes(arg, env)).decode()
        if op == "$repeat":                      # ["text", count]
            return build(arg[0], env) * arg[1]
        if op == "$var":
            return env[arg]
        if op == "$list":                        # {"count": n, "item": x}: ${i} counts from 0
            return [build(arg["item"], dict(env, i=i)) for i in range(arg["count"])]
    return {k: build(v, env) for k, v in node.items()}


def to_bytes(arg, env):
    return build(arg, env).encode() if isinstance(arg, (str, dict)) else bytes(arg)


def body_bytes(step, env):
    """The request body of a step, or None."""
    if "raw" in step:                            # text sent as it is
        return build(step["raw"], env).encode()
    if "bodies" in step:                         # several JSON messages, one a line
        return b"".join(json.dumps(build(b, env)).encode() + b"\n" for b in step["bodies"])
    if "body" in step:
        return json.dumps(build(step["body"], env)).encode()
    return None


# ---------------------------------------------------------------- matching

def is_matcher(node):
    return isinstance(node, dict) and any(k.startswith("$") for k in node)


def as_int(value):
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    raise Mismatch("not a decimal string: %r" % (value,))


def match(want, got, env, path="$"):
    """Raise Mismatch unless got fits want; may store captures in env."""
    if is_matcher(want):
        return match_special(want, got, env, path)
    if isinstance(want, str):
        want = build(want, env)
    if isinstance(want, dict) and isinstance(got, dict):
        for key in want:
            if key not in got:
                raise Mismatch("%s.%s: missing, want %s" % (path, key, short(want[key])))
        for key in got:
            if key not in want:
                raise Mismatch("%s.%s: unexpected, got %s" % (path, key, short(got[key])))
            match(want[key], got[key], env, path + "." + key)
    elif isinstance(want, list) and isinstance(got, list):
        if len(want) != len(got):
            raise Mismatch("%s: want %d items, got %d: %s" % (path, len(want), len(got), short(got)))
        for i, (w, g) in enumerate(zip(want, got)):
            match(w, g, env, "%s[%d]" % (path, i))
    elif type(want) is not type(got) or want != got:
        raise Mismatch("%s: want %s, got %s" % (path, short(want), short(got)))


def match_special(want, got, env, path):
    (op, arg), = want.items()
    if op in ("$b64", "$repeat", "$var", "$list"):
        return match(build(want, env), got, env, path)
    if op == "$any":                             # anything, but present
        return
    if op == "$capture":                         # any scalar, remembered under a name
        if isinstance(got, (dict, list)):
            raise Mismatch("%s: want a scalar, got %s" % (path, short(got)))
        env[arg] = got
        return
    if op == "$re":                              # a string matching in full
        if not isinstance(got, str) or not re.fullmatch(build(arg, env), got, re.S):
            raise Mismatch("%s: want /%s/, got %s" % (path, arg, short(got)))
        return
    if op == "$int":                             # decimal string within [lo, hi]
        if not arg[0] <= as_int(got) <= arg[1]:
            raise Mismatch("%s: want %s..%s, got %s" % (path, arg[0], arg[1], got))
        return
    if op == "$unordered":                       # list in any order
        if not isinstance(got, list) or len(got) != len(arg):
            raise Mismatch("%s: want %d items in any order, got %s" % (path, len(arg), short(got)))
        rest = list(got)
        for w in arg:
            for g in rest:
                try:
                    match(w, g, env, path)
                except Mismatch:
                    continue
                rest.remove(g)
                break
            else:
                raise Mismatch("%s: no item like %s in %s" % (path, short(w), short(rest)))
        return
    if op == "$header":                          # response header, ids constant in one file
        if not isinstance(got, dict):
            raise Mismatch("%s: want a response header, got %s" % (path, short(got)))
        rest = dict(got)
        for field in HEADER_FIELDS:
            if as_int(rest.pop(field, None)) <= 0:
                raise Mismatch("%s.%s: not positive" % (path, field))
        for field in ("cluster_id", "member_id"):
            if env.setdefault(field, got[field]) != got[field]:
                raise Mismatch("%s.%s changed: %s -> %s" % (path, field, env[field], got[field]))
        return match(arg, rest, env, path)
    raise ValueError("unknown matcher " + op)


def short(value, limit=300):
    text = value if isinstance(value, str) and len(value) > limit else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else "%s... (%d characters)" % (text[:limit], len(text))


# ---------------------------------------------------------------- recording

def generalise(new, old, env, key=""):
    """What to store for an observed value: old matchers that still fit are kept."""
    if is_matcher(old):
        if "$unordered" in old and isinstance(new, list):
            return {"$unordered": [generalise(x, None, env, key) for x in new]}
        if "$header" not in old:
            match(old, new, env, "$ (matcher kept from the case file)")
            return old
    if isinstance(new, dict):
        if "cluster_id" in new:
            rest = {k: v for k, v in new.items() if k not in HEADER_FIELDS}
            env.setdefault("cluster_id", new["cluster_id"])
            env.setdefault("member_id", new["member_id"])
            return {"$header": rest}
        old = old if isinstance(old, dict) else {}
        return {k: generalise(v, old.get(k), env, k) for k, v in new.items()}
    if isinstance(new, list):
        old = old if isinstance(old, list) else []
        return [generalise(v, old[i] if i < len(old) else None, env, key) for i, v in enumerate(new)]
    if isinstance(new, str):
        if key in VOLATILE:
            return {"$int": [1, 2 ** 63]}
        for name, value in env.items():
            if new == str(value) and len(new) > 9:
                return {"$var": name}
        for name in ("client_port", "peer_port"):
            if name in env and str(env[name]) in new and "://" in new:
                return new.replace(str(env[name]), "${%s}" % name)
        if key in BYTES_FIELDS:
            return readable_b64(new)
    return new


def readable_b64(text):
    try:
        raw = base64.b64decode(text, validate=True)
        plain = raw.decode("ascii")
    except ValueError:
        return text
    if not plain or not all(c in string.printable[:95] for c in plain) or "${" in plain:
        return text
    if len(plain) > 40 and len(set(plain)) == 1:
        return {"$b64": {"$repeat": [plain[0], len(plain)]}}
    return {"$b64": plain}


# ---------------------------------------------------------------- HTTP

class Target:
    """Where the requests go: the client port, or the peer port of a started server."""

    def __init__(self, url, tls=None, peer_port=None):
        self.url, self.tls, self.peer_port = urlsplit(url), tls, peer_port

    def connect(self, step):
        host, port = self.url.hostname, self.url.port
        if step.get("port") == "peer":
            return http.client.HTTPConnection(host, self.peer_port, timeout=30)
        if self.url.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=30, context=self.tls)
        return http.client.HTTPConnection(host, port, timeout=30)


def send(target, step, env):
    """Send a step's request; returns (connection, response)."""
    conn = target.connect(step)
    data = body_bytes(step, env)
    headers = {k: build(v, env) for k, v in step.get("headers", {}).items()}
    method = step.get("method", "POST")
    conn.putrequest(method, build(step["path"], env), skip_host="Host" in headers, skip_accept_encoding=True)
    if data is not None:
        conn.putheader("Content-Length", str(len(data)))
    elif method == "POST":
        conn.putheader("Content-Length", "0")
    for name, value in headers.items():
        conn.putheader(name, value)
    conn.endheaders()
    try:
        if data:
            conn.send(data)
    except (BrokenPipeError, ConnectionResetError):
        pass                                     # answered before it read the whole body
    return conn, conn.getresponse()


class Background:
    """A request running beside the other steps: a stream, or a call that blocks."""

    def __init__(self, target, step, env):
        self.lines, self.status, self.headers = queue.Queue(), None, {}
        self.conn, self.error = None, None
        self.opened = threading.Event()
        threading.Thread(target=self._run, args=(target, step, env), daemon=True).start()

    def _run(self, target, step, env):
        try:
            self.conn, resp = send(target, step, env)
            self.status, self.headers = resp.status, {k.lower(): v for k, v in resp.getheaders()}
            self.opened.set()
            while True:
                line = resp.readline()
                if not line:
                    break
                self.lines.put(line)
        except (OSError, ValueError, http.client.HTTPException, AttributeError) as exc:
            self.error = exc
        self.opened.set()
        self.lines.put(None)

    def next_line(self, timeout):
        return self.lines.get(timeout=max(timeout, 0.001))

    def close(self):
        if self.conn is not None and self.conn.sock is not None:
            try:
                self.conn.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


# ---------------------------------------------------------------- the server

class Server:
    def __init__(self, template, case, ports):
        self.dir = tempfile.mkdtemp(prefix="gateway-case-")
        self.client_port, self.peer_port = pick_ports(ports)
        for name, text in case.get("files", {}).items():
            with open(os.path.join(self.dir, name), "w") as f:
                f.write(text)
        names = dict(data_dir=os.path.join(self.dir, "data"), work_dir=self.dir,
                     client_port=self.client_port, peer_port=self.peer_port)
        self.args = [a.format(**names) for a in shlex.split(template) + case.get("server_args", [])]
        self.log = open(os.path.join(self.dir, "log"), "wb")
        self.start()

    def start(self):
        self.proc = subprocess.Popen(self.args, stdout=self.log, stderr=subprocess.STDOUT,
                                     stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.time() + 60
        while time.time() < deadline:
            if self.proc.poll() is not None:
                break
            try:
                conn = http.client.HTTPConnection("127.0.0.1", self.client_port, timeout=2)
                conn.request("GET", "/health?exclude=NOSPACE&exclude=CORRUPT")
                if conn.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        tail = open(self.log.name, "rb").read()[-600:].decode("utf-8", "replace")
        self.stop()
        raise RuntimeError("server did not become healthy; its last output:\n" + tail)

    def halt(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()

    def restart(self):
        """Stop with SIGTERM and start again on the same data and ports."""
        self.halt()
        self.start()

    def stop(self):
        """Ends it; returns what a sanitizer, or the server itself, said about a bug; None when nothing."""
        self.halt()
        self.log.close()
        with open(self.log.name, errors="replace") as log:
            text = log.read()
        shutil.rmtree(self.dir, ignore_errors=True)
        found = re.search(r"Sanitizer|runtime error:|^bug: ", text, re.M)
        return text[found.start():][:4000] if found else None


def pick_ports(ports):
    """Two free loopback ports in the given range, tried in turn."""
    lo, hi = ports
    found = []
    while len(found) < 2:
        pick_ports.last = lo + (getattr(pick_ports, "last", lo - 1) + 1 - lo) % (hi - lo + 1)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", pick_ports.last))
                found.append(pick_ports.last)
            except OSError:
                pass
    return found


# ---------------------------------------------------------------- steps

class CaseRun:
    def __init__(self, target, env, server, record):
        self.target, self.env, self.server, self.record = target, env, server, record
        self.background = {}

    def step(self, step):
        """Run one step; raises Mismatch.  Returns True when something was checked."""
        if "sleep" in step:
            time.sleep(step["sleep"])
        elif "start" in step:
            self.background[step["start"]] = bg = Background(self.target, step, self.env)
            bg.opened.wait(step.get("settle", 0.3))
        elif "stop" in step:
            self.background.pop(step["stop"]).close()
        elif "restart" in step:
            self.server.restart()
        elif "quiet" in step:
            self.check_quiet(self.background[step["quiet"]], step.get("for", 0.5))
            return True
        elif "read" in step:
            self.check_stream(self.background[step["read"]], step)
            return True
        else:
            self.check_call(step)
            return True
        return False

    def check_call(self, step):
        deadline = time.time() + step.get("within", 0)
        while True:                              # "within": poll until it fits
            conn, resp = send(self.target, step, self.env)
            data = resp.read()
            conn.close()
            expect = step.get("expect", {})
            got = {"status": resp.status, "headers": {n: resp.getheader(n) for n in expect.get("headers", {})}}
            if resp.getheader("content-type"):
                got["headers"]["content-type"] = resp.getheader("content-type")
            got.update(decode(data, expect))
            try:
                return self.compare(step, got)
            except Mismatch:
                if time.time() >= deadline:
                    raise
            time.sleep(0.1)

    def check_stream(self, bg, step):
        """Read messages (one a line) from a background request."""
        expect = step.setdefault("expect", {})
        want = expect.get("messages", 0)
        if is_matcher(want):                     # {"$unordered": [...]}
            count = len(want["$unordered"])
        else:
            count = want if isinstance(want, int) else len(want)
        deadline = time.time() + step.get("timeout", 60)
        messages, ended = [], False
        while len(messages) < count or expect.get("end"):
            try:
                line = bg.next_line(deadline - time.time())
            except queue.Empty:
                raise Mismatch("no message in time; so far %s" % short(messages))
            if line is None:
                ended = True
                break
            if line.strip():
                messages.append(json.loads(line))
        got = {"status": bg.status, "messages": messages}
        if "headers" in expect:
            got["headers"] = {n: bg.headers.get(n) for n in expect["headers"]}
        if ended:
            got["end"] = True
        if expect.get("check"):
            return checks[expect["check"]](messages)
        self.compare(step, got)

    def check_quiet(self, bg, seconds):
        try:
            line = bg.next_line(seconds)
        except queue.Empty:
            return
        bg.lines.put(line)
        raise Mismatch("wanted nothing for %ss, got %s" % (seconds, "the end" if line is None else short(line.decode())))

    def compare(self, step, got):
        expect = step.get("expect", {})
        if self.record:
            if "within" in step:                 # written by hand: must hold as it stands
                return self.compare_parts(expect, got)
            new = {k: generalise(v, expect.get(k), self.env) for k, v in got.items() if k != "lines"}
            if "lines" in expect:
                match_lines(expect["lines"], got["lines"], self.env)
                new["lines"] = expect["lines"]
            step["expect"] = new
            return None
        return self.compare_parts(expect, got)

    def compare_parts(self, expect, got):
        if "status" not in expect:
            raise Mismatch("the case file has no expectation; record it")
        for part, want in expect.items():
            if part == "lines":
                match_lines(want, got["lines"], self.env)
            elif part == "headers":              # only the listed ones; null means absent
                match(want, {n: got["headers"].get(n) for n in want}, self.env, part)
            elif part not in got:
                raise Mismatch("%s: want %s, got %s" % (part, short(want), short(got)))
            else:
                match(want, without_v1_error(got[part]) if part == "body" else got[part], self.env, part)

    def close(self):
        for bg in self.background.values():
            bg.close()


def without_v1_error(body):
    """An error body less the member "error" of gateway version 1: it may be there, as a copy of "message"."""
    if isinstance(body, dict) and "code" in body and body.get("error", "") == body.get("message"):
        return {k: v for k, v in body.items() if k != "error"}
    return body


def decode(data, expect):
    """A response body as JSON where it is JSON, else as text; as lines where lines are wanted."""
    text = data.decode("utf-8", "surrogateescape")
    if "lines" in expect:
        return {"lines": text.splitlines()}
    if "messages" in expect:
        return {"messages": [json.loads(x) for x in text.splitlines() if x.strip()]}
    if "text" not in expect and text[:1] in ("{", "["):
        try:
            return {"body": json.loads(text)}
        except ValueError:
            pass
    return {"text": text}


def match_lines(wanted, lines, env):
    for want in wanted:
        if not any(re.fullmatch(build(want, env), line) for line in lines):
            raise Mismatch("no line like /%s/ among %d lines" % (want, len(lines)))


def check_snapshot(messages):
    """Snapshot stream: chunks with a falling remaining_bytes, then the SHA-256 of all chunks."""
    blobs, total, left = [], None, None
    for i, m in enumerate(messages):
        if set(m) != {"result"}:
            raise Mismatch("message %d: want only result, got %s" % (i, short(m)))
        blob = base64.b64decode(m["result"].get("blob", ""))
        left = as_int(m["result"].get("remaining_bytes", "0"))
        if i == 0:
            total = left + len(blob)
        if i < len(messages) - 1 and total - sum(map(len, blobs)) - len(blob) != left:
            raise Mismatch("message %d: remaining_bytes is %d" % (i, left))
        if len(blob) > 32 * 1024:
            raise Mismatch("message %d: chunk of %d bytes" % (i, len(blob)))
        blobs.append(blob)
    if len(blobs) < 2 or left != 0 or hashlib.sha256(b"".join(blobs[:-1])).digest() != blobs[-1]:
        raise Mismatch("the last message is not the SHA-256 of the chunks before it")


checks = {"snapshot": check_snapshot}


# ---------------------------------------------------------------- main

def read_skips(path):
    """What a --skip file lists: {case: its steps to leave out, or None for all of it}."""
    skips = {}
    for line in open(path) if path else ():
        if line.strip() and not line.startswith("#"):
            name, _, steps = line.split()[0].partition(":")
            skips[name] = {int(n) for n in steps.split(",")} if steps else None
    return skips


def read_races(path):
    """What a --races file lists: {case: tries}."""
    lines = [line.split() for line in open(path) if line.strip() and line[0] not in "# "] if path else []
    return {line[0]: int(line[1]) for line in lines}


def case_files(paths, pattern, skip):
    for path in paths or [os.path.join(HERE, "gateway")]:
        if os.path.isdir(path):
            names = [os.path.join(path, n) for n in sorted(os.listdir(path)) if n.endswith(".json")]
        else:
            names = [path]
        for name in names:
            stem = os.path.splitext(os.path.basename(name))[0]
            if re.search(pattern, os.path.basename(name)) and skip.get(stem, 0) is not None:
                yield name


def checked_steps(case):
    return [s for s in case["steps"] if not ({"sleep", "start", "stop", "restart"} & set(s))]


def run_file(path, opts):
    """Run one case file; returns (passed, failed). A case whose steps race with time is run again, on a fresh server."""
    name = os.path.basename(path)[:-5]
    for left in reversed(range(opts.races.get(name, 1) if opts.server else 1)):
        passed, failed = run_once(path, opts)
        if not failed or not left:
            break
        print("again: %s" % name, flush=True)
    return passed, failed


def run_once(path, opts):
    """Run one case file; returns (passed, failed)."""
    with open(path) as f:
        case = json.load(f)
    name = os.path.basename(path)[:-5]
    server, run, passed, failed = None, None, 0, 0
    try:
        if opts.server:
            server = Server(opts.server, case, opts.ports)
            target = Target("http://127.0.0.1:%d" % server.client_port, None, server.peer_port)
            env = {"client_port": server.client_port, "peer_port": server.peer_port}
        elif case.get("server_args") or any(s.get("port") == "peer" or "restart" in s for s in case["steps"]):
            print("SKIP %s: needs --server" % name)
            return 0, 0
        else:
            target, env = Target(opts.endpoint, opts.tls), {"client_port": urlsplit(opts.endpoint).port}
        run = CaseRun(target, env, server, opts.record)
        for number, step in enumerate(case["steps"], 1):
            if number in opts.skips.get(name, ()):
                continue
            label = "%s step %d (%s)" % (name, number, step.get("do") or step.get("path") or "")
            try:
                checked = run.step(step)
                passed += 1 if checked else 0
                if opts.verbose and checked:
                    print("ok   %s" % label)
            except (Mismatch, OSError, ValueError, KeyError, http.client.HTTPException) as exc:
                failed += 1
                why = str(exc) if isinstance(exc, Mismatch) else "%s: %s" % (type(exc).__name__, exc)
                print("FAIL %s\n     %s %s\n     %s" % (label, step.get("method", "POST"), step.get("path", ""), why))
    except RuntimeError as exc:
        failed += len(checked_steps(case))
        print("FAIL %s: %s" % (name, exc))
    finally:
        if run:
            run.close()
        bug = server.stop() if server else None
        if bug:
            failed += 1
            print("FAIL %s: the server had a bug to tell:\n%s" % (name, bug))
    if opts.record and not failed:
        with open(path, "w") as f:
            f.write(dump(case) + "\n")
    return passed, failed


def dump(node, indent=0, width=150):
    """JSON with short objects kept on one line."""
    flat = json.dumps(node, ensure_ascii=False)
    if len(flat) + indent <= width or not node or not isinstance(node, (dict, list)):
        return flat
    pad = " " * (indent + 1)
    if isinstance(node, list):
        return "[\n" + ",\n".join(pad + dump(x, indent + 1) for x in node) + "\n" + " " * indent + "]"
    items = [pad + json.dumps(k) + ": " + dump(v, indent + 1) for k, v in node.items()]
    return "{\n" + ",\n".join(items) + "\n" + " " * indent + "}"


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("paths", nargs="*", help="case files or folders (default: gateway/ beside this script)")
    ap.add_argument("--server", help="command that starts a server; {data_dir} {client_port} {peer_port} are filled in")
    ap.add_argument("--endpoint", help="URL of a running, empty server")
    ap.add_argument("--cacert")
    ap.add_argument("--cert")
    ap.add_argument("--key")
    ap.add_argument("--filter", default="", help="regular expression on the case file's name")
    ap.add_argument("--skip", help="file that lists cases to leave out: NAME or NAME:STEP,STEP, then why")
    ap.add_argument("--races", help="file that lists cases to try again: NAME, TRIES, then why")
    ap.add_argument("--ports", default="21500-21999", help="range of ports for started servers")
    ap.add_argument("--record", action="store_true", help="store what the server answers as the expectation")
    ap.add_argument("-v", "--verbose", action="store_true")
    opts = ap.parse_args()
    if bool(opts.server) == bool(opts.endpoint):
        ap.error("give either --server or --endpoint")
    opts.skips, opts.races = read_skips(opts.skip), read_races(opts.races)
    opts.ports = tuple(int(p) for p in opts.ports.split("-"))
    opts.tls = None
    if opts.endpoint and opts.endpoint.startswith("https"):
        opts.tls = ssl.create_default_context(cafile=opts.cacert)
        if opts.cert:
            opts.tls.load_cert_chain(opts.cert, opts.key)
    passed = failed = 0
    for path in case_files(opts.paths, opts.filter, opts.skips):
        p, f = run_file(path, opts)
        passed, failed = passed + p, failed + f
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
