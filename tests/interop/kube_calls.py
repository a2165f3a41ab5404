#!/usr/bin/env python3
"""kube_calls.py ETCD_BIN BIN - kube_interop.py against a real etcd too: what it wants is what etcd answers."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
from suite import Server, temporary  # noqa: E402

PYTHON = "/usr/bin/python3"  # Debian modules are those of Debian's Python
if subprocess.run([PYTHON, "-c", "import grpc"], capture_output=True).returncode != 0:
    print("LEFT OUT: the calls of a kube-apiserver against a real etcd; they need the Debian package python3-grpcio")
    sys.exit(0)
with temporary("kube-calls") as root:
    theirs = Server(os.path.join(os.path.abspath(sys.argv[1]), "etcd"), root, "theirs").start()
    ours = Server(os.path.join(os.path.abspath(sys.argv[2]), "etcd-server"), root, "ours").start()
    address = lambda server: "127.0.0.1:%d" % server.port
    done = subprocess.run([PYTHON, os.path.join(HERE, "kube_interop.py"), address(theirs)], timeout=120,
                          env={**os.environ, "SCHEMA_FROM": address(ours)})
    theirs.stop()
    ours.stop()
sys.exit(done.returncode)
