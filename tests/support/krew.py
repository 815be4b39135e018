"""krew, built from its sources at a pinned version, in a folder of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from tests.tools import build

_MODULE = Path(build.__file__).parent / "krew"


def programs() -> Path | None:
    """The folder of `krew` and `validate-krew-manifest`, built first where they are not in the cache; None without Go.

    `build.MODULES` leaves them out: a control plane needs no krew, and a change of that file builds all its programs anew.
    """
    environment = dict(os.environ)
    if not build.bin_dirs(environment):
        return None
    go = ["go", "env", "GOVERSION"]
    version = subprocess.run(go, env=build.go_environment(environment), check=True, capture_output=True).stdout
    digest = hashlib.sha256(version + b"".join((_MODULE / f"go.{name}").read_bytes() for name in ("mod", "sum")))
    target = build.cache(environment) / f"krew-{digest.hexdigest()[:16]}" / "bin"
    if not target.is_dir():
        build.build(_MODULE, target, environment)
    return target


class Krew:
    """krew as `kubectl krew`, with a root below `folder`, and Git that knows no settings of anybody's."""

    def __init__(self, folder: Path, programs: Path, environment: Mapping[str, str]) -> None:
        self.root = folder / "krew"
        self.transcript: list[str] = []
        tools = folder / "bin"
        tools.mkdir()
        (tools / "kubectl-krew").symlink_to(programs / "krew")
        self._folder = folder
        self.environment = {
            **environment,
            "PATH": os.pathsep.join([str(self.root / "bin"), str(tools), environment["PATH"]]),
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "KREW_ROOT": str(self.root),
            "KREW_NO_UPGRADE_CHECK": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            **{f"GIT_{who}_{what}": "x@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }

    def kubectl(self, *args: str, code: int = 0) -> str:
        """What kubectl writes, of which `code` is expected; kept in the transcript."""
        done = subprocess.run(
            ["kubectl", *args],
            env=self.environment,
            cwd=self._folder,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        self.transcript.append(f"$ kubectl {' '.join(args)}\n{done.stdout}")
        assert done.returncode == code, self.transcript[-1]
        return done.stdout

    def index(self, name: str) -> Index:
        return Index(self._folder / name, self.environment)


class Index:
    """A Git repository in which krew finds plugins."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self.path = path
        self._environment = environment
        (path / "plugins").mkdir(parents=True)
        self._git("init", "--quiet")

    def publish(self, plugin: Mapping[str, object]) -> None:
        """Commit a plugin's manifest."""
        (self.path / "plugins" / "fsm.yaml").write_text(yaml.safe_dump(plugin))
        self._git("add", ".")
        self._git("commit", "--quiet", "--message", "x")

    def _git(self, *args: str) -> None:
        subprocess.run(["git", *args], cwd=self.path, env=self._environment, check=True)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address at which the files of a folder can be had, on loopback, while the block runs."""

    class Handler(SimpleHTTPRequestHandler):
        timeout = 10

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
