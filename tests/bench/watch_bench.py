#!/usr/bin/env python3
"""watch_bench.py BIN [ETCD_BIN] --load PROGRAM [--only LIST] - watchers on a server, beside a real etcd.

idle    memory of 10,000 watchers on 100 connections (RssAnon), those of the connections taken off:
        what 100 connections with one watcher each need
events  1,000 puts a second on their keys: are all events there, in order, and when
behind  puts beside a watcher that reads 500,000 revisions of history, and alone, in turns of half a second: alone,
        beside, alone; p99 by p99 of each time that it catches up, and the median of those, with the interval it is in.
        The turns alone before against those after say what differs by itself. Puts while the machine stood still
        (stalls.h) are left out where that can be known; the figures of all stand beside.
PROGRAM is watch_load.c. Exits with 1 when an event is missing or out of order, or p99 beside is a tenth above that
alone. On a machine with other work on it the last two say more with BENCH_RT=30 (a real-time priority for all) and
BENCH_DIR=/dev/shm (no disk).
"""
import argparse, json, math, os, statistics, subprocess, sys, time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from servers import FIRST, Bench, Table

CONNECTIONS, WATCHERS, REVISIONS = 100, 10000, 500000
SLOWER_MAX = 1.1  # puts beside a watcher that is behind, p99


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


def fill(bench, server):
    """REVISIONS puts of a key."""
    request = os.path.join(bench.root, "put")
    with open(request, "wb") as out:
        message = b"\x0a\x06behind\x12\x40" + b"v" * 64
        out.write(b"\0" + len(message).to_bytes(4, "big") + message)
    subprocess.run(["h2load", f"-n{REVISIONS}", "-c16", "-m16", "-t1", "-d", request, "-H",
                    "content-type: application/grpc", "-H", "te: trailers",
                    f"http://127.0.0.1:{server.port}/etcdserverpb.KV/Put"], check=True, stdout=subprocess.DEVNULL)


def sure(count):
    """The lowest and highest of `count` ordered figures between which their median is, at 95 % (the sign test); and
    how surely it is there."""
    outside, tail = 0, 2.0 / 2 ** count
    while outside + 1 < count / 2:
        more = tail + 2.0 * math.comb(count, outside + 1) / 2 ** count
        if more > 0.05:
            break
        outside, tail = outside + 1, more
    return outside, count - 1 - outside, max(0.0, 1 - tail)


def spread(ratios):
    ratios = sorted(ratios)
    low, high, surely = sure(len(ratios))
    return (f"{statistics.median(ratios):.3f} x   (of {len(ratios)}: {ratios[low]:.3f} to {ratios[high]:.3f} "
            f"at {surely:.0%}, all {ratios[0]:.3f} to {ratios[-1]:.3f})")


def tell_round(number, figures):
    for name in ("alone", "beside", "again"):
        print("{0:>6}{1:>8}{puts:7}{stalled:10}{p50_ms:8.3f}{p99_ms:8.3f}{worst_ms:8.2f}{all_p99_ms:12.3f}"
              "{all_worst_ms:8.2f}".format(number, name, **figures[name]) +
              ("{behind:10}{events:10}{messages:10}{seconds:9.2f}".format(**figures) if name == "beside" else ""))


def behind(load, bench, turns):
    """A watcher that catches up `turns` times; is ours as the issue wants it?"""
    good = True
    for server in bench.servers:
        fill(bench, server)
        ours = server is bench.servers[0]
        found = run(load, server, "behind", REVISIONS, 1000, turns if ours else 1)
        print(f"\n{server.label}: 1,000 puts a second, alone and beside a watcher {REVISIONS:,} revisions behind\n"
              f"{'':14}{'puts':>7}{'left out':>10}{'p50 ms':>8}{'p99 ms':>8}{'worst':>8}{'p99 of all':>12}{'worst':>8}"
              f"{'behind':>10}{'events':>10}{'messages':>10}{'seconds':>9}")
        for number, figures in enumerate(found):
            tell_round(number + 1, figures)
        for figure, what in (("p50_ms", "p50"), ("p99_ms", "p99"), ("all_p99_ms", "p99 of all")):
            alone, beside, again = ([one[name][figure] for one in found] for name in ("alone", "beside", "again"))
            slower = [one * 2 / (before + after) for before, one, after in zip(alone, beside, again)]
            print(f"put {what:10} beside, by that alone:        {spread(slower)}\n"
                  f"put {what:10} alone after, by that before:  "
                  f"{spread([after / before for before, after in zip(alone, again)])}", flush=True)
            good = good and (figure != "p99_ms" or not ours or statistics.median(slower) < SLOWER_MAX)
        good = good and (not ours or all(one["events"] >= one["behind"] for one in found))
    return good


def main():
    options = argparse.ArgumentParser()
    options.add_argument("bin")
    options.add_argument("etcd_bin", nargs="?", default="")
    options.add_argument("--load", required=True)
    options.add_argument("--only", default="idle,events,behind")
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--turns", type=int, default=9, help="a watcher that is behind catches up that often")
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
            good = behind(options.load, bench, options.turns) and good
        for server in bench.servers:
            server.stop()
    if not good:
        sys.exit("watch_bench: events are missing or out of order, or a watcher that is behind slows puts")


main()
