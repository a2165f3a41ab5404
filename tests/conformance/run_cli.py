#!/usr/bin/env python3
"""Black-box conformance suite for the etcd command line (server, ctl and snapshot tool).

    run_cli.py --server 'etcd --name {name} --data-dir {data_dir}' --ctl etcdctl --snap etcdutl
               [--cases DIR] [--filter WORD]... [--jobs N] [--port-base 22000] [--keep] [--list]

--server is a command template.  {name} {data_dir} {client_port} {peer_port} are filled in; the
  listen, advertise and initial-cluster flags that the case needs are put in place of the ones
  in the template, or added when the template has none.
--ctl and --snap are the command lines that stand for {CTL} and {SNAP} in the cases.

Every case file gets a scratch directory (the working directory of all its commands) and fresh
servers on loopback ports.  The last line of output is exactly "N passed, N failed" (case files);
the exit status is 0 only when nothing failed.

CASE FILES are JSON objects:
  "about"        one line of prose
  "nodes"        servers to start before the first step: 1 (default), 3, 0, or ["a", "b"] by name
  "spare"        names that only get ports: for addresses where nothing listens, or "command" servers
  "server_args"  extra server flags for every node;  "scheme", "peer_scheme": http (default) or https
  "ready"        extra client flags for the "is it up" probe (TLS files, --user)
  "certs"        [{"name","ca":true} | {"name","by","cn","san","usage","expired","revoked"}], made with
                 openssl as {certs}/NAME.crt and .key; {certs}/CA.crl.pem lists the revoked ones
  "steps"        run in order; each step is one of
    {"run": COMMAND}               a shell command; checked: "exit" (0), "stdout", "stderr"
                                   with "stdin" (text), "env" ({..}), "timeout" (60 s), and "within": SECONDS,
                                   run again until it fits
    {"start": ID, "run": COMMAND}  the same in the background; then
       {"expect": ID, "stdout"}    wait until its output so far is this
       {"send": ID, "text"}        write to its stdin            {"close": ID}   end of its stdin
       {"stop": ID, "signal"}      end it (TERM) and check "stdout" and "exit" if given
       {"join": ID}                wait for its own end and check "exit" (0) and "stdout"
    {"server": "start"|"stop"|"kill"|"restart", "node"}   with "args", "data_dir", "ready",
                                   "command" (whole command line; {SERVER} is the bare program),
                                   "env", "cluster": false (keep --initial-cluster to one node)
    {"server": "fails", "node"}    start must end by itself; checked: "exit" (any but 0), "stderr"
    {"write": FILE, "text"}        write a file               {"sleep": SECONDS}

  "stdout" is a list of lines, compared strictly and completely ([] is: nothing at all).  In a line
    <<int>> <<hex>> <<dur>> <<size>> <<version>> <<any>> or <</regex/>>   match volatile text,
    <<name=hex>> (any of the above) also keeps it as {name} for later steps;
    {name.hex} {name.hex16} {name.dec} convert kept numbers.
    A line that is just <<lines>> matches any number of lines.  Other forms of "stdout":
    {"table": [HEADER, ROW...]} a drawn table (ASCII or box characters), {"unordered": LINES},
    {"raw": TEXT} without a final newline, {"hex": HEX} for bytes, {"any": true}, or absent: unchecked.
  "stderr" is a regular expression that must be found somewhere; absent: unchecked.
Placeholders in all texts: {CTL} {SNAP} {SERVER} {endpoint} {endpoints} {tmp} {certs}
  {initial_cluster} and, per node, {n1} (host:port) {n1.url} {n1.clientport} {n1.peer} {n1.peerport} {n1.dir}.
"""
import argparse, concurrent.futures, json, os, re, shlex, shutil, signal, socket, subprocess, sys
import tempfile, threading, time
from pathlib import Path

