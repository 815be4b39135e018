"""The licences of what a bundle holds and this project did not write.

Each file inside is traced to what it came from: an installed package, Python itself, or a package of the system. The
texts are those that came with it: a package's own licence files, Python's LICENSE.txt, a Debian package's copyright file.
Three things they do not say: what else is built into Python's own modules (hash functions, for example) is listed, with
its licences, in https://docs.python.org/3/license.html; the Apache licence that Debian's files refer to is LICENSE, and
the other texts that they refer to are for files that no library is made of; and what is built into modules of Python
(expat, libmpdec) and of PyYAML (libyaml) comes without its licence, so these texts lie beside this file.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import kubectl_fsm

_TITLES = re.compile("LICEN[CS]E|COPYING|NOTICE", re.IGNORECASE)
_RULE = "=" * 100
_OWN = (Path(kubectl_fsm.__file__).resolve().parent, Path(__file__).resolve().parent)
_PYTHON = Path(sysconfig.get_path("stdlib") if sys.base_prefix == "/usr" else sys.base_prefix).resolve()
"""Below it all is Python's own; the Python of a Linux distribution shares its prefix with everything else."""
_ALWAYS = ("PyInstaller", "kubernetes")
"""PyInstaller's program is what starts, and loads the rest, by an exception in its licence; `runner` is kubernetes'."""
_INCORPORATED = {"PyYAML": ("libyaml",), "Python": ("expat", "libmpdec")}
"""By package, the libraries that are inside it without their licences."""


def of(sources: Iterable[Path]) -> str:
    """The licences of a bundle's files, by where they were taken from. Raises LookupError for one without a licence."""
    owners = {
        Path(str(package.locate_file(file))).resolve(): package
        for package in distributions()
        for file in package.files or ()
    }
    texts = dict([_python(), *_incorporated("Python"), *(_package(distribution(name)) for name in _ALWAYS)])
    for source in sources:
        path = source.resolve()
        if owner := owners.get(path):
            texts |= [_package(owner)]
            texts |= dict(_incorporated(owner.name))
        elif not path.is_relative_to(_PYTHON) and not any(path.is_relative_to(own) for own in _OWN):
            texts |= [_library(source)]
    titles = sorted(texts, key=str.lower)
    contents = "".join(f"  {title}\n" for title in titles)
    parts = [f"{_RULE}\n{title}\n{_RULE}\n\n{texts[title].strip()}\n" for title in titles]
    return "\n".join([f"kubectl-fsm is under the licence in LICENSE. This archive also holds:\n\n{contents}", *parts])


def _package(package: Distribution) -> tuple[str, str]:
    """Its name with its version, and its licence."""
    files = [file for file in package.files or () if ".dist-info" in file.parts[0] and _TITLES.match(file.name)]
    if not files:
        raise LookupError(f"{package.name} comes without a licence")
    return f"{package.name} {package.version}", "\n".join(file.read_text("utf-8") for file in sorted(files))


def _incorporated(package: str) -> Iterator[tuple[str, str]]:
    for library in _INCORPORATED.get(package, ()):
        yield f"{library}, in {package}", Path(__file__).with_name(f"{library}.txt").read_text("utf-8")


def _python() -> tuple[str, str]:
    places = [Path(sysconfig.get_path("stdlib"), "LICENSE.txt"), Path(sys.base_prefix, "LICENSE.txt")]
    found = next((place for place in places if place.is_file()), None)
    if not found:
        raise LookupError(f"Python's licence is in none of {', '.join(map(str, places))}")
    return f"Python {sys.version.split()[0]}", found.read_text("utf-8")


def _library(path: Path) -> tuple[str, str]:
    """The Debian package of a library, with its version, and its copyright file."""
    if not shutil.which("dpkg-query"):
        raise LookupError(f"{path} is of neither Python nor a package of it, and there is no dpkg to say whose it is")
    merged = (
        Path("/usr", *path.parts[1:]),
        Path("/", *path.parts[2:]),
    )  # where /lib is a link, dpkg knows one of the names
    for name in (path, *merged):
        found = _asked("--search", str(name))
        if found:
            package = found.partition(": ")[0].split(", ")[0]
            text = Path("/usr/share/doc", package.partition(":")[0], "copyright").read_text("utf-8")
            return _asked("--show", "--showformat=${Package} ${Version}", package), text
    raise LookupError(f"{path} is of no package")


def _asked(*words: str) -> str:
    return subprocess.run(["dpkg-query", *words], check=False, capture_output=True, text=True).stdout
