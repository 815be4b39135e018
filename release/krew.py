"""krew's manifest for the bundles in a folder, written to FOLDER/krew/fsm.yaml; run with `python -m`.

Usage: release.krew FOLDER [URL [HOMEPAGE]]

URL is where the archives will lie. Without it the manifest has the placeholder of krew-manifest.yaml, and serves
`kubectl krew install --manifest … --archive …`.
"""

import re
import sys
import tarfile
from pathlib import Path
from typing import Any

import yaml
from docopt import docopt

from kubectl_fsm import __version__
from release.bundle import PROGRAM, TOP, Platform, digest

_NEEDS = re.compile(r"^It (needs .*)$", re.MULTILINE)


def manifest(folder: Path, url: str = "", homepage: str = "") -> dict[str, Any]:
    """The manifest for the archives of this version in `folder`. Raises LookupError where there are none."""
    plugin: dict[str, Any] = yaml.safe_load((TOP / "krew-manifest.yaml").read_text("utf-8"))
    spec = plugin["spec"]
    spec["version"] = f"v{__version__}"
    spec["homepage"] = homepage or spec["homepage"]
    filled = [entry for entry in spec["platforms"] if _fill(entry, folder, url)]
    if not filled:
        raise LookupError(f"no bundle of kubectl-fsm {__version__} is in {folder}: make dist makes one")
    spec["platforms"] = filled
    spec["caveats"] = "".join(_caveats(folder, entry) for entry in filled)
    if not spec["caveats"]:
        del spec["caveats"]
    return plugin


def _fill(entry: dict[str, Any], folder: Path, url: str) -> bool:
    """Fill in a platform's address and digest; whether its archive is there."""
    archive = folder / _platform(entry).archive
    if not archive.is_file():
        return False
    entry["uri"] = f"{(url or entry['uri'].rpartition('/')[0]).rstrip('/')}/{archive.name}"
    entry["sha256"] = digest(archive)
    return True


def _platform(entry: dict[str, Any]) -> Platform:
    return Platform(**entry["selector"]["matchLabels"])


def _caveats(folder: Path, entry: dict[str, Any]) -> str:
    """What a bundle needs of the system, in its own words; empty where that is nothing."""
    target = _platform(entry)
    if target.os == "windows":
        return ""
    with tarfile.open(folder / target.archive) as packed:
        readme = packed.extractfile(f"{PROGRAM}/README")
        found = _NEEDS.search(readme.read().decode()) if readme else None
    return f"On {target.os}/{target.arch} it {found[1]}\n" if found else ""


def as_yaml(document: dict[str, Any]) -> str:
    """A document for people, such as a manifest: keys in their order, paragraphs as blocks."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def main() -> int:
    given = docopt(__doc__)
    folder = Path(given["FOLDER"])
    target = folder / "krew" / "fsm.yaml"
    try:
        text = as_yaml(manifest(folder, given["URL"] or "", given["HOMEPAGE"] or ""))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    except (LookupError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
