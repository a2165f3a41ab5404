#!/usr/bin/env python3
"""odd_answers.py ETCD-CTL - servers that answer what no etcd answers; the client must say so, soon, and end.

Each answer meets each command. Wrong is: an end by a signal (or by a sanitizer), a failure without a word on standard
error, control characters of the server there, more than LIMIT seconds.
"""
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading

CTL = os.path.abspath(sys.argv[1])
LIMIT = 30  # seconds; what is due is 2, but machines are slow
BAD = re.compile(r"Sanitizer|runtime error|must\(|[\x00-\x08\x0b-\x1f\x7f]")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ETCDCTL_")}


def http(body, status="200 OK", kind="application/json"):
    body = body if isinstance(body, bytes) else body.encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


LISTS = ("kvs", "members", "leases", "alarms", "responses", "perm", "roles", "users", "events", "keys")


def lists_of(item):
    return http("{" + ",".join(f'"{name}":[{item}]' for name in LISTS) + ',"leader":{},"kv":{},"member":{}}')


ANSWERS = {
    "nothing at all": b"",
    "garbage": bytes(range(256)) * 8,
    "an empty body": http(""),
    "a page": http("<html>\x1b[31mhello</html>", kind="text/html"),
    "a page about an error": http("<html>\x1b[31mbad gateway</html>", "502 Bad Gateway", "text/html"),
    "a redirection": http("", "302 Found\r\nLocation: http://127.0.0.1:1/"),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a list": http("[]"),
    "null": http("null"),
    "an empty object": http("{}"),
    "a header of null": http('{"header":null}'),
    "wrong types": http('{"header":{"revision":"abc"},"kvs":5,"members":{},"leases":"x","alarms":[1]}'),
    "lists of null": lists_of("null"),
    "lists of nothing": lists_of("{}"),
    "events without keys": http('{"result":{"created":true}}\n{"result":{"events":[{}]}}\n{"result":{"events":[{"kv":{}}]}}\n'
                                '{"result":{"canceled":true}}\n'),
    "deep lists": http("[" * 100000),
    "deep objects": http('{"header":' * 50000),
    "an error that is none": http('{"error":{"message":5}}', "500 X"),
    "an error with a code too large": http('{"error":"e\x1b[0m","code":99999999999999999999}', "500 X"),
    "a long error": http('{"error":"%s"}' % ("x" * 100000), "500 X"),
    "half an answer": b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"header":{',
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n{}",
    "a large header": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 500000 + b"\r\n\r\n{}",
    "text that is no UTF-8": http(b'{"header":{"cluster_id":"\xff\xfe"}}'),
    "a number too large": http('{"header":{"revision":1e400}}'),
    "a value that is no base64": http('{"kvs":[{"key":"###"}]}'),
    "more, for ever": http('{"more":true,"kvs":[]}'),
}

COMMANDS = ["get a", "get a --stream", "put a b", "endpoint status -w fields", "member list -w table", "lease timetolive 1 --keys",
            "role get x", "alarm list -w fields", "snapshot save odd.db", "make-mirror --rev=0 127.0.0.1:1", "elect a b",
            "move-leader 1", "user get x --detail", "endpoint health"]
MAY_GO_ON = ("make-mirror", "elect")  # with an answer that is just right


def serve(answer):
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def one(connection):
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(answer)
            except OSError:
                pass

    def loop():
        while True:
            threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    return f"127.0.0.1:{listener.getsockname()[1]}"


def ask(endpoint, command):
    """What is wrong with how the client takes it; None: nothing."""
    words = command.split()
    process = subprocess.Popen([CTL, f"--endpoints={endpoint}", "--command-timeout=1s", *words], env=ENVIRONMENT,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        said = process.communicate(timeout=2 if words[0] in MAY_GO_ON else LIMIT)[1].decode(errors="replace")
    except subprocess.TimeoutExpired:
        process.kill()
        said = process.communicate()[1].decode(errors="replace")
        if words[0] not in MAY_GO_ON:
            return f"still there after {LIMIT} s: {said}"
        process.returncode = 0
    if process.returncode < 0 or BAD.search(said):
        return f"status {process.returncode}: {said[:2000]!r}"
    if process.returncode != 0 and not said.strip():
        return f"status {process.returncode} without a word"
    return None


IGNORED = "CommonName of client sending a request against gateway will be ignored and not used as expected"


def plain_refusal():
    """An etcd refuses a certificate with a name in plain text: told as the refusal it is, with what to do."""
    endpoint = serve(http(IGNORED + "\n", "400 Bad Request", "text/plain; charset=utf-8"))
    end = subprocess.run([CTL, f"--endpoints={endpoint}", "put", "a", "b"], env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=LIMIT)
    good = end.returncode == 1 and f"Error: {IGNORED}\n" in end.stderr and "give --user" in end.stderr
    if not good:
        print(f"not ok - a refusal in plain text: status {end.returncode}: {end.stderr!r}")
    return not good


def lease_for_ever():
    """A lease of more seconds than there are milliseconds to count is not over at once."""
    endpoint = serve(http('{"ID":"5","TTL":"9223372036854775807","key":"YQ=="}'))
    end = subprocess.run([CTL, f"--endpoints={endpoint}", "lock", "a", "echo", "held"], env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=LIMIT)
    good = end.returncode == 0 and end.stdout == "held\n"
    if not good:
        print(f"not ok - a lease for ever: status {end.returncode}: {end.stdout!r} {end.stderr!r}")
    return not good


def watch_goes_on():
    """A server that stops ends its streams: one of etcd 3.5 says grpc_code, a newer one and ours code. Both are waited for."""
    failed = 0
    for name in ("code", "grpc_code"):
        said = '{"result":{"header":{},"created":true}}\n{"error":{"%s":14,"message":"etcdserver: server stopped"}}\n' % name
        words = [CTL, f"--endpoints={serve(http(said))}", "watch", "a"]
        process = subprocess.Popen(words, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        late = threading.Timer(LIMIT, process.kill)
        late.start()
        first = process.stderr.readline()  # its cause, or that it goes on; nothing when it is late
        late.cancel()
        if "server stopped; trying again from revision" not in first:
            print(f"not ok - a watch that the server ends with {name}: {first!r}")
            failed += 1
        process.kill()
        process.communicate()
    return failed


def main():
    failed = plain_refusal() + lease_for_ever() + watch_goes_on()
    directory = tempfile.TemporaryDirectory()
    os.chdir(directory.name)  # for what a command leaves
    for title, answer in ANSWERS.items():
        endpoint = serve(answer)
        wrong = [(command, found) for command in COMMANDS if (found := ask(endpoint, command)) is not None]
        for command, found in wrong:
            print(f"not ok - {title}: {command}: {found}")
        failed += len(wrong)
    print(f"odd answers: {len(ANSWERS) * len(COMMANDS) + 4 - failed} taken well, {failed} not")
    sys.exit(failed != 0)


main()