TYPES = {
    "int": r"-?\d+", "hex": r"[0-9a-f]{1,16}", "any": r"[^\n]*", "version": r"\d+\.\d+\.\d+[^\s,\"]*",
    "dur": r"(?:\d+(?:\.\d+)?(?:h|ms|m|s|µs|us|ns))+", "size": r"\d+(?:\.\d+)? (?:B|kB|MB|GB)",
}
TOKEN = re.compile(r"<<(?:([A-Za-z]\w*)=)?(?:/((?:[^/]|/(?!>>))*)/|(\w+))>>")
PLACEHOLDER = re.compile(r"\{([A-Za-z]\w*)(?:\.(\w+))?\}")


class StepFailed(Exception):
    pass


# ---- text: placeholders and expectations -----------------------------------------------------
class Vars:
    def __init__(self, captures):
        self.values, self.captures = {}, captures

    def get(self, name, attr):
        """The text of {name} or {name.attr}; None when it is no placeholder of ours."""
        full = f"{name}.{attr}" if attr else name
        if full in self.values:
            return self.values[full]
        if name in self.values and attr in ("hex", "hex16", "dec"):
            value = self.values[name]
            return {"hex": lambda: f"{int(value):x}", "hex16": lambda: f"{int(value):016x}",
                    "dec": lambda: str(int(value, 16))}[attr]()
        if name in self.captures:
            raise StepFailed(f"{{{full}}} has no value: an earlier step did not print it")
        return None

    def expand(self, text):
        def sub(m):
            value = self.get(m[1], m[2])
            return m[0] if value is None else value
        return PLACEHOLDER.sub(sub, text)

    def pattern(self, text, seen):
        """Regular expression for one expected text; `seen` are names captured in it so far."""
        out, pos = [], 0

        def literal(part):
            at = 0
            for m in PLACEHOLDER.finditer(part):
                value = rf"(?P={m[1]})" if m[1] in seen and not m[2] else None
                if value is None:
                    value = self.get(m[1], m[2])
                    if value is None:
                        continue
                    value = re.escape(value)
                out.append(re.escape(part[at:m.start()]) + value)
                at = m.end()
            out.append(re.escape(part[at:]))
        for m in TOKEN.finditer(text):
            literal(text[pos:m.start()])
            body = m[2] if m[2] is not None else TYPES[m[3]]
            if m[1]:
                out.append(f"(?P<{m[1]}>{body})")
                seen.add(m[1])
            else:
                out.append(f"(?:{body})")
            pos = m.end()
        literal(text[pos:])
        return "".join(out)

    def lines_pattern(self, lines):
        seen = set()
        return "".join(r"(?:[^\n]*\n)*?" if line == "<<lines>>" else self.pattern(line, seen) + r"\n"
                       for line in lines)

    def keep(self, match):
        self.values.update({k: v for k, v in match.groupdict().items() if v is not None})


def parse_table(text):
    """A drawn table as a list of rows of cells; None if it is not well formed."""
    lines = text.split("\n")
    if len(lines) < 5 or lines.pop() != "" or len({len(line) for line in lines}) != 1:
        return None
    rows, rules = [], []
    for number, line in enumerate(lines):
        if re.fullmatch(r"[+┌├└][-─+┬┼┴]*[+┐┤┘]", line):
            rules.append(number)
        elif re.fullmatch(r"[|│] .* [|│]", line):
            cells = re.split(r"[|│]", line)[1:-1]
            if rows and not all(c.endswith(" ") and (not c.strip() or not c.endswith("  ")) for c in cells):
                return None                                   # body cells are set flush right
            rows.append([c.strip() for c in cells])
        else:
            return None
    return rows if rules == [0, 2, len(lines) - 1] else None


