"""Keeping objects in view over an API server: a list, then watch after watch, whatever happens on the way.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from http import HTTPStatus

from urllib3 import BaseHTTPResponse

from kubectl_fsm import fields
from kubectl_fsm.cluster.failures import Call
from kubectl_fsm.cluster.interface import PAGE, Resource, View
from kubectl_fsm.errors import ApiError, Unreachable
from kubectl_fsm.fields import Object

PATIENCE = 120.0
"""Seconds without a success after which a failure is raised; an API server is replaced in less."""
WATCH_SECONDS, SILENT_SECONDS = 50, 55.0
"""After how long the server is to end a watch, and after how much silence a connection counts as dead."""
SHORT_SECONDS = 1.0
"""A watch that brings nothing and ends sooner is none: something on the way may not let streams through."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds before another attempt, twice as many after each that fails, less up to half of them by chance."""
TICK_SECONDS, END_SECONDS = 1.0, 1.0
"""How long `observe` waits for a change, and at its end for the threads."""

_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GONE, HTTPStatus.TOO_MANY_REQUESTS)
"""Answers, beside the server's own failures, after which another attempt makes sense."""


def observe(sources: Sequence[Source]) -> Generator[Sequence[Sequence[Object]], None, None]:
    """As `Cluster.observe` says. What happens while the caller is busy is told as one change."""
    news = threading.Condition()
    watches = [_Watch(source, news) for source in sources]
    try:
        for watch in watches:
            watch.start()
        while True:
            with news:
                news.wait_for(lambda: any(watch.changed for watch in watches), TICK_SECONDS)
                for watch in watches:
                    watch.changed = False
                    if watch.error:
                        raise watch.error
                listed = all(watch.contents.listed for watch in watches)
                states = [watch.contents.objects for watch in watches]
            if listed:
                yield states
    finally:
        deadline = time.monotonic() + END_SECONDS
        for watch in watches:
            watch.end()
        for watch in watches:
            watch.join(max(0, deadline - time.monotonic()))


class Contents:
    """The objects of a view, and the `version` of the collection from which a watch goes on; empty to list (again)."""

    def __init__(self, resource: Resource) -> None:
        self._type = {"apiVersion": resource.api_version, "kind": resource.kind}
        self._objects: dict[tuple[str, str], Object] = {}
        self.listed = False
        self.version = ""

    @property
    def objects(self) -> Sequence[Object]:
        """In the order of namespaces and names, in which the server lists them as well."""
        return [self._objects[key] for key in sorted(self._objects)]

    def replace(self, items: Iterable[Object], version: str) -> None:
        """Take over a list: what is not in it is gone."""
        self._objects = {_key(item): {**self._type, **item} for item in items}
        self.listed, self.version = True, version

    def apply(self, event: Object) -> bool:
        """Take over an event of a watch; false where it leaves the objects as they are.

        With ERROR the server says that it cannot go on, mostly since it has forgotten the version (410).
        """
        kind, obj = fields.text(event, "type"), fields.mapping(event, "object")
        if kind == "ERROR":
            self.version = ""
        elif kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
            self.version = fields.text(obj, "metadata", "resourceVersion") or self.version
        if kind in ("ADDED", "MODIFIED"):
            self._objects[_key(obj)] = {**self._type, **obj}
        elif kind == "DELETED":
            self._objects.pop(_key(obj), None)
        return kind in ("ADDED", "MODIFIED", "DELETED")


