#!/usr/bin/env python3
"""verify_cases.py ETCD_PKI [--print] - the cases of etcd_tls_cases.py, whose outcome on real members is
known, given to etcd-pki verify: it has to find an error exactly where the member's files or flags
are at fault, and of the rule that says so."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import etcd_tls_cases as cases  # noqa: E402

HOST = cases.HOST
# The rule that has to be found: with 3.5.30 and 3.6.14, or with each. "-": no error at all.
WANTED = {
    "server-serverauth-only": "U2", "server-clientauth-only": "U1", "server-cn-only": "N1",
    "server-ip-in-dns-san": "N1", "server-expired": "C3", "server-not-yet-valid": "C3", "server-sha1": "C4",
    "server-key-mismatch": "K2", "server-key-encrypted-pkcs8": "K1", "server-key-encrypted-traditional": "K1",
    "server-chain-reversed": "K2", "server-chain-missing": "C1", "server-key-ED448": "K1", "server-key-P-224": "K1",
    "server-key-secp256k1": "K1", "trust-with-key": "T1", "trust-with-crl": "T1", "trust-empty": "T1",
    "trust-der": "T1", "trust-expired": "C3", "trust-other-string-type": "C1", "trust-no-certsign": "C1",
    "trust-not-ca": "C1", "trust-eku-serverauth": "C1", "client-cert-auth-without-trust": "T2",
    "crl:crl.pem": ("-", "R1"), "crl:crl-v1.der": ("-", "R1"), "crl:crl-v1.pem": ("-", "R1"),
    "crl:crl-second.pem": "R1", "crl:crl-comment.pem": "R1", "crl:crl-empty": "R1", "crl:crl-missing": "R1",
    "crl-split-http": ("R4", "-"), "crl-config-file": "R5", "tls-min-1.1": "F1", "tls-min-1.3-with-suites": "F1",
    "suite-openssl-name": "F1", "suite-without-http2-one": "F1", "suite-wrong-key-type": "F1",
    "https-url-no-cert": "F1", "peer-serverauth-only": "U3", "peer-no-ip-san": "N2", "peer-allowed-cn-wrong": "P1",
    "peer-allowed-hostname-wrong": "P1", "peer-allowed-both": "P1",
}
# Only warned of: whether it works depends on what DNS says, or on who calls.
WARNED = {"peer-source-not-in-san": "N3", "peer-source-not-in-san-dns": "N3", "client-allowed-hostname": "U4",
          "client-allowed-hostname-server-has-it": "U4", "server-key-RSA-1024": "C4"}


def flags_of(one, p):
    """The flags as etcd_tls_cases.py starts the member with them."""
    extra = [f.replace("@", p.folder + "/").replace("--SKIP-SAN", "--peer-skip-client-san-verification")
             for f in one["flags"] if f != "--config-file"]
    if one["peer"]:
        return ["--peer-cert-file=" + p.path(one["peer"] + ".crt"), "--peer-key-file=" + p.path(one["peer"] + ".key"),
                "--peer-client-cert-auth", "--peer-trusted-ca-file=" + p.path("ca.crt"), "--name=p1",
                "--initial-cluster=p1=https://%s:24491" % HOST, "--listen-client-urls=http://%s:24490" % HOST,
                "--listen-peer-urls=https://%s:24491" % HOST,
                "--initial-advertise-peer-urls=https://%s:24491" % HOST] + extra
    url = "https://%s:%d" % (HOST, one["port"])
    args = ["--listen-client-urls=" + url, "--advertise-client-urls=" + url]
    if one["cert"]:
        cert = one["cert"] if one["cert"].endswith(".pem") else one["cert"] + ".crt"
        args += ["--cert-file=" + p.path(cert), "--key-file=" + p.path(one["key"] or one["cert"] + ".key")]
        args += ["--trusted-ca-file=" + p.path(one["ca"])] * one["trust"] + ["--client-cert-auth"] * one["auth"]
    if one["crl"]:
        if os.path.exists(p.path("current.crl")):
            os.unlink(p.path("current.crl"))
        if one["crl"] != "crl-missing":
            p.write("current.crl", one["crl"])
        args.append("--client-crl-file=" + p.path("current.crl"))
    if "--config-file" in one["flags"]:
        p.write("config.yaml", "".join(  # the same again, as etcd_tls_cases.py has it
            "%s: %s\n" % (key[2:], value) for key, value in (f.split("=", 1) for f in args if "-urls=" in f)).encode() +
            b"client-transport-security:\n" + b"".join(
                b"  %s: %s\n" % (f[2:].partition("=")[0].encode(), (f.partition("=")[2] or "true").encode())
                for f in args if "-urls=" not in f))
        args.append("--config-file=" + p.path("config.yaml"))
    return args + extra


def main():
    pki, failed, count = sys.argv[1], 0, 0
    with tempfile.TemporaryDirectory() as work:
        p = cases.Pki(work)
        cases.build(p)
        for one in cases.cases():
            for which, version in enumerate(("3.5.30", "3.6.14")):
                want = WANTED.get(one["name"], "-")
                want = want if isinstance(want, str) else want[which]
                done = subprocess.run([pki, "verify", "--etcd-version", version, "--", "etcd"] + flags_of(one, p),
                                      capture_output=True, text=True)
                found = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("error ")]
                warned = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("warning ")]
                good = (done.returncode == 3 and want in found) if want != "-" else (
                    done.returncode in (0, 4) and not found and WARNED.get(one["name"], "") in warned + [""])
                count += 1
                if not good or "--print" in sys.argv:
                    failed += not good
                    print("ok  " if good else "FAIL", one["name"], version, "wanted", want, "errors", found,
                          "warnings", warned, done.stderr.strip())
    print("%d outcomes, %d failed" % (count, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
