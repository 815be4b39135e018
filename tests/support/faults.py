"""A reverse proxy between the plugin and the API server, with the faults that a test composes.

A fault is a `Happening` and the requests that it happens to; what was injected, and what was answered, can be counted.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from urllib.parse import urlencode

import yaml
from urllib3 import BaseHTTPResponse

from tests.support.api_server import Answer, ApiServer, Request, status
from tests.support.control_plane import ControlPlane

Forward = Callable[[], Answer]
"""Has the API server carry the request out, and gives its answer."""
Happening = Callable[[Request, Forward], Answer]
"""What becomes of a request: an answer, or a ConnectionError that resets the connection."""

SILENT_SECONDS = 6.0
"""How long a silent connection is kept before it is reset: more than a test lets the plugin wait."""
_PASSED_ON = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_PASSED_BACK = ("Content-Type", "Content-Encoding", "Retry-After", "Warning")


@dataclass
class Fault:
    """`happening` to those requests that are `chosen`, without the first `skipped` of them: to all, or to `times`."""

    happening: Happening
    chosen: Callable[[Request], bool]
    times: int | None = None
    skipped: int = 0
    seen: int = 0

    def takes(self, request: Request) -> bool:
        """Whether it happens to the request, which counts from now on."""
        if not self.chosen(request):
            return False
        self.seen += 1
        return self.skipped < self.seen <= self.skipped + (self.seen if self.times is None else self.times)

    @property
    def injected(self) -> int:
        """How often it has happened."""
        after = max(0, self.seen - self.skipped)
        return after if self.times is None else min(after, self.times)


class FaultyProxy(ApiServer):
    """Passes requests on to the API server as administrator, and answers back; a fault may come between."""

    def __init__(self, control_plane: ControlPlane) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(control_plane.folder / "server.pem")
        super().__init__(tls)
        self._kubeconfig = control_plane.kubeconfig
        self._upstream = control_plane.pool()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.statuses: list[tuple[Request, int]] = []
        """The requests that got an answer, and its status."""

    def inject(self, happening: Happening, chosen: Callable[[Request], bool], **how: int) -> Fault:
        """Have a fault from now on; of several that take a request, the first does."""
        fault = Fault(happening, chosen, **how)
        self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Pass on everything, and forget what was seen."""
        with self._lock:
            self._faults.clear()
            self.requests.clear()
            self.statuses.clear()

    def count(self, status: int) -> int:
        """How many requests got this answer."""
        return sum(found == status for _, found in self.statuses)

    def kubeconfig(self, folder: Path) -> Path:
        """The administrator's kubeconfig with this proxy as the server."""
        config = yaml.safe_load(self._kubeconfig.read_text("utf-8"))
        config["clusters"][0]["cluster"]["server"] = self.url
        path = folder / "faulty.kubeconfig"
        path.write_text(yaml.safe_dump(config), "utf-8")
        return path

    def respond(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            fault = next((found for found in self._faults if found.takes(request)), None)
        forward = partial(self._forward, request)
        answer = fault.happening(request, forward) if fault else forward()
        self.statuses.append((request, answer.status))
        return answer

    def _forward(self, request: Request) -> Answer:
        url = request.path + (f"?{urlencode(request.query)}" if request.query else "")
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        body = json.dumps(request.body) if request.body else None
        response = self._upstream.request(request.method, url, body=body, headers=headers, preload_content=False)
        kept = {name: response.headers[name] for name in _PASSED_BACK if name in response.headers}
        streams = watches(request) and response.status == HTTPStatus.OK
        data = _stream(response) if streams else response.read(decode_content=False)
        return Answer(data, response.status, kept)


def _stream(response: BaseHTTPResponse) -> Iterator[bytes]:
    with closing(response):
        yield from iter(partial(response.read1, decode_content=False), b"")


# Which requests


def watches(request: Request) -> bool:
    return request.query.get("watch") == "1"


def reads(request: Request) -> bool:
    """A GET that is no watch."""
    return request.method == "GET" and not watches(request)


def goes_on(request: Request) -> bool:
    """The next page of a list."""
    return "continue" in request.query


def writes(request: Request) -> bool:
    """What is stored, unlike a dry run."""
    return request.method == "PATCH" and "dryRun" not in request.query


def tries(request: Request) -> bool:
    """A create that nothing is kept of."""
    return request.method == "POST"


# What happens to them


def reset(request: Request, forward: Forward) -> Answer:
    raise ConnectionResetError


def reset_after(request: Request, forward: Forward) -> Answer:
    """Carry it out, and reset the connection instead of an answer."""
    forward()
    raise ConnectionResetError


def answered(answer: Answer) -> Happening:
    """Give this answer; the API server never sees the request."""
    return lambda request, forward: answer


def answered_after(answer: Answer) -> Happening:
    """Have it carried out, and give this answer."""

    def happening(request: Request, forward: Forward) -> Answer:
        forward()
        return answer

    return happening


def slow(request: Request, forward: Forward) -> Answer:
    """The body comes in pieces, with pauses."""
    whole = forward()
    size = len(whole.body) // 4 + 1

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(whole.body), size):
            time.sleep(0.01)
            yield whole.body[start : start + size]

    return replace(whole, body=pieces())


