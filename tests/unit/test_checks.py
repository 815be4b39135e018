"""Every check against files: what it finds where something is wrong, and that it is silent where nothing is.

A case is a file in `tests/checks/CHECK/`: manifests, and in comments at the top what is to be found, a line for each
finding and one for what mends it: `# seen: OBJECT: TEXT` and `# mend: TEXT`. One without such lines is one that passes.
`# with: WORDS` is more of the command line. `# as: cluster` lets the files stand for what a cluster lists; `# log: TEXT`
is then a line of every container's log, and `# injector:` what an injector would do: `refuses WORDS`, `is silent`,
`is forbidden`, or the `spec.traffic` that it works with, as JSON.
"""

import json
from pathlib import Path

import pytest

from kubectl_fsm import cli, generator
from kubectl_fsm.checks.catalogue import CHECKS
from kubectl_fsm.cluster.manifests import Manifests
from kubectl_fsm.errors import ApiError, Forbidden

FOLDER = Path(__file__).parent.parent / "checks"
FILES = sorted(FOLDER.glob("*/*.yaml"))


def said(path, word):
    """What a case's comments say after a word."""
    start = f"# {word}: "
    return [line.removeprefix(start) for line in path.read_text().splitlines() if line.startswith(start)]


def expected(path):
    return list(zip(said(path, "seen"), said(path, "mend"), strict=True))


def injected(injector, obj):
    """What an API server answers to the dry run of a pod's creation."""
    if injector == "is forbidden":
        raise Forbidden(403, "Forbidden", "pods is forbidden")
    if injector == "is silent":
        raise ApiError(500, "InternalError", 'failed calling webhook "fsm-inject.k8s.io": connection refused')
    if injector.startswith("refuses "):
        words = injector.removeprefix("refuses ")
        raise ApiError(403, "", f'admission webhook "fsm-inject.k8s.io" denied the request: {words}')
    annotations = obj["metadata"].get("annotations", {})
    script = generator.render("fsm-1.5", annotations, {"traffic": json.loads(injector)})
    init = {"name": "fsm-init", "command": ["/bin/sh"], "args": ["-c", script]}
    labels = {**obj["metadata"].get("labels", {}), "fsm-proxy-uuid": "0a1b"}
    metadata = {**obj["metadata"], "labels": labels}
    return {**obj, "metadata": metadata, "spec": {**obj["spec"], "initContainers": [init]}}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case(path, capsys, monkeypatch):
    words = [word for line in said(path, "with") for word in line.split()]
    if "cluster" in said(path, "as"):
        monkeypatch.setattr(Manifests, "remote", True)
        monkeypatch.setattr(Manifests, "log", lambda *_: "".join(f"{line}\n" for line in said(path, "log")))
        monkeypatch.setattr(Manifests, "try_create", lambda *call: injected(*said(path, "injector"), call[-1]))
    code = cli.main(["check", "-f", str(path), "--only", path.parent.name, "-o", "json", *words])
    out, err = capsys.readouterr()
    assert out, err
    items = json.loads(out)["items"]
    assert [(f"{item['object']}: {item['seen']}", item["mend"]) for item in items] == expected(path)
    assert {item["check"] for item in items} <= {path.parent.name}
    assert code == bool(items)


@pytest.mark.parametrize("identity", CHECKS)
def test_every_check_fails_and_passes(identity):
    found = {bool(expected(path)) for path in FILES if path.parent.name == identity}
    assert found == {True, False}, f"tests/checks/{identity} lacks a case"


def test_every_folder_is_a_checks():
    assert {path.parent.name for path in FILES} <= set(CHECKS)


def test_a_long_list_of_bad_values_is_one_finding(tmp_path, capsys, monkeypatch):
    ranges = [f"10.{index >> 8}.{index & 255}.1" for index in range(4000)]
    config = {
        "apiVersion": "config.flomesh.io/v1alpha3",
        "kind": "MeshConfig",
        "metadata": {"name": "fsm-mesh-config", "namespace": "fsm-system"},
        "spec": {"traffic": {"interceptionMode": "PodLevel", "outboundIPRangeExclusionList": ranges}},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    for remote in (False, True):
        monkeypatch.setattr(Manifests, "remote", remote)
        cli.main(["check", "-f", str(tmp_path), "--only", "entry-invalid", "-o", "json"])
        out, err = capsys.readouterr()
        assert out, err
        (found,) = json.loads(out)["items"]
        assert found["seen"].endswith("; and 3997 more")
        assert found["mend"].endswith(", 10.0.49.1 and 3950 more out of spec.traffic.outboundIPRangeExclusionList")
        assert len(out) < 4000
