"""The bundle for the machine that this runs on, in FOLDER or in dist/; run with `python -m`.

Usage: release.bundle [FOLDER]

A folder with the program, a Python and all it needs, in an archive, with its SHA-256 in a file beside it. Two builds from
the same sources, packages and `SOURCE_DATE_EPOCH` are the same to the byte.
"""

import gzip
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from docopt import docopt

from kubectl_fsm import __version__
from release import licences

TOP = Path(__file__).parents[1]
PROGRAM = "kubectl-fsm"
_OS = {"linux": "linux", "darwin": "darwin", "win32": "windows"}
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_EPOCH = 315532800
"""1980, the earliest that a zip file can tell."""
_UNUSED = re.compile(r"^excluded module named (\S+) - imported by (.+)$", re.MULTILINE)
_ANYWAY = {"_frozen_importlib", "bz2"}
"""Left out, and imported at the top of modules that are inside: a name for what is built in, and a codec of bytes."""
_GLIBC = re.compile(r"\bGLIBC_(\d+)\.(\d+)\b")
_LIBRARY = re.compile(r"^ +NEEDED +(\S+)$", re.MULTILINE)
_SEARCHED = re.compile(r"^ +(?:RPATH|RUNPATH) +(\S+)$", re.MULTILINE)
_OF_GLIBC = re.compile(r"(?:ld-linux.*|lib(?:c|dl|m|pthread|rt|util))\.so\.\d+$")


class Platform(NamedTuple):
    """As krew, Go and archives call it."""

    os: str
    arch: str

    @property
    def archive(self) -> str:
        return f"{PROGRAM}_v{__version__}_{self.os}_{self.arch}{'.zip' if self.os == 'windows' else '.tar.gz'}"


def here() -> Platform:
    """The platform of this machine. Raises LookupError for one that no bundle is made for."""
    try:
        return Platform(_OS[sys.platform], _ARCHITECTURES[platform.machine().lower()])
    except KeyError as error:
        raise LookupError(f"there are no bundles for {error}") from error


def build(folder: Path) -> Path:
    """Build the bundle, and return its archive in `folder`.

    Raises `subprocess.CalledProcessError` where PyInstaller fails, and LookupError where `SOURCE_DATE_EPOCH` is no number,
    or the result would not run, or holds what nobody has a licence for.
    """
    target = here()
    epoch = _epoch()
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="kubectl-fsm-") as name:
        scratch = Path(name)
        _run_pyinstaller(scratch, epoch)
        content, work = scratch / PROGRAM, scratch / "work" / PROGRAM
        _check(work / f"warn-{PROGRAM}.txt")
        shutil.copyfile(TOP / "LICENSE", content / "LICENSE")
        sources = [Path(line) for line in (work / "sources.txt").read_text("utf-8").splitlines()]
        (content / "THIRD-PARTY-LICENSES").write_text(licences.of(sources), "utf-8")
        (content / "README").write_text(_readme(target, content), "utf-8")
        _forget_folders(content)
        return _pack(content, folder / target.archive, epoch)


def _epoch() -> int:
    """The time that files of the bundle have, in seconds since 1970, but not before what a zip file can tell."""
    text = os.environ.get("SOURCE_DATE_EPOCH") or str(_EPOCH)
    if not text.isdecimal():
        raise LookupError(f"SOURCE_DATE_EPOCH is seconds since 1970, not {text!r}")
    return max(int(text), _EPOCH)


def digest(path: Path) -> str:
    """The SHA-256 of a file, as krew's manifests have it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Needs(NamedTuple):
    """What programs and libraries ask of the system: the oldest glibc that has it all, and libraries beside glibc's."""

    glibc: tuple[int, int]
    libraries: list[str]


def needs(program: Path) -> Needs | None:
    """What an unpacked bundle asks of the system, by its ELF files; None where there are none."""
    others = [path for path in program.parent.rglob("*") if path != program and _is_elf(path)]
    if not _is_elf(program):
        return None
    own, rest = _dumped(program), "".join(map(_dumped, others))
    symbols = max((int(major), int(minor)) for major, minor in _GLIBC.findall(own + rest))
    # The program loads its libraries before it knows where those of the bundle are.
    asked = {*_LIBRARY.findall(own), *set(_LIBRARY.findall(rest)) - {path.name for path in others}}
    return Needs(symbols, sorted(name for name in asked if not _OF_GLIBC.match(name)))