def truncated(request: Request, forward: Forward) -> Answer:
    """The second half of the body is missing, and the connection ends."""
    whole = forward()
    half = len(whole.body) // 2
    return replace(whole, body=whole.body[:half], cut=len(whole.body) - half)


def silent(request: Request, forward: Forward) -> Answer:
    """Not one byte comes back."""
    time.sleep(SILENT_SECONDS)
    raise ConnectionResetError


def stalled(request: Request, forward: Forward) -> Answer:
    """A stream begins as it should, brings what comes at once, and then nothing any more."""
    answer = forward()

    def pieces() -> Iterator[bytes]:
        yield from islice(answer.body, 1)
        time.sleep(SILENT_SECONDS)
        raise ConnectionResetError

    return replace(answer, body=pieces())


def broken_off(request: Request, forward: Forward) -> Answer:
    """A stream ends in the middle of its first event."""
    answer = forward()
    return replace(answer, body=(chunk[: len(chunk) // 2] for chunk in islice(answer.body, 1)), cut=1)


def overtaken(write: Callable[[], object]) -> Happening:
    """Somebody else writes just before the request arrives."""

    def happening(request: Request, forward: Forward) -> Answer:
        write()
        return forward()

    return happening


def paged(limit: int) -> Happening:
    """The server has smaller pages than it was asked for."""

    def happening(request: Request, forward: Forward) -> Answer:
        if "limit" in request.query:
            request.query["limit"] = str(limit)
        return forward()

    return happening


def expired(request: Request, forward: Forward) -> Answer:
    """The continue token has been compacted away; the server's new one goes on with what is there now."""
    token = request.query["continue"]
    known = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    anew = base64.urlsafe_b64encode(json.dumps(known | {"rv": -1}).encode()).decode().rstrip("=")
    return status(410, "Expired", "The provided continue parameter is too old", metadata={"continue": anew})


BUSY = Answer(b"Too many requests, please try again later.\n", 429, {"Content-Type": "text/plain", "Retry-After": "0"})
BROKEN = status(500, "InternalError", "Internal error occurred: etcdserver: request timed out")
AWAY = Answer(b"<html>503 Service Temporarily Unavailable</html>", 503, {"Content-Type": "text/html"})
LATE = status(504, "Timeout", "Timeout: request did not complete within requested timeout - context deadline exceeded")
CONFLICT = status(409, "Conflict", "Operation cannot be fulfilled: the object has been modified")
GONE = status(410, "Expired", "The provided continue parameter is too old to display a consistent list result")
