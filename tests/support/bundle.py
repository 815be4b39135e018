"""The bundle under test, built once for what it is made of and kept beside the tools of the control plane."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

from PyInstaller.depend.bindepend import get_python_library_path

from release import bundle
from tests.tools.build import cache

KEPT = 3
"""How many builds stay in the cache, those that were used last."""
NEEDED = ("ldd", "objdump", "strip", "tar")


def missing() -> list[str]:
    """What a build would need and is not there: programs, and a Python whose library others can load."""
    lacking = [program for program in NEEDED if not shutil.which(program)]
    try:
        library = get_python_library_path()
    except SystemExit:  # that is how PyInstaller says so
        library = None
    return lacking if library else [*lacking, "libpython, as a shared library"]


def unpack(folder: Path) -> Path:
    """Unpack the bundle into `folder`, built first where it is not in the cache; its program."""
    kept = cache(dict(os.environ)) / "bundles"
    target = kept / _key()
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process builds, others wait for it
        archive = target / bundle.here().archive
        if not archive.is_file():
            usual = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
            subprocess.run([sys.executable, "-m", "release.bundle", target], cwd=bundle.TOP, env=usual, check=True)
        os.utime(target)
        for old in sorted(filter(Path.is_dir, kept.iterdir()), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(old)
        folder.mkdir(parents=True, exist_ok=True)
        for name in (archive.name, f"{archive.name}.sha256"):
            shutil.copyfile(target / name, folder / name)
    subprocess.run(["tar", "-xf", folder / archive.name, "-C", folder], check=True)
    return folder / bundle.PROGRAM / bundle.PROGRAM


def _key() -> str:
    """A digest of all that a bundle is made of: Python, the packages that are installed, the system's libraries, sources."""
    modules = [*Path(sysconfig.get_config_var("DESTSHARED")).glob("*.so")]
    listed = subprocess.run(["ldd", *modules], check=True, capture_output=True, text=True).stdout
    libraries = {Path(found).resolve() for found in re.findall(r"=> (/\S+)", listed)}
    facts = [
        subprocess.run(["strip", "--version"], check=True, capture_output=True, text=True).stdout,
        f"{sys.version} {sys.base_prefix}",
        *(f"{one.name} {one.version}" for one in distributions()),
        *(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in libraries),
    ]
    digest = hashlib.sha256("\n".join(sorted(facts)).encode())
    folders = [bundle.TOP / name for name in ("kubectl_fsm", "release")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    for path in sorted([bundle.TOP / "LICENSE", *files]):
        digest.update(f"{path.relative_to(bundle.TOP)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