def check_stdout(expected, data, variables):
    """Compare the bytes of a standard output with an expectation; '' or what is wrong."""
    text = data.decode("utf-8", "surrogateescape")
    shape = expected if isinstance(expected, dict) else {"lines": expected}
    if "any" in shape:
        return ""
    if "table" in shape:
        rows, want = parse_table(text), shape["table"]
        if rows is None or len(rows) != len(want) or any(len(a) != len(b) for a, b in zip(rows, want)):
            return f"stdout is not the expected table {want}:\n{text}"
        seen = set()
        pattern = "\n".join(variables.pattern(cell, seen) for row in want for cell in row)
        match = re.fullmatch(pattern, "\n".join(cell for row in rows for cell in row))
    elif "unordered" in shape:
        left = text.split("\n")
        if left.pop() != "":
            return f"stdout does not end with a newline:\n{text}"
        for line in shape["unordered"]:
            pattern = variables.pattern(line, set())
            match = next((m for m in (re.fullmatch(pattern, got) for got in left) if m), None)
            if not match:
                return f"stdout has no line {line!r}:\n{text}"
            variables.keep(match)
            left.remove(match[0])
        return f"stdout has more lines than expected: {left}" if left else ""
    elif "hex" in shape:
        text = data.hex()
        match = re.fullmatch(variables.pattern(shape["hex"], set()), text)
    elif "raw" in shape:
        match = re.fullmatch(variables.pattern(shape["raw"], set()), text)
    else:
        match = re.fullmatch(variables.lines_pattern(shape["lines"]), text)
    if match:
        variables.keep(match)
        return ""
    want = shape.get("lines") or [str(next(iter(shape.values())))]
    return "stdout differs\n  expected:\n" + "".join(f"    {line}\n" for line in want) + \
           "  got:\n" + "".join(f"    {line}\n" for line in text.split("\n"))


# ---- machines: ports, certificates, servers --------------------------------------------------
class Ports:
    def __init__(self, base, count):
        self.lock, self.base, self.count, self.next, self.busy = threading.Lock(), base, count, 0, set()

    def take(self):
        with self.lock:
            for _ in range(self.count):
                port = self.base + self.next
                self.next = (self.next + 1) % self.count
                if port in self.busy:
                    continue
                with socket.socket() as s:
                    try:
                        s.bind(("127.0.0.1", port))
                    except OSError:
                        continue
                self.busy.add(port)
                return port
        raise RuntimeError("no free port")

    def give_back(self, ports):
        with self.lock:
            self.busy.difference_update(ports)


def make_certs(folder, specs):
    folder.mkdir()

    def openssl(*args):
        done = subprocess.run(["openssl", *map(str, args)], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise StepFailed(f"openssl {' '.join(map(str, args))}: {done.stderr}")
    for spec in specs:
        name, cn = spec["name"], spec.get("cn", spec["name"])
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        if spec.get("ca"):
            openssl("req", "-x509", "-new", "-key", f"{name}.key", "-subj", f"/CN={cn}", "-days", 30,
                    "-out", f"{name}.crt")
            continue
        ca = spec["by"]
        ext = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature,keyEncipherment",
               "extendedKeyUsage=" + spec.get("usage", "serverAuth,clientAuth")]
        if spec.get("san"):
            ext.append("subjectAltName=" + spec["san"])
        (folder / f"{name}.ext").write_text("\n".join(ext) + "\n")
        openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={cn}", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key",
                "-CAcreateserial", "-days", -1 if spec.get("expired") else 30, "-extfile", f"{name}.ext",
                "-out", f"{name}.crt")
    for ca in {s["by"] for s in specs if s.get("revoked")}:
        (folder / "index.txt").write_text("")
        (folder / "ca.cnf").write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\n"
                                       "default_crl_days=30\n")
        sign = ["ca", "-config", "ca.cnf", "-keyfile", f"{ca}.key", "-cert", f"{ca}.crt"]
        for spec in specs:
            if spec.get("revoked") and spec["by"] == ca:
                openssl(*sign, "-revoke", f"{spec['name']}.crt")
        openssl(*sign, "-gencrl", "-out", f"{ca}.crl.pem")


