"""A server that takes every PUT and keeps nothing, as cheaply as one can: `python -m benchmarks.discard_server`.

Prints its port and serves on loopback until it is killed. Bodies are thrown away inside the kernel (tcp(7), MSG_TRUNC),
so that what is measured is the sender. It answers as much of S3 as is needed to upload in parts: begin, part, complete
and HEAD. A body in chunks it refuses, as Amazon S3 does, unless the path is below `/streamed`. `GET /total` tells how
many bytes have come in bodies of PUT requests.
"""

import base64
import socket
import threading
from typing import NamedTuple

HOST = "127.0.0.1"
BUFFER_BYTES = 4 << 20
MAX_HEAD_BYTES = 64 << 10
LISTEN_BACKLOG = 128
STREAMED = "/streamed"
ETAG = "0" * 32
_STORED = f'ETag: "{ETAG}-1"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n'
_XML = '<?xml version="1.0" encoding="UTF-8"?><{0} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{1}</{0}>'


class Request(NamedTuple):
    method: str
    path: str
    query: str
    headers: dict[str, str]


class Tally:
    """What has come so far, over all connections."""

    def __init__(self) -> None:
        self.total_bytes = 0
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()

    def begin(self, path: str) -> None:
        with self._lock:
            self._sizes[path] = 0

    def add(self, request: Request, size_bytes: int) -> None:
        with self._lock:
            self.total_bytes += size_bytes
            before = self._sizes.get(request.path, 0) if request.query else 0
            self._sizes[request.path] = before + size_bytes

    def size(self, path: str) -> int:
        return self._sizes.get(path, 0)


class Conversation:
    """One connection, from its first request to its end."""

    def __init__(self, connection: socket.socket, tally: Tally) -> None:
        self._connection = connection
        self._tally = tally
        self._buffer = bytearray(BUFFER_BYTES)
        self._ahead = b""

    def run(self) -> None:
        with self._connection:
            try:
                while (request := self._request()) is not None and self._answer(request):
                    pass
            except (OSError, ValueError):
                pass  # the sender went away, or speaks something else

    def _request(self) -> Request | None:
        while b"\r\n\r\n" not in self._ahead:
            more = self._connection.recv(MAX_HEAD_BYTES)
            if not more or len(self._ahead) > MAX_HEAD_BYTES:
                return None
            self._ahead += more
        head, _, self._ahead = self._ahead.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        path, _, query = target.partition("?")
        return Request(method, path, query, headers)

    def _answer(self, request: Request) -> bool:
        """Whether another request may follow."""
        is_chunked = "transfer-encoding" in request.headers
        has_length = "content-length" in request.headers and not is_chunked
        if is_chunked and request.path.startswith(STREAMED):
            self._tally.add(request, self._discard_chunks())
            self._send("200 OK")
            return True
        if request.method in {"PUT", "POST"} and not has_length:
            self._send("411 Length Required", close=True)
            return False
        if request.headers.get("expect", "").lower() == "100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        size_bytes = int(request.headers.get("content-length", "0"))
        self._discard(size_bytes)
        match request.method:
            case "PUT":
                self._tally.add(request, size_bytes)
                self._send("200 OK", f'ETag: "{_etag(request)}"\r\n')
            case "POST":
                self._send("200 OK", body=self._multipart(request))
            case "HEAD":
                self._send("200 OK", _STORED, length=self._tally.size(request.path))
            case "GET" if request.path == "/total":
                self._send("200 OK", body=str(self._tally.total_bytes))
            case _:
                self._send("404 Not Found")
        return True

    def _multipart(self, request: Request) -> str:
        key = request.path.rpartition("/")[2]
        if request.query.startswith("uploads"):
            self._tally.begin(request.path)
            return _XML.format("InitiateMultipartUploadResult", f"<Key>{key}</Key><UploadId>upload</UploadId>")
        return _XML.format("CompleteMultipartUploadResult", f'<Key>{key}</Key><ETag>"{ETAG}-1"</ETag>')

    def _discard(self, size_bytes: int) -> None:
        left = size_bytes - len(self._ahead)
        self._ahead = self._ahead[size_bytes:]
        while left > 0:
            got = self._connection.recv_into(self._buffer, min(left, BUFFER_BYTES), socket.MSG_TRUNC)
            if not got:
                raise ConnectionResetError
            left -= got

    def _discard_chunks(self) -> int:
        """How many bytes they had."""
        total = 0
        while True:
            while b"\r\n" not in self._ahead:
                self._ahead += self._more()
            line, _, self._ahead = self._ahead.partition(b"\r\n")
            size_bytes = int(line, 16)
            self._discard(size_bytes)
            while len(self._ahead) < 2:
                self._ahead += self._more()
            self._ahead = self._ahead[2:]
            if not size_bytes:
                return total
            total += size_bytes

    def _more(self) -> bytes:
        if more := self._connection.recv(MAX_HEAD_BYTES):
            return more
        raise ConnectionResetError

    def _send(self, status: str, headers: str = "", *, body: str = "", length: int = 0, close: bool = False) -> None:
        headers += "Connection: close\r\n" if close else ""
        head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {length or len(body)}\r\n\r\n"
        self._connection.sendall((head + body).encode("ascii"))


def _etag(request: Request) -> str:
    """As S3 has it for a plain PUT: the MD5 in hexadecimal, which is taken from who sends it."""
    return base64.b64decode(request.headers.get("content-md5", "")).hex() or ETAG


def main() -> None:
    tally = Tally()
    with socket.create_server((HOST, 0), backlog=LISTEN_BACKLOG) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=Conversation(connection, tally).run, daemon=True).start()


if __name__ == "__main__":
    main()
