"""clients.py - what the clients' scripts share: where the server is (HOST:PORT [CA CERT KEY]), and checks."""
import sys

sys.dont_write_bytecode = True
HOST, PORT = sys.argv[1].rsplit(":", 1)
PORT = int(PORT)
TLS = dict(zip(("ca", "cert", "key"), sys.argv[2:5]))
count = 0


def check(good, what):
    global count
    count += 1
    if not good:
        print("FAIL", what)
        sys.exit(1)


def done():
    print("%s: %d checks passed%s" % (sys.argv[0].split("/")[-1], count, " (TLS)" if TLS else ""))


def channel():
    import grpc
    if not TLS:
        return grpc.insecure_channel("%s:%d" % (HOST, PORT))
    read = lambda name: open(TLS[name], "rb").read()
    return grpc.secure_channel("%s:%d" % (HOST, PORT), grpc.ssl_channel_credentials(read("ca"), read("key"), read("cert")))
