#!/usr/bin/env python3
"""bad_input.py ETCD_PKI - what etcd-pki must refuse: each kind with a clear line that names the cause, the right
exit status, and no file made, changed or left half-written. Prints a line for each that fails, and counts kinds.
"""
import atexit
import base64
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

PKI = os.path.abspath(sys.argv[1])
NOBODY = 65534
kinds, checks, failed = set(), 0, []


def sh(line):
    subprocess.run(["bash", "-ec", line], check=True, capture_output=True)


def tree(root):
    """Every name below with its kind, mode and content."""
    facts = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            content = b""
            if os.path.islink(path):
                content = os.readlink(path).encode()
            elif os.path.isfile(path) and info.st_size < 1 << 26:
                content = open(path, "rb").read()
            facts[os.path.relpath(path, root)] = (info.st_mode, info.st_size, hashlib.sha256(content).hexdigest())
    return facts


def for_all():
    """The program where another uid may run it: the sources may lie in a home directory that is closed to others."""
    folder = os.path.join(tempfile.gettempdir(), f"bad-input.{os.getpid()}")
    program = os.path.join(folder, "etcd-pki")
    if not os.path.exists(program):
        os.makedirs(folder)
        os.chmod(folder, 0o755)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        shutil.copy(PKI, program)
        os.chmod(program, 0o755)
    return program


def refused(kind, args, status, text, stdout=None, nobody=False, limit=None, env=None):
    """etcd-pki ARGS ends with STATUS and a line with TEXT, and the working directory is as it was."""
    global checks
    kinds.add(kind)
    checks += 1

    def before():
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if nobody:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)

    was = tree(".")
    try:
        done = subprocess.run([for_all() if nobody else PKI, *args], stdin=subprocess.DEVNULL, stdout=stdout or subprocess.PIPE,
                              stderr=subprocess.PIPE, preexec_fn=before, timeout=60,
                              env={**os.environ, "ETCD_PKI_DIR": "pki", **(env or {})})
        out = (b"" if stdout else done.stdout) + done.stderr
        got, words = done.returncode, out.decode("utf-8", "surrogateescape")
    except subprocess.TimeoutExpired:
        got, words = "a time-out", ""
    now = tree(".")
    changed = sorted(name for name in set(was) | set(now) if was.get(name) != now.get(name))
    clean = all(c in "\n\t" or ord(c) >= 32 for c in words)
    if got != status or text not in words or changed or not clean:
        failed.append(kind)
        print(f"FAIL {kind}: {' '.join(args)[:150]}\n     status {got}, wanted {status} and: {text}\n"
              f"     changed: {changed}\n     {words[:600]!r}")


def write(path, content):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def pem(label, der):
    text = base64.b64encode(der).decode()
    return f"-----BEGIN {label}-----\n" + "\n".join(text[i:i + 64] for i in range(0, len(text), 64)) + \
        f"\n-----END {label}-----\n"


def der_of(path):
    text = open(path).read()
    return base64.b64decode("".join(text.split("-----")[2].split()))


def patched(path, old, new):
    """A certificate with some bytes replaced, and so with a wrong signature."""
    der = der_of(path)
    assert old in der, (path, old)
    return pem("CERTIFICATE", der.replace(old, new, 1))


