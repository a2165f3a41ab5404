#!/usr/bin/env python3
"""watch_bench.py BIN [ETCD_BIN] --load PROGRAM [--only LIST] - watchers on a server, beside a real etcd.

idle    memory of 10,000 watchers on 100 connections (RssAnon), those of the connections taken off:
        what 100 connections with one watcher each need
events  1,000 puts a second on their keys: are all events there, in order, and when
behind  puts while a watcher reads 500,000 revisions of history, and without one
PROGRAM is watch_load.c. Exits with 1 when an event is missing or out of order. On a machine with other work on it the
last two say more with BENCH_RT=1 (real-time priority for all) and BENCH_DIR=/dev/shm (no disk).
"""
import argparse, json, os, subprocess, sys, time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from servers import FIRST, Bench, Table

CONNECTIONS, WATCHERS, REVISIONS = 100, 10000, 500000


def settled(server):
    """RssAnon in bytes, once it is the same twice."""
    before = None
    for _ in range(50):
        now = server.memory_mib("RssAnon") * 1048576
        if now == before:
            return now
        before = now
        time.sleep(0.2)
    return before


def held(load, server, watchers):
    """Bytes that the server needs more while `watchers` are there."""
    before = settled(server)
    with subprocess.Popen([*FIRST, load, str(server.port), "idle", str(CONNECTIONS), str(watchers)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        during = settled(server)
        holder.stdin.close()
        holder.wait()
    return during - before


def run(load, server, *words):
    return json.loads(subprocess.run([*FIRST, load, str(server.port), *map(str, words)], check=True, capture_output=True,
                                     text=True).stdout)


def idle(load, bench, table):
    connections = [held(load, server, CONNECTIONS) for server in bench.servers]
    watchers = [held(load, server, WATCHERS) for server in bench.servers]
    table.row(f"{CONNECTIONS} connections, a watcher each (KiB each)",
              [bytes_ / CONNECTIONS / 1024 for bytes_ in connections], False, "{:,.1f}")
    table.row("an idle watcher more, with its key of 10 (bytes)",
              [max(all_ - some, 1) / (WATCHERS - CONNECTIONS) for some, all_ in zip(connections, watchers)], False)
    table.row(f"all of it, for each of {WATCHERS:,} (bytes)", [bytes_ / WATCHERS for bytes_ in watchers], False)


def events(load, bench, table, seconds, rounds):
    found = [[run(load, server, "events", CONNECTIONS, WATCHERS, 1000, seconds) for server in bench.servers]
             for _ in range(rounds)]
    for name, what in (("event_p50_ms", "event after its put, p50 (ms)"), ("event_p99_ms", "the same, p99 (ms)"),
                       ("put_p99_ms", "put, p99 (ms)")):
        table.row(what, [sorted(figures[i][name] for figures in found)[rounds // 2]
                         for i in range(len(bench.servers))], False, "{:.2f}")
    table.row("events missing", [sum(figures[i]["missing"] for figures in found)
                                 for i in range(len(bench.servers))], False)
    ours = [figures[0] for figures in found]
    return all(one["missing"] == 0 and one["disordered"] == 0 and one["events"] == one["puts"] for one in ours)


def behind(load, bench, table, rounds):
    request = os.path.join(bench.root, "put")
    with open(request, "wb") as out:
        message = b"\x0a\x06behind\x12\x40" + b"v" * 64
        out.write(b"\0" + len(message).to_bytes(4, "big") + message)
    for server in bench.servers:
        subprocess.run(["h2load", f"-n{REVISIONS}", "-c16", "-m16", "-t1", "-d", request, "-H",
                        "content-type: application/grpc", "-H", "te: trailers",
                        f"http://127.0.0.1:{server.port}/etcdserverpb.KV/Put"],
                       check=True, stdout=subprocess.DEVNULL)
    found = [run(load, server, "behind", REVISIONS, 1000, rounds) for server in bench.servers]
    table.row(f"reading {REVISIONS:,} revisions (revisions/s)", [one["revisions_a_second"] for one in found], True)
    for name, what in (("alone_p50_ms", "put, no one behind, p50 (ms)"), ("beside_p50_ms", "put meanwhile, p50 (ms)"),
                       ("alone_p99_ms", "put, no one behind, p99 (ms)"), ("beside_p99_ms", "put meanwhile, p99 (ms)")):
        table.row(what, [one[name] for one in found], False, "{:.2f}")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("bin")
    options.add_argument("etcd_bin", nargs="?", default="")
    options.add_argument("--load", required=True)
    options.add_argument("--only", default="idle,events,behind")
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--rounds", type=int, default=3)
    options = options.parse_args()
    good, only = True, options.only.split(",")
    with Bench(options.bin, options.etcd_bin) as bench:
        for server in bench.servers:
            server.start()
        table = Table(bench.servers, 50)
        if "idle" in only:
            idle(options.load, bench, table)
        if "events" in only:
            good = events(options.load, bench, table, options.seconds, options.rounds)
        if "behind" in only:
            behind(options.load, bench, table, options.rounds)
        for server in bench.servers:
            server.stop()
    if not good:
        sys.exit("watch_bench: events are missing or out of order")


main()
