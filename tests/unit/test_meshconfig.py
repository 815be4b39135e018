"""`--meshconfig FILE`: the MeshConfig that files are read with."""

import io
import json
from pathlib import Path

import pytest

from kubectl_fsm import cli

SHOP = Path(__file__).parents[2] / "examples" / "shop"
WEB, MESH = str(SHOP / "web.yaml"), str(SHOP / "mesh.yaml")


@pytest.fixture
def other(tmp_path):
    """A List as kubectl prints it, with a MeshConfig that excludes another port, and an object that does not count."""
    mesh = {"apiVersion": "config.flomesh.io/v1alpha3", "kind": "MeshConfig"}
    mesh |= {"metadata": {"name": "fsm-mesh-config", "namespace": "fsm-system", "resourceVersion": "7"}}
    mesh |= {"spec": {"traffic": {"interceptionMode": "PodLevel", "outboundPortExclusionList": [7070]}}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "fsm-system"}}
    path = tmp_path / "mesh.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [mesh, service]}))
    return str(path)


def outbound_ports(capsys, *argv):
    assert cli.main(["rules", "deploy/web", "-o", "json", *argv]) == 0
    (item,) = json.loads(capsys.readouterr().out)["items"]
    return [entry["value"] for entry in item["exclusions"] if entry["list"] == "outbound-port"]


def test_it_takes_the_place_of_what_the_files_hold(capsys, other):
    assert outbound_ports(capsys, "-f", str(SHOP)) == ["6379"]
    assert outbound_ports(capsys, "-f", str(SHOP), "--meshconfig", other) == ["7070"]
    assert outbound_ports(capsys, "-f", WEB, "--meshconfig", other) == ["7070"]
    assert outbound_ports(capsys, "-f", WEB, "--meshconfig", MESH) == ["6379"]
    assert outbound_ports(capsys, "-f", str(SHOP), "--meshconfig", MESH) == ["6379"]


def test_no_other_counts_beside_it(capsys, other):
    elsewhere = Path(other).read_text().replace("fsm-system", "mesh-system")
    Path(other).write_text(elsewhere)
    assert cli.main(["exclusions", "-f", str(SHOP), "--meshconfig", other, "-o", "json"]) == 0
    found = [item for item in json.loads(capsys.readouterr().out)["items"] if item["scope"] == "global"]
    assert [(item["namespace"], item["entries"][0]["value"]) for item in found] == [("mesh-system", "7070")]


def test_nothing_else_is_taken_from_its_file(capsys, other):
    assert cli.main(["trace", "deploy/web", "svc/web.fsm-system:80", "-f", str(SHOP), "--meshconfig", other]) == 1
    assert "not found" in capsys.readouterr().err


def test_it_may_come_from_standard_input(capsys, other, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path(other).read_bytes())))
    assert outbound_ports(capsys, "-f", WEB, "--meshconfig", "-") == ["7070"]


def test_every_verb_that_reads_files_takes_it_and_says_so(capsys, other):
    for verb in (["rules"], ["exclusions"], ["check"], ["trace", "deploy/web", "192.0.2.1:7070"]):
        assert cli.main([*verb, "-f", str(SHOP), "--meshconfig", other, "-o", "json"]) == 0
        out = capsys.readouterr().out
        assert verb == ["check"] or "7070" in out
    assert cli.main(["check", "-f", WEB, "--meshconfig", other]) == 0
    assert f"(files {WEB} with the MeshConfig of {other}, all namespaces)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-f", WEB, "--meshconfig", WEB], 1, f"{WEB}: no MeshConfig\n"),
        (["-f", WEB, "--meshconfig", "nowhere.yaml"], 1, "nowhere.yaml: No such file or directory"),
        (["--meshconfig", MESH], 2, "--meshconfig goes with -f"),
    ],
)
def test_what_is_no_meshconfig(capsys, words, code, said):
    assert cli.main(["check", *words]) == code
    assert said in capsys.readouterr().err