def files():
    """Files that are damaged, of another kind, too big, or no files."""
    good = open("pki/etcd/ca.crt").read()
    shapes = {
        "a file of no bytes": ("", "is empty"),
        "text that is no PEM": ("hello\n", "holds no PEM block"),
        "PEM cut in the middle": (good[:200], "does not decode"),
        "PEM with a broken line": (good.replace(good.split("\n")[2], "!" * 64), "does not decode"),
        "PEM of broken DER": (pem("CERTIFICATE", der_of("pki/etcd/ca.crt")[:-30]), "is not a certificate"),
        "DER with bytes after it": (pem("CERTIFICATE", der_of("pki/etcd/ca.crt") + b"x"), "bytes after its end"),
        "DER where PEM should be": (der_of("pki/etcd/ca.crt"), "is DER, not PEM"),
        "a key where a certificate should be": (open("pki/etcd/ca.key").read(), "holds no PEM block"),
        "random bytes": (os.urandom(5000), "bad.crt"),
        "zero bytes": (bytes(5000), "holds no PEM block"),
        "five thousand blocks": (good * 5000, "more than 4096 PEM blocks"),
        "a file of 20 MB": (b"x" * 20_000_000, "larger than the 16777216 bytes"),
    }
    for kind, (content, text) in shapes.items():
        write("bad.crt", content)
        refused(kind, ["show", "bad.crt"], 1, text)
        refused(kind, ["check", "bad.crt"], 3, text)
        refused(kind, ["verify", "--", "etcd", "--cert-file", "bad.crt", "--key-file", "pki/etcd/ca.key"], 3, text)
        refused(kind, ["revoke", "bad.crt"], 1, text)
    os.unlink("bad.crt")
    with open("sparse.crt", "wb") as file:
        file.truncate(1 << 34)
    refused("a file of 16 GB", ["show", "sparse.crt"], 1, "larger than")
    os.unlink("sparse.crt")
    refused("a device without end", ["show", "/dev/zero"], 1, "larger than")
    refused("a directory as file", ["show", "pki"], 1, "Is a directory")
    refused("a file as directory", ["init", "--dir", "pki/etcd/ca.crt"], 1, "Not a directory")
    refused("a file that is not there", ["show", "nowhere.crt"], 1, "nowhere.crt: No such file")
    os.symlink("loop.crt", "loop.crt")
    refused("a symbolic link to itself", ["show", "loop.crt"], 1, "Too many levels of symbolic links")
    os.unlink("loop.crt")


def dates_and_names_inside():
    """Certificates that parse but lie."""
    not_after = subprocess.run(["openssl", "x509", "-in", "pki/clients/root.crt", "-noout", "-enddate", "-dateopt", "iso_8601"],
                               capture_output=True, text=True).stdout.split("=")[1].strip()
    utc = (not_after[2:4] + not_after[5:7] + not_after[8:10] + not_after[11:13] + not_after[14:16] + not_after[17:19] + "Z").encode()
    for name, new in (("letters", b"99zz99zz99zzZ"), ("a 13th month", utc[:2] + b"13" + utc[4:])):
        write("x/bad.crt", patched("pki/clients/root.crt", utc, new))
        kind = "a certificate with an impossible date"
        for args in (["check", "x/bad.crt"], ["check", "--dir", "x"], ["check", "--dir", "x", "-o", "json"]):
            refused(kind, args, 3, "")
        refused(kind, ["check-expiration", "--dir", "x"], 3, "")
    shutil.rmtree("x")
    # A terminal's escape sequence in a name is shown, not sent.
    sh("openssl req -new -newkey rsa:2048 -nodes -keyout e.key -subj $'/CN=\\e[31mred' -out e.csr; "
       "openssl x509 -req -in e.csr -CA pki/etcd/ca.crt -CAkey pki/etcd/ca.key -set_serial 1 -days 1 -out e.crt")
    refused("control characters in a certificate's name", ["check", "e.crt", "--crit", "2d"], 3, "expires within")
    refused("control characters in a request", ["sign", "e.csr", "--role", "client"], 1, "control character")
    write("k.conf", "client-certificate-data: !!!\n")
    refused("a kubeconfig whose certificate is no base64", ["check", "k.conf"], 3, "is no base64")
    write("k.conf", "client-certificate-data: " + base64.b64encode(b"no certificate").decode() + "\n")
    refused("a kubeconfig that holds something else", ["check", "k.conf"], 3, "holds no PEM block")
    for name in ("k.conf", "e.key", "e.csr", "e.crt"):
        os.unlink(name)


