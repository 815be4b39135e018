"""A loopback HTTP(S) server that answers what a test tells it to, and a kubeconfig for it."""

from __future__ import annotations

import base64
import json
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from socket import inet_ntoa
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import yaml


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: Any


@dataclass(frozen=True)
class Answer:
    """`body` is sent as JSON unless it is bytes; `cut` announces that many bytes more than are sent.

    An iterator of bytes is sent chunk by chunk: `cut` leaves out their end, a ConnectionError resets the connection.
    """

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    cut: int = 0


Responder = Callable[[Request], Answer]


class ApiServer:
    """Answers each path with the next of its answers, the last one again and again; a ConnectionError resets."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self._answers: dict[str, list[Answer | Responder]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self.server.server_address[1]
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # clients that hang up are part of the tests
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def answer(self, path: str, *answers: Answer | Responder) -> None:
        self._answers[path] = list(answers)

    def respond(self, request: Request) -> Answer:
        self.requests.append(request)
        answers = self._answers.get(request.path)
        if not answers:
            return Answer(b"404 page not found\n", 404, {"Content-Type": "text/plain"})
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer(request) if callable(answer) else answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        respond = self.respond

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                split = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                query = dict(parse_qsl(split.query, keep_blank_values=True))
                try:
                    self.send(respond(Request(self.command, split.path, query, self.headers, body)))
                except ConnectionError:
                    self.close_connection = True
                    _reset(self.connection)

            do_PATCH = do_POST = do_DELETE = do_GET  # noqa: N815 - http.server's names

            def send(self, answer: Answer) -> None:
                if isinstance(answer.body, Iterator):
                    self.head(answer, {"Transfer-Encoding": "chunked", "Connection": "close"})
                    self.close_connection = True
                    _stream(self.wfile, answer.body, complete=not answer.cut)
                else:
                    data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                    self.head(answer, {"Content-Length": str(len(data) + answer.cut)})
                    self.wfile.write(data)
                    self.close_connection = bool(answer.cut)

            def head(self, answer: Answer, framing: Mapping[str, str]) -> None:
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **framing, **answer.headers}.items():
                    self.send_header(name, value)
                for text in answer.warnings:
                    self.send_header("Warning", text)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _stream(sink: BufferedIOBase, chunks: Iterator[bytes], *, complete: bool) -> None:
    sink.writelines(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    sink.write(b"0\r\n\r\n" if complete else b"")


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(connection.detach())


class Proxy:
    """An HTTP proxy that takes every CONNECT to one port on loopback, or refuses it with `status`."""

    def __init__(self, port: int, status: int = 200) -> None:
        self.asked: list[tuple[str, str | None]] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_CONNECT(self) -> None:
                asked.append((self.path, self.headers.get("Proxy-Authorization")))
                self.send_response(status)
                self.end_headers()
                if status == 200:
                    with socket.create_connection(("127.0.0.1", port), 5) as upstream:
                        _relay(self.connection, upstream)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"


class SocksProxy:
    """A SOCKS5 proxy (RFC 1928) that takes every CONNECT to one port on loopback."""

    def __init__(self, port: int) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(StreamRequestHandler):
            timeout = 10

            def handle(self) -> None:
                _, methods = self.rfile.read(2)
                self.rfile.read(methods)
                self.wfile.write(b"\x05\x00")
                *_, kind = self.rfile.read(4)
                host = self.rfile.read(self.rfile.read(1)[0]).decode() if kind == 3 else inet_ntoa(self.rfile.read(4))
                asked.append(f"{host}:{int.from_bytes(self.rfile.read(2), 'big')}")
                self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
                with socket.create_connection(("127.0.0.1", port), 5) as upstream:
                    _relay(self.connection, upstream)

        self.server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"


Loopback = TypeVar("Loopback", ApiServer, Proxy, SocksProxy)


@contextmanager
def running(loopback: Loopback) -> Iterator[Loopback]:
    """Serve while the block runs."""
    threading.Thread(target=loopback.server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield loopback
    finally:
        loopback.server.shutdown()
        loopback.server.server_close()


def _relay(left: socket.socket, right: socket.socket) -> None:
    other = {left: right, right: left}
    while True:
        for source in select.select(list(other), [], [], 10)[0]:
            data = source.recv(65536)
            if not data:
                return
            other[source].sendall(data)


def status(code: int, reason: str, message: str, **more: Any) -> Answer:
    """A `Status` object as an API server sends it with a failure."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }
    return Answer(body | more, code)


def kubeconfig(
    folder: Path,
    server: str,
    user: Mapping[str, Any] | None = None,
    cluster: Mapping[str, Any] | None = None,
    namespace: str = "",
) -> str:
    """A kubeconfig file with the context `test` of the user `ann`."""
    config = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "here", "user": "ann", "namespace": namespace}}],
        "clusters": [{"name": "here", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "ann", "user": dict(user or {})}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config), "utf-8")
    return str(path)


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()