def _is_elf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _dumped(path: Path) -> str:
    return subprocess.run(["objdump", "-p", path], check=True, capture_output=True, text=True).stdout


def _forget_folders(content: Path) -> None:
    """Let no library look for others where they were on this machine: elsewhere that folder may be anybody's.

    Raises LookupError where that cannot be written over.
    """
    for path in content.rglob("*"):
        for folder in _SEARCHED.findall(_dumped(path)) if _is_elf(path) else ():
            if folder.startswith("$ORIGIN"):
                continue
            old, new = f"{folder}\0".encode(), b"$ORIGIN\0"
            if len(new) > len(old):
                raise LookupError(f"{path.name} looks for libraries in {folder}")
            path.write_bytes(path.read_bytes().replace(old, new.ljust(len(old), b"\0")))


def _run_pyinstaller(scratch: Path, epoch: int) -> None:
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN"]
    folders = ["--distpath", str(scratch), "--workpath", str(scratch / "work")]
    settings = {
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(TOP),
        "SOURCE_DATE_EPOCH": str(epoch),
        "PYINSTALLER_CONFIG_DIR": str(scratch / "cache"),
    }
    spec = str(Path(__file__).with_name(f"{PROGRAM}.spec"))
    subprocess.run([*command, *folders, spec], env={**os.environ, **settings}, check=True)


def _check(warnings: Path) -> None:
    """Raise LookupError where a module that is inside imports, whatever happens, one that was left out."""
    for module, importers in _UNUSED.findall(warnings.read_text("utf-8")):
        if "(top-level)" in importers and module not in _ANYWAY:
            raise LookupError(f"{module} is left out of the bundle, and imported by {importers}")


def _readme(target: Platform, content: Path) -> str:
    lines = [
        f"kubectl-fsm {__version__} for {target.os}/{target.arch}, with a Python {platform.python_version()} of its own."
    ]
    if needed := needs(content / PROGRAM):
        libraries = "".join(f" and {name}" for name in needed.libraries)
        lines.append(
            f"It needs glibc {needed.glibc[0]}.{needed.glibc[1]} or later{libraries}; musl, as in Alpine, does not do."
        )
    lines.append("Leave the folder as it is; a symbolic link on PATH to the program makes it `kubectl fsm`.")
    return "\n".join([*lines, ""])


def _pack(content: Path, archive: Path, epoch: int) -> Path:
    """Write the archive: files in order, of nobody, of one time; no symbolic links, which krew refuses."""
    _resolve(content)
    paths = [path for path in sorted(content.rglob("*")) if path.is_file()]
    files = [(path, f"{PROGRAM}/{path.relative_to(content).as_posix()}") for path in paths]
    partial = archive.with_name(f".{archive.name}.{os.getpid()}")
    if archive.suffix == ".zip":
        _zip(files, partial, epoch)
    else:
        _tar(files, partial, epoch)
    partial.replace(archive)
    archive.with_name(f"{archive.name}.sha256").write_text(f"{digest(archive)}  {archive.name}\n", "utf-8")
    return archive


def _resolve(content: Path) -> None:
    """Put files in the place of symbolic links to them. Links to folders go: on macOS a framework has one for its version."""
    links = {path: path.resolve(strict=True) for path in content.rglob("*") if path.is_symlink()}
    for path, target in links.items():
        path.unlink()
        if target.is_file():
            shutil.copy2(target, path)


def _tar(files: list[tuple[Path, str]], archive: Path, epoch: int) -> None:
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for path, name in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = path.stat().st_size, epoch, _mode(path)
            with path.open("rb") as content:
                tar.addfile(entry, content)


def _zip(files: list[tuple[Path, str]], archive: Path, epoch: int) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path, name in files:
            entry = zipfile.ZipInfo(name, time.gmtime(epoch)[:6])
            entry.external_attr = _mode(path) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, path.read_bytes())


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def main() -> int:
    try:
        archive = build(Path(docopt(__doc__)["FOLDER"] or TOP / "dist"))
    except (LookupError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{archive}  {archive.stat().st_size / 1_000_000:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