def authorities():
    """CAs that cannot sign."""
    def with_ca(kind, text, make, status=1):
        shutil.copytree("pki", "kept", symlinks=True)
        make()
        refused(kind, ["issue", "client", "x", "--key", "p256"], status, text)
        refused(kind, ["sign", "good.csr", "--role", "client"], status, text)
        refused(kind, ["crl"], status, text)
        shutil.rmtree("pki")
        os.rename("kept", "pki")

    ca = "pki/etcd/ca"
    by_hand = "openssl req -x509 -key pki/etcd/ca.key -subj /CN=etcd-ca -out pki/etcd/ca.crt "
    with_ca("a leaf as CA", "is not a CA", lambda: shutil.copy("pki/clients/root.crt", ca + ".crt"))
    with_ca("a CA without keyCertSign", "Certificate Sign",
            lambda: sh(by_hand + "-addext keyUsage=critical,cRLSign"))
    with_ca("a CA with CA:FALSE", "is not a CA", lambda: sh(
        by_hand + "-config <(printf '[req]\\ndistinguished_name=d\\n[d]\\n[x]\\nbasicConstraints=CA:FALSE\\n') -extensions x"))
    with_ca("an expired CA", "expired", lambda: sh(
        "openssl req -new -key pki/etcd/ca.key -subj /CN=etcd-ca -out ca.csr; printf 'basicConstraints=CA:TRUE\\n' > ca.ext; "
        "openssl x509 -req -in ca.csr -signkey pki/etcd/ca.key -extfile ca.ext -days -1 -out pki/etcd/ca.crt; rm ca.csr ca.ext"))
    with_ca("a CA's key of another CA", "belongs to another certificate", lambda: shutil.copy("other/etcd/ca.key", ca + ".key"))
    with_ca("a CA's key that is damaged", "ca.key", lambda: write(ca + ".key", open(ca + ".key").read()[:100]))
    with_ca("a CA's key of no bytes", "is empty", lambda: write(ca + ".key", ""))
    with_ca("a CA without its key", "key", lambda: os.unlink(ca + ".key"))
    with_ca("a CA file with a key in it", "", lambda: write(ca + ".crt", open(ca + ".crt").read() + open(ca + ".key").read()))


def requests_and_keys():
    def request(kind, text, line, status=1):
        sh(line)
        refused(kind, ["sign", "r.csr", "--role", "client"], status, text)
        os.unlink("r.csr")

    new = "openssl req -new -subj /CN=x -out r.csr "
    request("a request with a weak key", "RSA keys have 2048", new + "-newkey rsa:1024 -nodes -keyout k")
    for curve, text in (("secp224r1", "etcd cannot use"), ("secp256k1", "etcd cannot use")):
        request("a request with a curve etcd cannot use", text, new + f"-newkey ec -pkeyopt ec_paramgen_curve:{curve} -nodes -keyout k")
    request("a request with an Ed448 key", "etcd cannot use", new + "-newkey ed448 -nodes -keyout k")
    request("a request to be a CA", "asks to be a CA", new + "-newkey rsa:2048 -nodes -keyout k -addext basicConstraints=CA:TRUE")
    request("a request for a mail address", "neither a DNS name nor an address",
            new + "-newkey rsa:2048 -nodes -keyout k -addext subjectAltName=email:a@b.example")
    request("a request without a common name", "has no common name",
            "openssl req -new -subj /O=x -out r.csr -newkey rsa:2048 -nodes -keyout k")
    request("a request whose signature is wrong", "signature", new + "-newkey rsa:2048 -nodes -keyout k; "
            "openssl req -in r.csr -outform DER | sed 's/x/y/' > r.der; "
            "openssl asn1parse -inform DER -in r.der -noout; "
            "(echo -----BEGIN CERTIFICATE REQUEST-----; base64 -w64 r.der; echo -----END CERTIFICATE REQUEST-----) > r.csr; rm r.der")
    request("a certificate where a request should be", "certificate request", "cp pki/etcd/ca.crt r.csr")
    os.unlink("k")
    refused("a weak key asked for", ["issue", "client", "x", "--key", "RSA-1024"], 2, "one of RSA-2048")
    refused("a kind of key that is none", ["issue", "client", "x", "--key", "dsa"], 2, "one of RSA-2048")
    shutil.copy("pki/clients/other.key", "pki/clients/root.key.new")
    os.rename("pki/clients/root.key", "root.key")
    os.rename("pki/clients/root.key.new", "pki/clients/root.key")
    refused("swapped keys", ["renew", "clients/root", "--reuse-key"], 1, "belongs to another certificate")
    refused("swapped keys", ["check"], 3, "the key beside it belongs to another")
    refused("swapped keys", ["issue", "client", "root"], 1, "belongs to another certificate")
    sh("openssl pkey -in root.key -aes128 -passout pass:x -out pki/clients/root.key")
    refused("an encrypted key where etcd reads it", ["check"], 3, "the private key is encrypted")
    sh("openssl genpkey -algorithm ed448 -out pki/clients/root.key")
    refused("a key of a kind etcd cannot use", ["check"], 3, "use RSA, P-256, P-384, P-521 or Ed25519")
    os.rename("root.key", "pki/clients/root.key")


