"""Build the programs of the tests' control plane, once for each version, and print their folders as PATH has them.

The versions are those of the go.mod files beside this file. The folders are outside the checkout: below
`KUBECTL_FSM_CACHE`, else below the user's cache folder. Each Go module has its own, whose name is a digest of the
module, of this file and of Go's version: a change to any of them builds that module anew.
Needs Python 3.10 and Go; a first build takes minutes and about 4 GB in Go's own build cache.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MODULES = [Path(__file__).parent / name for name in ("kubernetes", "kwok", "injector")]
"""Their `tool` directives name the programs."""
RENAMED = {"server": "etcd"}
"""`go install` calls a program after its package's last folder; etcd's is `server`."""


def cache(environment: dict[str, str]) -> Path:
    """Where builds are kept. A process without `HOME` gets the home of its user, or /var/tmp where it has none."""
    if chosen := environment.get("KUBECTL_FSM_CACHE"):
        return Path(chosen)
    if shared := environment.get("XDG_CACHE_HOME"):
        return Path(shared, "kubectl-fsm")
    try:
        home = environment.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return Path(f"/var/tmp/kubectl-fsm-{os.getuid()}")
    return Path(home, ".cache", "kubectl-fsm")


def bin_dirs(environment: dict[str, str]) -> dict[Path, Path]:
    """By module, the folder of its programs, built or not; none where Go, which is a part of its name, is missing."""
    if not shutil.which("go", path=environment.get("PATH", "")):
        return {}
    go = subprocess.run(
        ["go", "env", "GOVERSION"], env=go_environment(environment), check=True, capture_output=True, text=True
    )
    common = go.stdout.encode() + Path(__file__).read_bytes()
    return {module: cache(environment) / f"{module.name}-{_digest(common, module)}" / "bin" for module in MODULES}


def go_environment(environment: dict[str, str]) -> dict[str, str]:
    """Go as installed, no other; with folders of its own where there is no `HOME` to derive them from."""
    fixed = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -trimpath", "CGO_ENABLED": "0", "GOWORK": "off"}
    own = cache(environment) / "go"
    folders = {} if environment.get("HOME") else {"GOPATH": str(own), "GOCACHE": str(own / "build")}
    return folders | environment | fixed


def version_flags(module: Path) -> str:
    """Linker flags that tell Kubernetes its version, that of `k8s.io/kubernetes` in go.mod; empty for another module."""
    found = re.search(
        r"^\tk8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)", (module / "go.mod").read_text("utf-8"), re.MULTILINE
    )
    if not found:
        return ""
    values = zip(("gitVersion", "gitMajor", "gitMinor"), found.groups(), strict=True)
    return " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in values)


def build(module: Path, target: Path, environment: dict[str, str]) -> None:
    """Fill `target` in one step: the programs are built beside it and moved when all of them are there."""
    print(f"building the tools of {module.name}; the first time may take minutes", file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        partial = Path(folder, "bin")
        subprocess.run(
            ["go", "install", "-ldflags", f"-s -w {version_flags(module)}", "tool"],
            cwd=module,
            env=go_environment(environment) | {"GOBIN": str(partial)},
            check=True,
        )
        for program in list(partial.iterdir()):
            program.rename(partial / RENAMED.get(program.name, program.name))
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise


def main() -> int:
    environment = dict(os.environ)
    targets = bin_dirs(environment)
    if not targets:
        print("error: the control plane is built from Go sources, and there is no `go` in PATH", file=sys.stderr)
        return 1
    for module, target in targets.items():
        if not target.is_dir():
            try:
                build(module, target, environment)
            except subprocess.CalledProcessError as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
    print(*targets.values(), sep=os.pathsep)
    return 0


def _digest(common: bytes, module: Path) -> str:
    digest = hashlib.sha256(common)
    for file in sorted([*module.glob("go.*"), *module.glob("*.go")]):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    raise SystemExit(main())