def set_flag(argv, flag, value):
    """Give --flag this value: in place when the command line has it, else at the end."""
    for i, word in enumerate(argv):
        if word in (f"--{flag}", f"-{flag}"):
            argv[i + 1] = value
            return
        if word.startswith((f"--{flag}=", f"-{flag}=")):
            argv[i] = f"--{flag}={value}"
            return
    argv.append(f"--{flag}={value}")


class Node:
    def __init__(self, name, case):
        self.name, self.case, self.proc = name, case, None
        self.client_port, self.peer_port = case.port(), case.port()
        scheme, peer_scheme = case.spec.get("scheme", "http"), case.spec.get("peer_scheme", "http")
        self.host = f"127.0.0.1:{self.client_port}"
        self.url = f"{scheme}://{self.host}"
        self.peer = f"{peer_scheme}://127.0.0.1:{self.peer_port}"
        self.endpoint = self.url if scheme == "https" else self.host
        self.data_dir = case.tmp / f"{name}.data"
        self.log = case.tmp / f"{name}.log"

    def argv(self, step):
        case = self.case
        extra = shlex.split(case.vars.expand(case.spec.get("server_args", ""))) + \
            shlex.split(case.vars.expand(step.get("args", "")))
        if "command" in step:
            return shlex.split(case.vars.expand(step["command"])) + extra
        data_dir = case.tmp / case.vars.expand(step["data_dir"]) if "data_dir" in step else self.data_dir
        template = case.opts.server
        for key, value in (("name", self.name), ("data_dir", str(data_dir)),
                           ("client_port", str(self.client_port)), ("peer_port", str(self.peer_port))):
            template = template.replace("{" + key + "}", value)
        argv = shlex.split(template)
        cluster = case.nodes.values() if step.get("cluster", True) and not case.late(self) else [self]
        for flag, value in (("name", self.name), ("data-dir", str(data_dir)),
                            ("listen-client-urls", self.url), ("advertise-client-urls", self.url),
                            ("listen-peer-urls", self.peer), ("initial-advertise-peer-urls", self.peer),
                            ("initial-cluster", ",".join(f"{n.name}={n.peer}" for n in cluster
                                                         if n is self or not case.late(n)))):
            set_flag(argv, flag, value)
        for word in extra:                                  # the case's own flags replace the usual ones
            flag, eq, value = word.lstrip("-").partition("=")
            if eq and word.startswith("--"):
                set_flag(argv, flag, value)
            else:
                argv.append(word)
        return argv

    def start(self, step, wait=True):
        env = dict(self.case.env, **{k: self.case.vars.expand(v) for k, v in step.get("env", {}).items()})
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(self.argv(step), cwd=self.case.tmp, env=env, stdin=subprocess.DEVNULL,
                                         stdout=log, stderr=log, start_new_session=True)
        if wait:
            self.wait_ready(step.get("ready", self.case.spec.get("ready", "")))

    def wait_ready(self, flags):
        probe = self.case.vars.expand(f"{{CTL}} --endpoints={self.endpoint} --command-timeout=2s {flags} endpoint health")
        deadline = time.time() + 60
        while time.time() < deadline:
            if self.proc.poll() is not None:
                raise StepFailed(f"server {self.name} ended with status {self.proc.returncode}:\n{self.tail()}")
            try:
                with socket.create_connection(("127.0.0.1", self.client_port), 1):
                    pass
                if subprocess.run(probe, shell=True, cwd=self.case.tmp, env=self.case.env, stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=10).returncode == 0:
                    return
            except (OSError, subprocess.TimeoutExpired):
                pass
            time.sleep(0.1)
        raise StepFailed(f"server {self.name} is not healthy after 60 s:\n{self.tail()}")

    def stop(self, how=signal.SIGTERM):
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(how)
            try:
                self.proc.wait(15)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        self.proc = None

    def tail(self):
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join("    " + line[:300] for line in lines[-6:])