def words():
    """The command line."""
    for address in ("10.0.0.256", "1.2.3", "::g", "fe80::1%eth0", "10.0.0.1/24", "localhost", "010.0.0.5", "-1", " "):
        refused("a malformed address", ["issue", "server", "m", "--ip", address], 2, "--ip")
    for name in ("UPPER", "under_score", "a..b", ".a", "a.", "-a", "a-", "a b", "a" * 64, "x." * 130 + "y", "10.0.0.1", "*.", "*",
                 "a.*.b", "ä.example", "a\tb", "1.2.3.4.5"):
        refused("a malformed name", ["issue", "server", "m", "--dns", name], 2, "--dns")
        if name not in ("10.0.0.1",):
            refused("a malformed name", ["issue", "server", "m", "--san", name], 2, "--san")
    for name in ("M1", "m_1", "../m1", "m/1", ".m", "m1 ", "\u00fc"):
        refused("a malformed member name", ["issue", "server", name], 2, "a name has lower-case letters")
        refused("a malformed member name", ["cluster", "--dir", "c", "--member", name + "=10.0.0.1"], 2, "a name has lower-case letters")
    for name in ("../x", "a/b", ".x"):
        refused("a user that is a path", ["issue", "client", name], 2, "cannot be a file name")
        refused("a user that is a path", ["cluster", "--dir", "c", "--member", "m1=10.0.0.1", "--client", name], 2, "cannot be a file name")
    refused("a common name of 65 characters", ["issue", "client", "x", "--cn", "a" * 65], 2, "65 characters")
    refused("control characters in a name", ["issue", "client", "x", "--cn", "a\x1b[0m"], 2, "control character")
    refused("control characters in a name", ["issue", "client", "x", "--org", "a\nb"], 2, "control character")
    refused("text that is not UTF-8", ["issue", "client", "x", "--cn", b"a\xff".decode("utf-8", "surrogateescape")], 2, "invalid utf8string")
    refused("more than 100 alternative names",
            ["issue", "server", "m", "--san", ",".join(f"n{i}.example" for i in range(101))], 2, "at most 100")
    for time in ("0h", "-1h", "1", "h", "1w", "99999999999999999999h", "1001y", "1h-", " 1h"):
        refused("a malformed length of time", ["issue", "client", "x", "--validity", time], 2, "not a length of time")
    for day in ("tomorrow", "2027-13-01", "2027-02-30", "2027-01-01T25:00:00Z", "2027-01-01 10:00", "99999-01-01"):
        refused("a malformed date", ["issue", "client", "x", "--not-after", day], 2, "--not-after")
        refused("a malformed date", ["check", "--at", day], 2, "--at")
    refused("an end in the past", ["issue", "client", "x", "--not-after", "2001-01-01"], 2, "is over already")
    for cluster in ("m1", "m1=", "=https://10.0.0.1:2380", "m1=https://[::1", "m1=https://:2380", "m1=https://a_b:2380", ","):
        refused("a malformed --initial-cluster", ["cluster", "--dir", "c", "--initial-cluster", cluster], 2, "")
    for cidr in ("10.96.0.0", "10.96.0.0/33", "10.96.0.0/x", "x/8", "10.96.0.0/-1", "::/128"):
        refused("a malformed --service-cidr", ["kubeadm", "--dir", "c", "--node-name", "a", "--apiserver-advertise-address",
                                               "10.0.0.1", "--service-cidr", cidr], 2, "--service-cidr")
    for version in ("2.0", "1", "1.x", "1.", "v"):
        refused("a malformed version", ["kubeadm", "--dir", "c", "--node-name", "a", "--apiserver-advertise-address", "10.0.0.1",
                                        "--kubernetes-version", version], 2, "--kubernetes-version")
    for serial in ("xyz", "", "0", "-1", "1" * 41):
        refused("a malformed serial", ["revoke", "--serial", serial], 2, "")
    for url in ("https://", "http://127.0.0.1:1", "https://[::1", "https://127.0.0.1:", "https://127.0.0.1:99999", "https://127.0.0.1:x"):
        kinds.add("a malformed endpoint")
        refused("a malformed endpoint", ["probe", url], 1 if url[-1] in "9x" else 2, "127.0.0.1" if "127" in url else "https://")
    refused("a verb that is none", ["frobnicate"], 2, "unknown verb")
    refused("a flag that is none", ["init", "--frobnicate"], 2, "unknown flag")
    refused("a flag without its value", ["init", "--cn"], 2, "needs a value")
    refused("an empty value", ["init", "--cn", ""], 2, "empty value")
    refused("five thousand words", ["show"] + ["x"] * 5000, 2, "at most 4096 are read")
    refused("a role that is none", ["issue", "emperor", "x"], 2, "is no role")


