#!/usr/bin/env python3
"""snapshot_server.py FILE WAY - answers one POST of /v3/maintenance/snapshot with FILE, then ends.

Prints its port first. WAY is how: `octets` (bare bytes, if the client takes them), `chunked` (the same without a
length), `cut` (the connection ends early), `short` (a chunked answer that ends early, but properly), `wrong` (a bit
of the content has changed), `json` (base64 in lines, as etcd does, whatever the client takes).
"""
import base64, json, socket, sys

path, way = sys.argv[1:]
with open(path, "rb") as file:
    data = bytearray(file.read())
if way == "wrong":
    data[5000] ^= 1
server = socket.create_server(("127.0.0.1", 0))
server.settimeout(20)
print(server.getsockname()[1], flush=True)
link, _ = server.accept()
link.settimeout(20)
request = b""
while b"\r\n\r\n" not in request:
    request += link.recv(65536)
accepts = b"accept: application/octet-stream, application/json" in request.lower()
if way == "json":
    pieces, kind = [], "application/json"
    for at in range(0, len(data), 32768):
        piece = data[at : at + 32768]
        result = {"remaining_bytes": str(max(len(data) - 32 - at - len(piece), 0)),
                  "blob": base64.b64encode(piece).decode()}
        pieces.append(json.dumps({"result": result}).encode() + b"\n")
else:
    assert accepts, request
    pieces, kind = [bytes(data[at : at + 10000]) for at in range(0, len(data), 10000)], "application/octet-stream"
if way in ("cut", "short"):
    pieces = pieces[:-3]
chunked = way in ("chunked", "short", "json")
link.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n".encode()
             + (b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(data)) + b"\r\n\r\n")
for piece in pieces:
    link.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
if chunked:
    link.sendall(b"0\r\n\r\n")
link.close()
