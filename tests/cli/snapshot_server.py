#!/usr/bin/env python3
"""snapshot_server.py FILE WAY - answers one POST of /v3/maintenance/snapshot with FILE, then ends.

Prints its port first. WAY is how: `octets` (bare bytes, if the client takes them), `chunked` (the same without a
length), `digest` (so, and behind it their CRC-32C in a trailer), `odd` (another one), `unasked` (a wrong one that was not announced), `bare` (announced, but taken
away), `changed` (the bytes are not those of the CRC), `swapped` (changed and bare), `cut` (the connection ends early), `short` (a chunked answer that ends early, but properly), `wrong` (a bit
of the content has changed), `stall` (half of it, then nothing until the client goes), `json` (base64 in lines, as etcd does, whatever the client takes).
"""
import base64, json, socket, sys

path, way = sys.argv[1:]
with open(path, "rb") as file:
    data = bytearray(file.read())
def crc32c(content):
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


digest = crc32c(data)
if way in ("wrong", "changed", "swapped"):
    data[5000] ^= 1
server = socket.create_server(("127.0.0.1", 0))
server.settimeout(20)
print(server.getsockname()[1], flush=True)
link, _ = server.accept()
link.settimeout(20)
request = b""
while b"\r\n\r\n" not in request:
    came = link.recv(65536)
    if not came:
        sys.exit("the client went away before it asked")
    request += came
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
if way in ("cut", "short", "stall"):
    pieces = pieces[:-3]
digested = way in ("unasked", "digest", "odd", "bare", "changed", "swapped")
chunked = way in ("chunked", "short", "json") or digested
link.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n".encode()
             + (b"Trailer: %s\r\nSnapshot-Length: %d\r\n"
             % (b"X-Other" if way == "unasked" else b"X-Other, content-Digest , X-More", len(data)) if digested else b"")
             + (b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(data)) + b"\r\n\r\n")
for piece in pieces:
    link.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
if way == "stall":
    link.recv(1)
if chunked:
    link.sendall(b"0\r\n")
    if way in ("digest", "changed"):
        link.sendall(b"content-digest: crc32c=:%s:\r\n" % base64.b64encode(digest.to_bytes(4, "big")))
    if way == "unasked":
        link.sendall(b"content-digest: crc32c=:AAAAAA==:\r\n")
    if way == "odd":
        link.sendall(b"content-digest: crc32c=:!!!!!!!!:\r\n")
    link.sendall(b"\r\n")
link.close()