def lists_and_configurations():
    crl = "pki/etcd/ca.crl"
    sh(f"{PKI} revoke clients/other -q --dir pki")
    good = open(crl, "rb").read()
    for kind, content in (("a list of no bytes", b""), ("a list that is cut", good[:-20]), ("a list with bytes after it", good + b"x"),
                          ("a list that is random", os.urandom(300)), ("a certificate where a list should be", open("pki/etcd/ca.crt", "rb").read())):
        write(crl, content)
        refused(kind, ["crl"], 1, "cannot be gone on with")
        refused(kind, ["revoke", "clients/root"], 1, "cannot be gone on with")
        refused(kind, ["verify", "--", "etcd", "--cert-file", "pki/clients/root.crt", "--key-file", "pki/clients/root.key",
                       "--client-cert-auth", "--trusted-ca-file", "pki/etcd/ca.crt", "--client-crl-file", crl], 3, "R1")
    os.unlink(crl)
    for content in (b"a: [1", b"\xff\xfe\x00", b"a: &x [*x]\n" * 3, b"- " * 20000, b"{" * 20000, b"kind: ClusterConfiguration\n"):
        write("k.yaml", content)
        refused("a configuration that is no YAML, or not kubeadm's", ["kubeadm", "--dir", "c", "--config", "k.yaml"], 2, "k.yaml")
    write("k.yaml", "no: flags\n")
    refused("a manifest without etcd's flags", ["verify", "--manifest", "k.yaml"], 2, "none of etcd's flags")
    refused("a process that is not there", ["verify", "--pid", "999999999"], 1, "999999999")
    os.unlink("k.yaml")


def places():
    """Where it cannot write, or should not."""
    made = ["issue", "client", "x", "--key", "p256"]
    renewed = ["renew", "all"]
    os.symlink("/nonexistent/elsewhere", "pki/clients/x.key")
    refused("a symbolic link where a key should go", made, 1, "x.key")
    os.rename("pki/clients/x.key", "pki/clients/x.crt")
    refused("a symbolic link where a certificate should go", made, 1, "x.crt")
    os.unlink("pki/clients/x.crt")
    os.rename("pki/clients/root.crt", "root.crt")
    os.symlink(os.path.abspath("root.crt"), "pki/clients/root.crt")
    refused("a symbolic link that would be replaced", ["renew", "clients/root"], 1, "--follow")
    refused("a revocation list behind a symbolic link", ["crl", "--pem", "pki/clients/root.crt"], 1, "--follow")
    os.chmod("pki/clients", 0o777)
    refused("a key for a directory of everybody's", ["renew", "clients/root", "--follow"], 1, "writable by everybody")
    refused("a new key for one", ["csr", "client", "other", "--key", "p256"], 1, "writable by everybody")
    refused("a pair for one", ["issue", "client", "another", "--key", "p256"], 1, "writable by everybody")
    os.chmod("pki/clients", 0o755)
    os.unlink("pki/clients/root.crt")
    os.rename("root.crt", "pki/clients/root.crt")
    os.mkdir("pki/clients/x.crt")
    refused("a directory where a certificate should go", made, 1, "x.crt")
    os.rmdir("pki/clients/x.crt")
    refused("existing files that differ", ["issue", "client", "root", "--org", "o"], 1, "1 difference")
    shutil.copy("pki/clients/root.crt", "pki/clients/x.crt")
    refused("a certificate without its key", made, 1, "its key clients/x.key is missing")
    os.rename("pki/clients/x.crt", "pki/clients/x.key")
    refused("a key without its certificate", made, 1, "x.crt: is missing although")
    os.unlink("pki/clients/x.key")
    os.chmod("pki", 0o777)
    refused("a directory that everybody may write to", made, 1, "writable by everybody")
    os.chmod("pki", 0o755)
    for limit in (0, 100, 300):  # bytes a file may have: as a disk that fills up
        refused("a disk that is full", made, 1, "File too large", limit=limit)
        if limit < 200:  # a list is that short
            refused("a disk that is full", ["crl"], 1, "File too large", limit=limit)
        refused("a disk that is full", ["check", "--prometheus", "x.prom", "-q"], 1, "File too large", limit=limit)
        refused("a disk that is full", ["csr", "client", "y"], 1, "File too large", limit=limit)
        refused("a disk that is full", ["rotate-ca", "prepare", "--key", "p256"], 1, "File too large", limit=limit)
        refused("a disk that is full", renewed, 1, "File too large", limit=limit)
    with open("/dev/full", "wb") as full:
        refused("output that cannot be written", ["show", "pki/etcd/ca.crt"], 1, "standard output", stdout=full)
    if os.getuid() == 0:
        real_disk(made, renewed)
        os.chmod("pki/etcd/ca.key", 0o600)
        for folder, kind in (("pki", "a directory of somebody else"),):
            refused(kind, made, 1, "Permission denied", nobody=True)
            refused(kind, renewed, 1, "", nobody=True)
        read_only(made, renewed)


