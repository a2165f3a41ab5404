#!/usr/bin/env python3
"""lease_bench.py BIN [ETCD_BIN] --load PROGRAM - 100,000 leases on a server, beside a real etcd.

Granted with a key each, kept alive at 20,000 a second, and left to run out, all within one second;
1,000 puts a second meanwhile. PROGRAM is lease_load.c, which says how. Exits with 1 when ours loses a
lease that was kept alive, or a put takes more than twice as long (p99) while the leases run out.
On a machine with other work on it: BENCH_RT=1, real-time priority for all; BENCH_DIR=/dev/shm, no disk.
"""
import argparse, json, os, subprocess, sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from servers import FIRST, Bench, Table

ROWS = (("grants_a_second", "grants (1/s)", True, "{:,.0f}"), ("keys_a_second", "puts of their keys (1/s)", True, "{:,.0f}"),
        ("renewals_a_second", "renewals (1/s)", True, "{:,.0f}"), ("renewal_p50_ms", "a renewal, p50 (ms)", False, "{:.2f}"),
        ("renewal_p99_ms", "a renewal, p99 (ms)", False, "{:.2f}"), ("list_ms", "the list of all (ms)", False, "{:.1f}"),
        ("beside_renewals_p99_ms", "put beside renewals, p99 (ms)", False, "{:.2f}"),
        ("idle_p50_ms", "put when leases are idle, p50 (ms)", False, "{:.2f}"),
        ("idle_p99_ms", "put when leases are idle, p99 (ms)", False, "{:.2f}"),
        ("storm_p50_ms", "put while they run out, p50 (ms)", False, "{:.2f}"),
        ("storm_p99_ms", "put while they run out, p99 (ms)", False, "{:.2f}"),
        ("left", "leases left then", False, "{:,.0f}"))


def main():
    options = argparse.ArgumentParser()
    options.add_argument("bin")
    options.add_argument("etcd_bin", nargs="?", default="")
    options.add_argument("--load", required=True)
    options.add_argument("--leases", type=int, default=100000)
    options.add_argument("--rate", type=int, default=20000)
    options.add_argument("--seconds", type=int, default=10)
    options.add_argument("--ttl", type=int, default=60)
    options = options.parse_args()
    found = []
    with Bench(options.bin, options.etcd_bin) as bench:
        for server in bench.servers:
            server.start()
            found.append(json.loads(subprocess.run(
                [*FIRST, options.load, str(server.port), str(options.leases), str(options.rate), "1000",
                 str(options.seconds), str(options.ttl)], check=True, capture_output=True, text=True).stdout))
            server.stop()
    table = Table(bench.servers, 40)
    for name, what, more, form in ROWS:
        table.row(what, [figures[name] for figures in found], more, form)
    ours = found[0]
    print(f"{'put, p99: running out to idle':40}"
          + "".join(f"{figures['storm_p99_ms'] / figures['idle_p99_ms']:>13.1f}x" for figures in found))
    if ours["gone"] != 0 or ours["listed"] < options.leases:
        sys.exit("lease_bench: leases that were kept alive are gone")
    if ours["left"] >= options.leases:
        sys.exit("lease_bench: no lease ran out")
    if ours["storm_p99_ms"] > 2 * ours["idle_p99_ms"]:
        sys.exit("lease_bench: while leases run out a put takes more than twice as long")


main()
