"""h2grpc.py - one gRPC call over a socket, read at whatever pace a test wants: HTTP/2 by hand.

Knows just enough: headers as literals without compression, DATA, windows. The head of an answer is
not decoded; its trailers are searched for a status that the server wrote without Huffman coding or
from its table, so a call is judged by its messages.
"""
import socket, struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WINDOW_MAX = 2**31 - 1


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, data):
    """A protobuf field of bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def number(number, value):
    return varint(number << 3) + varint(value)


def fields(data):
    """(number, value) of each field of a message; value is a memoryview or an int."""
    view, at = memoryview(data), 0

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte = view[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(view):
        tag = take()
        if tag & 7 == 0:
            yield tag >> 3, take()
        else:
            assert tag & 7 == 2, f"wire type {tag & 7}"
            size = take()
            yield tag >> 3, view[at:at + size]
            at += size


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    assert len(name) < 127 and len(value) < 127
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


class Call:
    """A unary request whose answer, one message or many, is read by and by."""

    def __init__(self, port, path, message, window=WINDOW_MAX):
        self.window, self.unacknowledged = window, 0
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        head = b"".join(literal(name, value) for name, value in (
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"test"),
            (b"content-type", b"application/grpc"), (b"te", b"trailers")))
        body = b"\0" + len(message).to_bytes(4, "big") + message
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
                            frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window)) +
                            (frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", window - 65535)) if window > 65535 else b"") +
                            frame(HEADERS, END_HEADERS, 1, head) + frame(DATA, END_STREAM, 1, body))
        self.input, self.ended = bytearray(), False

    def frames(self):
        """(kind, flags, payload) until the stream ends."""
        view = self.input
        while not self.ended:
            while len(view) < 9 or len(view) < 9 + int.from_bytes(view[:3], "big"):
                got = self.socket.recv(1 << 20)
                assert got, "the server closed the connection"
                view += got
            at = 0
            while len(view) - at >= 9:
                size = int.from_bytes(view[at:at + 3], "big")
                if len(view) - at - 9 < size:
                    break
                kind, flags = view[at + 3], view[at + 4]
                payload = bytes(view[at + 9:at + 9 + size])
                at += 9 + size
                self.take(kind, flags, payload)
                yield kind, flags, payload
                if self.ended:
                    break
            del view[:at]

    def take(self, kind, flags, payload):
        if kind == SETTINGS and not flags & ACK:
            self.socket.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, 0, payload))
        elif kind == DATA:
            self.unacknowledged += len(payload)
            if self.unacknowledged >= self.window // 2:
                update = struct.pack(">I", self.unacknowledged)
                self.socket.sendall(frame(WINDOW_UPDATE, 0, 0, update) + frame(WINDOW_UPDATE, 0, 1, update))
                self.unacknowledged = 0
        if kind in (RST_STREAM, GOAWAY):
            raise AssertionError(f"frame {kind}: {payload!r}")
        self.ended = kind in (DATA, HEADERS) and bool(flags & END_STREAM)

    def messages(self, each_frame=lambda received: None):
        """Whole messages; each_frame(bytes so far) is called for every DATA frame: to wait, say."""
        part, received = bytearray(), 0
        for kind, _, payload in self.frames():
            if kind != DATA:
                continue
            part += payload
            received += len(payload)
            each_frame(received)
            while len(part) >= 5 and len(part) >= 5 + int.from_bytes(part[1:5], "big"):
                size = int.from_bytes(part[1:5], "big")
                message = bytes(memoryview(part)[5:5 + size])
                del part[:5 + size]
                yield message
        assert not part, "half a message"
        self.socket.close()