def mounted(options, fill, use):
    """use() with `pki` on a small file system of its own; without the right to mount, nothing."""
    os.mkdir("small")
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", "small"], capture_output=True)
        if done.returncode != 0:
            print("no file system can be mounted here: the limit of a file's size stands for a full disk")
            return
        try:
            shutil.copytree("pki", "small/pki")
            os.rename("pki", "kept")
            os.symlink("small/pki", "pki")
            fill()
            use()
        finally:
            if os.path.islink("pki"):
                os.unlink("pki")
                os.rename("kept", "pki")
            subprocess.run(["umount", "small"], check=True)
    finally:
        os.rmdir("small")


def real_disk(made, renewed):
    def fill():
        for number in range(10000):
            try:
                with open(f"small/ballast{number}", "wb") as file:
                    file.write(b"x" * 4096)
            except OSError:
                return

    def use():
        for args in (made, ["crl"], ["csr", "client", "y"], renewed, ["rotate-ca", "prepare", "--key", "p256"], ["renew-ca"]):
            refused("a file system that is full", args, 1, "No space left on device")

    mounted("size=256k", fill, use)


def read_only(made, renewed):
    def fill():
        subprocess.run(["mount", "-o", "remount,ro", "small"], check=True)

    def use():
        for args in (made, ["crl"], ["csr", "client", "y"], renewed, ["rotate-ca", "prepare", "--key", "p256"], ["renew-ca"]):
            refused("a file system that is read-only", args, 1, "Read-only file system")

    mounted("size=1m", fill, use)


def passphrases():
    write("pass", "one\n")
    sh(f"{PKI} init --dir locked --key p256 -q --ca-passphrase-file pass")
    refused("a locked key without its passphrase", ["issue", "client", "x", "--dir", "locked"], 1, "is locked with a passphrase; give it with")
    write("pass", "two\n")
    refused("a wrong passphrase", ["issue", "client", "x", "--dir", "locked", "--ca-passphrase-file", "pass"], 1, "does not open this key")
    write("pass", "")
    refused("an empty passphrase", ["issue", "client", "x", "--dir", "locked", "--ca-passphrase-file", "pass"], 2, "is empty")
    refused("a descriptor that is not open", ["init", "--dir", "c", "--ca-passphrase-fd", "77"], 1, "Bad file descriptor")


def main():
    with tempfile.TemporaryDirectory(prefix="pki.") as work:
        os.chdir(work)
        os.chmod(work, 0o755)
        sh(f"for d in pki other; do {PKI} init --dir $d --key p256 -q; done; "
           f"for c in root other; do {PKI} issue client $c --key p256 -q --dir pki; done; "
           f"{PKI} csr client good --key p256 -q --dir csr; mv csr/clients/good.csr .; rm -r csr")
        for group in (files, dates_and_names_inside, authorities, requests_and_keys, words, lists_and_configurations, places, passphrases):
            group()
        os.chdir("/")
    print(f"{len(kinds)} kinds of bad input, {checks} checks, {len(failed)} failed")
    return len(failed) != 0


sys.exit(main())