# ---- one case --------------------------------------------------------------------------------
class Case:
    def __init__(self, path, opts, ports):
        self.path, self.opts, self.ports, self.taken = path, opts, ports, []
        self.spec = json.loads(path.read_text())
        captures = {m[1] for m in TOKEN.finditer(json.dumps(self.spec["steps"])) if m[1]}
        self.vars, self.nodes, self.jobs = Vars(captures), {}, {}

    def port(self):
        self.taken.append(self.ports.take())
        return self.taken[-1]

    def late(self, node):
        """Nodes that a step starts later (first named there) are not part of the initial cluster."""
        return node.name not in self.first

    def run(self):
        """Returns the list of what went wrong."""
        self.tmp = Path(tempfile.mkdtemp(prefix="cli-"))
        failures = []
        try:
            self.prepare()
            for number, step in enumerate(self.spec["steps"], 1):
                if number in self.opts.skips.get(self.path.stem, ()):
                    continue
                try:
                    self.step(step)
                except StepFailed as e:
                    failures.append(f"step {number}: {step.get('run') or step}\n  {e}")
                    if "server" in step or len(failures) >= self.opts.max_failures:
                        break
        except StepFailed as e:
            failures.append(f"setting up: {e}")
        except (OSError, subprocess.SubprocessError, ValueError, LookupError) as e:
            failures.append(f"{type(e).__name__}: {e}")
        finally:
            for proc, _, _ in self.jobs.values():
                self.end(proc, signal.SIGKILL)
                proc.wait()
            for node in self.nodes.values():
                node.stop(signal.SIGKILL)
            self.ports.give_back(self.taken)
            if not self.opts.keep:
                shutil.rmtree(self.tmp, ignore_errors=True)
        return failures

    def prepare(self):
        clean = {k: v for k, v in os.environ.items()
                 if not k.startswith(("ETCD", "LC_")) and not k.lower().endswith("_proxy")}
        self.env = dict(clean, LC_ALL="C", TZ="UTC", HOME=str(self.tmp))
        nodes = self.spec.get("nodes", 1)
        self.first = nodes if isinstance(nodes, list) else [f"n{i + 1}" for i in range(nodes)]
        later = [s["node"] for s in self.spec["steps"] if "server" in s] + self.spec.get("spare", [])
        values = self.vars.values
        server = shlex.split(self.opts.server)
        program = server[:next((i for i, w in enumerate(server) if w.startswith("-")), len(server))]
        values.update(CTL=self.opts.ctl, SNAP=self.opts.snap, SERVER=shlex.join(program), tmp=str(self.tmp),
                      certs=str(self.tmp / "certs"))
        for name in [*self.first, *(n for n in dict.fromkeys(later) if n not in self.first)]:
            node = self.nodes[name] = Node(name, self)
            values.update({name: node.host, f"{name}.url": node.url, f"{name}.peer": node.peer,
                           f"{name}.clientport": str(node.client_port), f"{name}.peerport": str(node.peer_port),
                           f"{name}.dir": str(node.data_dir)})
        eps = [self.nodes[n].endpoint for n in self.first] or [n.endpoint for n in self.nodes.values()]
        values.update(endpoint=eps[0] if eps else "127.0.0.1:1", endpoints=",".join(eps),
                      initial_cluster=",".join(f"{n.name}={n.peer}" for n in self.nodes.values()))
        if "certs" in self.spec:
            make_certs(self.tmp / "certs", self.spec["certs"])
        for name in self.first:
            self.nodes[name].start({}, wait=False)
        for name in self.first:
            self.nodes[name].wait_ready(self.spec.get("ready", ""))

    # -- steps
    def step(self, step):
        if "server" in step:
            self.server_step(step)
        elif "write" in step:
            (self.tmp / self.vars.expand(step["write"])).write_text(self.vars.expand(step["text"]))
        elif "sleep" in step:
            time.sleep(step["sleep"])
        elif "start" in step:
            self.jobs[step["start"]] = self.spawn("exec " + self.vars.expand(step["run"]), step)
        elif "expect" in step:
            self.expect(step)
        elif "send" in step:
            job = self.jobs[step["send"]][0]
            job.stdin.write(self.vars.expand(step["text"]).encode())
            job.stdin.flush()
        elif "close" in step:
            self.jobs[step["close"]][0].stdin.close()
        elif "stop" in step or "join" in step:
            self.finish(step)
        else:
            self.command_until_it_fits(step)

    def spawn(self, command, step):
        env = dict(self.env, **{k: self.vars.expand(v) for k, v in step.get("env", {}).items()})
        out, err = tempfile.TemporaryFile(dir=self.tmp), tempfile.TemporaryFile(dir=self.tmp)
        proc = subprocess.Popen(["/bin/sh", "-c", command], cwd=self.tmp, env=env, stdin=subprocess.PIPE,
                                stdout=out, stderr=err, start_new_session=True)
        return proc, out, err

    @staticmethod
    def end(proc, how):
        """Signal the process group that this runner started for a command."""
        if proc.poll() is None:
            try:
                os.killpg(proc.pid, how)
            except ProcessLookupError:
                pass

    @staticmethod
    def contents(stream):
        return os.pread(stream.fileno(), os.fstat(stream.fileno()).st_size, 0)

    def command_until_it_fits(self, step):
        deadline = time.time() + step.get("within", 0)
        while True:
            try:
                return self.command(step)
            except StepFailed:
                if time.time() >= deadline:
                    raise
            time.sleep(0.1)

    def command(self, step):
        proc, out, err = self.spawn(self.vars.expand(step["run"]), step)
        try:
            proc.communicate(self.vars.expand(step.get("stdin", "")).encode(), timeout=step.get("timeout", 60))
        except subprocess.TimeoutExpired:
            self.end(proc, signal.SIGKILL)
            proc.wait()
            raise StepFailed(f"still running after {step.get('timeout', 60)} s; stdout so far:\n"
                             f"{self.contents(out).decode(errors='replace')}")
        self.verdict(step, proc, out, err, step.get("exit", 0))

    def verdict(self, step, proc, out, err, want_exit):
        data, log = self.contents(out), self.contents(err).decode(errors="replace")
        wrong = []
        if want_exit is not None and proc.returncode != want_exit:
            wrong.append(f"exit status {proc.returncode}, expected {want_exit}")
        if "stdout" in step:
            wrong.append(check_stdout(step["stdout"], data, self.vars))
        if "stderr" in step and not re.search(self.vars.expand(step["stderr"]), log, re.M):
            wrong.append(f"stderr has no /{step['stderr']}/")
        wrong = [w for w in wrong if w]
        if wrong:
            tail = "\n".join("    " + line[:300] for line in log.splitlines()[-5:])
            raise StepFailed("\n  ".join(wrong) + (f"\n  stderr:\n{tail}" if tail else ""))

    def expect(self, step):
        proc, out, _ = self.jobs[step["expect"]]
        deadline = time.time() + step.get("timeout", 60)
        while True:
            data, ended = self.contents(out), proc.poll() is not None
            wrong = check_stdout(step["stdout"], data, self.vars)
            if not wrong:
                return
            if time.time() > deadline or ended:
                raise StepFailed(wrong)
            time.sleep(0.05)

    def finish(self, step):
        proc, out, err = self.jobs[step.get("stop") or step["join"]]
        if "stop" in step:
            self.end(proc, getattr(signal, "SIG" + step.get("signal", "TERM")))
        try:
            proc.wait(step.get("timeout", 60))
        except subprocess.TimeoutExpired:
            self.end(proc, signal.SIGKILL)
            raise StepFailed("it does not end")
        self.verdict(step, proc, out, err, step.get("exit", 0 if "join" in step else None))

    def server_step(self, step):
        node, what = self.nodes[step["node"]], step["server"]
        if what in ("stop", "restart"):
            node.stop()
        if what == "kill":
            node.stop(signal.SIGKILL)
        if what in ("start", "restart"):
            node.start(step, wait=step.get("wait", True))
        if what == "fails":
            node.log.write_bytes(b"")
            node.start(step, wait=False)
            try:
                status = node.proc.wait(step.get("timeout", 60))
            except subprocess.TimeoutExpired:
                node.stop(signal.SIGKILL)
                raise StepFailed("the server keeps running; it should have refused to start")
            log = node.log.read_text(errors="replace")
            if status == 0 or status not in (step.get("exit") or [status]):
                raise StepFailed(f"exit status {status}, expected {step.get('exit', 'a failure')}")
            if not re.search(self.vars.expand(step.get("stderr", "")), log):
                raise StepFailed(f"its messages have no /{step['stderr']}/:\n{node.tail()}")