class Source:
    """The lists and watches of a view, as requests.

    `opened` is the answer to a GET with a query, whose body the block reads; where the seconds of silence that it may
    keep are given, it is a stream. `decoded` is the object in a body, or raises the failure that the answer is.
    `retry_after` is how many seconds the last answer asks to wait.
    """

    def __init__(
        self,
        view: View,
        opened: Callable[[Mapping[str, str], float | None], AbstractContextManager[BaseHTTPResponse]],
        decoded: Callable[[BaseHTTPResponse, bytes, Call], Object],
    ) -> None:
        self.view = view
        self.retry_after = 0.0
        self._opened = opened
        self._decoded = decoded

    def listed(self) -> tuple[Sequence[Object], str]:
        """All objects and the version of the collection. Pages are of one version: what expires is to be listed anew."""
        items: list[Object] = []
        query = {"limit": str(PAGE)}
        while True:
            with self._asked("list", query) as (response, decoded):
                page = decoded(response.data)
            items += fields.items(page, "items")
            query["continue"] = fields.text(page, "metadata", "continue")
            if not query["continue"]:
                return items, fields.text(page, "metadata", "resourceVersion")

    @contextmanager
    def watched(self, version: str) -> Iterator[tuple[BaseHTTPResponse, Iterator[Object]]]:
        """The stream of a watch, and the events that it brings."""
        query = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        with self._asked("watch", {**query, "resourceVersion": version}, SILENT_SECONDS) as (stream, decoded):
            yield stream, map(decoded, lines(iter(stream.read1, b"")))

    @contextmanager
    def _asked(
        self, verb: str, query: Mapping[str, str], silence: float | None = None
    ) -> Iterator[tuple[BaseHTTPResponse, Callable[[bytes], Object]]]:
        """The answer to a request, and what decodes its body. Raises the failure that it may be."""
        resource, namespace, selector, name = self.view
        quoted = re.sub(r"[\\,=]", r"\\\g<0>", name)
        chosen = {"labelSelector": selector, "fieldSelector": f"metadata.name={quoted}" if name else ""}
        call = Call(verb, resource.qualified, name, namespace)
        self.retry_after = 0.0
        with self._opened({**chosen, **query}, silence) as response:
            if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                seconds = response.headers.get("Retry-After", "")
                self.retry_after = float(seconds) if re.fullmatch("[0-9]{1,2}", seconds) else 0.0
                self._decoded(response, response.data, call)
            yield response, lambda data: self._decoded(response, data, call)


class _Watch(threading.Thread):
    """Keeps a view. `contents`, `changed` and `error` are for `observe`, which looks at them while it holds `news`."""

    def __init__(self, source: Source, news: threading.Condition) -> None:
        super().__init__(daemon=True)
        self.contents = Contents(source.view.resource)
        self.changed = False
        self.error: BaseException | None = None
        self._source = source
        self._news = news
        self._ended = threading.Event()
        self._stream: BaseHTTPResponse | None = None
        self._succeeded = time.monotonic()
        self._pause = FIRST_PAUSE

    def run(self) -> None:
        try:
            while not self._ended.is_set():
                if not self._go_on():
                    pause = random.uniform(self._pause / 2, self._pause)  # noqa: S311 - jitter
                    self._ended.wait(max(pause, self._source.retry_after))
                    self._pause = min(self._pause * 2, LONGEST_PAUSE)
        except BaseException as error:  # noqa: BLE001 - `observe` raises it
            with self._news:
                self.error = error
                self._tell()

    def end(self) -> None:
        """Let the thread end: at once where it waits for events or pauses, else after the answer that it waits for."""
        self._ended.set()
        with self._news:
            self._cut_off()

    def _go_on(self) -> bool:
        """Watch until that ends, or list where that is needed; false for a failure. Raises one that will not pass."""
        try:
            if self.contents.version:
                self._watch()
            else:
                self._list()
        except (ApiError, Unreachable) as error:
            status = error.status if isinstance(error, ApiError) else HTTPStatus.SERVICE_UNAVAILABLE
            passes = status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR
            if not passes or time.monotonic() - self._succeeded > PATIENCE:
                raise
            if status == HTTPStatus.GONE:
                self.contents.version = ""
            return False
        return bool(self.contents.version)

    def _list(self) -> None:
        items, version = self._source.listed()
        with self._news:
            self.contents.replace(items, version)
            self._tell()
        self._succeeded = time.monotonic()

    def _watch(self) -> None:
        with self._source.watched(self.contents.version) as (stream, events), self._reading(stream):
            for event in events:
                with self._news:
                    if self.contents.apply(event):
                        self._tell()
                if not self.contents.version:
                    return

    @contextmanager
    def _reading(self, stream: BaseHTTPResponse) -> Iterator[None]:
        """While the block runs, `end` can cut the stream off. A watch that brought nothing has to last and to end well."""
        begun, before, ended_well = time.monotonic(), self.contents.version, False
        with self._news:
            self._stream = stream
            self._cut_off()
        try:
            yield
            ended_well = time.monotonic() - begun >= SHORT_SECONDS
        finally:
            with self._news:
                self._stream = None
            if self.contents.version == before and not ended_well:
                self.contents.version = ""
            if self.contents.version:
                self._succeeded, self._pause = time.monotonic(), FIRST_PAUSE

    def _cut_off(self) -> None:
        if self._stream and self._ended.is_set():
            with suppress(OSError, RuntimeError, ValueError):  # it may have come to its end just now
                self._stream.shutdown()

    def _tell(self) -> None:
        self.changed = True
        self._news.notify()


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream, whatever pieces it comes in; without the last one where that has no end."""
    parts: list[bytes] = []
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join([*parts, line])
            parts.clear()
        parts.append(rest)


def _key(obj: Object) -> tuple[str, str]:
    return fields.namespace(obj), fields.name(obj)