def read_skips(path):
    """What a --skip file lists: {case: its steps to leave out, or None for all of it}."""
    skips = {}
    for line in path.read_text().splitlines() if path else ():
        if line.strip() and not line.startswith("#"):
            name, _, steps = line.split()[0].partition(":")
            skips[name] = {int(n) for n in steps.split(",")} if steps else None
    return skips


def read_races(path):
    """What a --races file lists: {case: tries}."""
    lines = [line.split() for line in path.read_text().splitlines() if line and line[0] not in "# "] if path else []
    return {line[0]: int(line[1]) for line in lines}


def run_case(path, opts, ports):
    """What went wrong in a case; one whose steps race with time is run again, from its beginning."""
    for left in reversed(range(opts.races.get(path.stem, 1))):
        failures = Case(path, opts, ports).run()
        if not failures or not left:
            return failures
        print(f"again: {path.stem}\n  " + "\n".join(failures).replace("\n", "\n  "), flush=True)
    return []


def main():
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--server", required=True)
    cli.add_argument("--ctl", required=True)
    cli.add_argument("--snap", required=True)
    cli.add_argument("--cases", type=Path, default=Path(__file__).resolve().parent / "cli")
    cli.add_argument("--filter", action="append", default=[], help="only case files whose name contains this")
    cli.add_argument("--skip", type=Path, help="file that lists cases to leave out: NAME or NAME:STEP,STEP, then why")
    cli.add_argument("--races", type=Path, help="file that lists cases to try again: NAME, TRIES, then why")
    cli.add_argument("--jobs", type=int, default=1)
    cli.add_argument("--port-base", type=int, default=22000)
    cli.add_argument("--port-count", type=int, default=1000)
    cli.add_argument("--max-failures", type=int, default=5, help="failed steps after which a case is given up")
    cli.add_argument("--keep", action="store_true", help="keep the scratch directories")
    cli.add_argument("--list", action="store_true", help="only name the cases")
    opts = cli.parse_args()
    opts.skips, opts.races = read_skips(opts.skip), read_races(opts.races)
    paths = [p for p in sorted(opts.cases.glob("*.json")) if opts.skips.get(p.stem, 0) is not None
             and (not opts.filter or any(word in p.stem for word in opts.filter))]
    if opts.list:
        for path in paths:
            print(f"{path.stem:40} {json.loads(path.read_text())['about']}")
        return 0
    ports, passed, failed = Ports(opts.port_base, opts.port_count), 0, 0
    pool = concurrent.futures.ThreadPoolExecutor(opts.jobs)
    try:
        for path, failures in zip(paths, pool.map(lambda p: run_case(p, opts, ports), paths)):
            if failures:
                failed += 1
                print(f"FAIL {path.stem}\n  " + "\n".join(failures).replace("\n", "\n  "), flush=True)
            else:
                passed += 1
                print(f"ok   {path.stem}", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)                  # an interrupt still lets running cases clean up
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
