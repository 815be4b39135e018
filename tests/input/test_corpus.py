"""Input that was, or might have been, more than the program could bear: what it says, and what that costs."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from kubectl_fsm.cluster.documents import MAX_DEPTH
from tests.support.fuzzing import NASTY
from tests.support.hostile import VERBS
from tests.support.measured import on_a_terminal
from tests.support.plugin import EXECUTABLE
from tests.support.promises import EXIT_CODES, Done, run

CORPUS = Path(__file__).parents[1] / "corpus"
MANIFESTS = sorted(path.name for path in (CORPUS / "manifests").iterdir())
KUBECONFIGS = sorted(path.name for path in (CORPUS / "kubeconfigs").iterdir())
MOST_MEGABYTES = 300
WEB, POD = ["rules", "deploy/web", "-n", "shop"], ["rules", "web-1", "-n", "shop"]
TRACE = ["trace", "web-1", "10.0.0.1:80", "-n", "shop"]

SAID: Mapping[str, tuple[list[str], str]] = {
    "cycle.yaml": (WEB, "cycle.yaml:6:36: the alias *a stands for what it is part of"),
    "duplicate-key.yaml": (WEB, "duplicate-key.yaml:6:3: the key replicas is there twice"),
    "duplicate-object.yaml": (["rules", "deploy/web"], "Deployment shop/web is there more than once: in "),
    "escapes.yaml": (["rules"], r"deploy\x1b[2jment/w\x1b]0;owned\x07b"),
    "keys.yaml": (WEB, "keys.yaml:6:47: a key that is no text"),
    "latin-1.yaml": (WEB, "latin-1.yaml:7: not YAML: invalid trailing UTF-8 octet"),
    "laughs.yaml": (WEB, "laughs.yaml:16:12: more than 2,000,000 values in all"),
    "list-of-nothing.yaml": (WEB, "list-of-nothing.yaml:1: no Kubernetes object"),
    "merged-laughs.yaml": (WEB, "merged-laughs.yaml:11:172: more than 2,000,000 values in all"),
    "meshconfig-ports.yaml": (
        WEB,
        "MeshConfig fsm-system/fsm-mesh-config: spec.traffic.outboundPortExclusionList[0] is '80; reboot', not a port",
    ),
    "meshconfig-sidecar.yaml": (
        WEB,
        "MeshConfig fsm-system/fsm-mesh-config: spec.sidecar.localProxyMode is a number, not a string",
    ),
    "nul.yaml": (WEB, "nul.yaml:8: a NUL character"),
    "owner.yaml": (POD, "Pod shop/web-1: metadata.ownerReferences[0].name is a number, not a string"),
    "pod-address.yaml": (TRACE, "Pod shop/web-1: status.podIP is no IP address"),
    "pod-names.yaml": (["check"], "Pod shop/web-1: spec.initContainers[0].name is a list, not a string"),
    "pod-status.yaml": (
        POD,
        "Pod shop/web-1: status.initContainerStatuses[0].state.terminated is a boolean, not an object",
    ),
    "rules-of-a-shell.yaml": (POD, "its init container's script cannot work: "),
    "rules-that-double.yaml": (POD, "the jumps from OUTPUT branch too often to be followed"),
    "rules-that-loop.yaml": (POD, "loop: a packet in chain A jumps back to it from B"),
    "selector.yaml": (
        ["trace", "deploy/web", "svc/web:80"],
        "Service shop/web: spec.selector is a list, not an object",
    ),
    "tags.yaml": (WEB, "tags.yaml:7:44: the tag tag:yaml.org,2002:python/object/apply:os.system has no meaning"),
    "template-annotations.yaml": (
        WEB,
        "Deployment shop/web: spec.template.metadata.annotations.flomesh.io/outbound-port-exclusion-list is a number",
    ),
    "template-containers.yaml": (
        ["trace", "deploy/web", "10.0.0.1:80"],
        "Deployment shop/web: spec.template.spec.containers is a string, not a list",
    ),
    "template-ports.yaml": (
        ["trace", "deploy/web", "deploy/web:http"],
        "Deployment shop/web: spec.template.spec.containers[0].ports is a number, not a list",
    ),
    "template.yaml": (WEB, "template.yaml:1:3: not YAML: while parsing a flow node"),
    "utf-16.yaml": (WEB, "utf-16.yaml:1: a NUL character; only UTF-8 text is read"),
}
"""What is said of a file, and to which command line."""


def squeezed(text: str) -> str:
    """The text without what a table breaks it with."""
    return " ".join(text.split())


@pytest.mark.parametrize("name", MANIFESTS)
def test_what_is_wrong_is_named(name):
    argv, said = SAID[name]
    done = run([*argv, "-f", str(CORPUS / "manifests" / name)])
    assert squeezed(said) in squeezed(done.out + done.err), done


@pytest.mark.parametrize("name", MANIFESTS)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_bears_it(verb, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run([*VERBS[verb], "-f", str(CORPUS / "manifests" / name)])
    assert not list(done.broken()), done


KUBECONFIG_SAID: Mapping[str, str] = {
    "cycle.yaml": "cycle.yaml:7:17: the alias *a stands for what it is part of",
    "dates.yaml": "refused the connection",
    "deep.yaml": f"deep.yaml:1:110: nested deeper than {MAX_DEPTH} levels",
    "endless-token.yaml": "/dev/zero is larger than 10 MB",
    "escapes.yaml": r'context "\x1b[2J\u202e" does not exist',
    "extra.yaml": "extra.yaml: users[0].user.as-user-extra.scope is a string, not a list",
    "key.yaml": "key.yaml:7:3: a key that is no text",
    "laughs.yaml": "laughs.yaml:14:10: more than 2,000,000 values in all",
    "long-number.yaml": "refused the connection",
    "names.yaml": "names.yaml: clusters[0].name is a number, not a string",
    "nul.yaml": "nul.yaml:7: a NUL character",
    "plugin.yaml": "plugin.yaml: users[0].user.exec.args[0] is a number, not a string",
    "server.yaml": 'cluster "c" has no server, or none with an address like https://HOST:PORT',
    "tags.yaml": "refused the connection",
}


@pytest.mark.parametrize("name", KUBECONFIGS)
def test_what_is_wrong_in_a_kubeconfig_is_named(name):
    done = run(["rules", "--kubeconfig", str(CORPUS / "kubeconfigs" / name)])
    assert not list(done.broken()), done
    assert KUBECONFIG_SAID[name] in done.err


# What is huge: in a process of its own, on a terminal of its own

MESH = (Path(__file__).parents[2] / "examples" / "shop" / "mesh.yaml").read_text()
DATA = f"{MESH}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata:\n"
GLOBAL = ["exclude-port", "7070", "--local", "--yes"]
RANGES = [f"10.{number >> 8}.{number & 255}.0/24" for number in range(16_000)]


def deployment(annotations: str) -> str:
    return (
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {template: {metadata: "
        f"{{annotations: {{{annotations}}}}}, spec: {{containers: [{{name: a, image: b}}]}}}}}}\n"
    )


def pod(lines: Iterator[str]) -> str:
    script = "".join(
        f"      {line}\n" for line in ("iptables-restore --noflush <<EOF", "*nat", *lines, "COMMIT", "EOF")
    )
    return (
        f"{MESH}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: web-1, namespace: shop, labels: {{fsm-proxy-uuid: x}}}}\n"
        "spec:\n  initContainers:\n  - name: fsm-init\n    command: [sh]\n    args:\n    - -c\n    - |\n"
        f"{script}  containers: [{{name: a}}]\nstatus: {{phase: Running}}\n"
    )


class Huge(NamedTuple):
    """What is made, which command reads it, and the exit code and part of the text that come of it."""

    text: Callable[[], str]
    argv: list[str]
    code: int
    said: str


HUGE: Mapping[str, Huge] = {
    "one long string": Huge(lambda: DATA + "  a: " + "x" * 49_000_000, ["rules"], 0, ""),
    "a long string that is edited": Huge(
        lambda: DATA + "  a: '" + "\U0001f680" * 2_490_000 + "'\n", GLOBAL, 0, "outbound-port: [6379] → [6379 7070]"
    ),
    "a longer string that is edited": Huge(
        lambda: DATA + "  a: " + "x" * 49_000_000, GLOBAL, 1, "larger than 10 MB, too large to be edited"
    ),
    "many empty mappings": Huge(lambda: f"{DATA}  a: [{'{},' * 1_900_000}]\n", ["rules"], 0, ""),
    "many mappings that are edited": Huge(
        lambda: f"{DATA}  a: [{'{a: b},' * 150_000}]\n", GLOBAL, 0, "outbound-port: [6379] → [6379 7070]"
    ),
    "deep YAML": Huge(lambda: "- " * 1_000_000, ["rules"], 1, f"nested deeper than {MAX_DEPTH} levels"),
    "deep JSON": Huge(lambda: "[" * 500 + "]" * 500, ["rules"], 1, f"nested deeper than {MAX_DEPTH} levels"),
    "an annotation of 1 MB": Huge(
        lambda: MESH + deployment(f"flomesh.io/outbound-port-exclusion-list: '{',80' * 350_000}'"),
        WEB,
        1,
        "Deployment shop/web: spec.template.metadata.annotations is longer than 262,144 bytes in all",
    ),
    "an annotation as long as may be": Huge(
        lambda: MESH + deployment(f"flomesh.io/outbound-ip-range-exclusion-list: '{','.join(RANGES)}'"),
        [*WEB, "-o", "json"],
        0,
        "10.62.127.0/24",
    ),
    "an annotation of escapes": Huge(
        lambda: MESH + deployment('flomesh.io/outbound-ip-range-exclusion-list: "' + "\\e" * 100_000 + '"'),
        ["exclusions"],
        0,
        r"\x1b\x1b",
    ),
    "a MeshConfig of ranges": Huge(
        lambda: (
            MESH.replace("      - 169.254.169.254/32", "\n".join(f"      - {one}" for one in RANGES)) + deployment("")
        ),
        ["include-ip", "10.0.0.0/8", "--local", "--yes"],
        0,
        "included-ip: [] → [10.0.0.0/8]",
    ),
    "rules without number": Huge(
        lambda: pod(f"-A OUTPUT -d {one} -j RETURN" for one in RANGES), POD, 0, "10.62.127.0/24"
    ),
    "chains without number": Huge(lambda: pod(f":C{number} - [0:0]" for number in range(50_000)), TRACE, 0, "VERDICT"),
    "a name without end": Huge(
        lambda: MESH + deployment("").replace("name: web,", f"name: {'x' * 1_000_000},"), ["rules"], 0, "x" * 1000
    ),
}


@pytest.mark.parametrize("case", HUGE)
def test_what_is_huge_costs_little(case, tmp_path):
    huge = HUGE[case]
    path = tmp_path / "huge.yaml"
    path.write_text(huge.text())
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1", "HOME": str(tmp_path)}
    code, megabytes, out, err = on_a_terminal([str(EXECUTABLE), *huge.argv, "-f", str(path)], env, tmp_path)
    assert code == huge.code, err[:2000]
    assert not list(Done(huge.argv, code, out, err).broken())
    assert squeezed(huge.said) in squeezed(out + err)
    assert megabytes < MOST_MEGABYTES


MERGED = "".join(["users: &a [", ", ".join(["{name: x}"] * 500), "]\n"]) + f"contexts: [{'*a, ' * 9000}]\n"


@pytest.mark.parametrize(
    "text", [MERGED, "x: " + "a" * 50_000_000, f"x: [{'a,' * 3_000_000}]"], ids=["aliases", "long", "many"]
)
def test_a_kubeconfig_that_is_huge_costs_little(text, tmp_path):
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    code, megabytes, out, err = on_a_terminal([str(EXECUTABLE), "rules", "--kubeconfig", str(path)], env, tmp_path)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: kubeconfig {path}:")
    assert megabytes < MOST_MEGABYTES


def test_all_texts_that_are_nasty_as_names_on_a_real_terminal(tmp_path):
    """With colours, whose escapes are the program's own."""
    shown = MESH
    for number, text in enumerate(NASTY):
        quoted = yaml.safe_dump(text, default_style='"', width=10_000).strip()
        made = deployment(f"flomesh.io/outbound-ip-range-exclusion-list: {quoted}")
        shown += made.replace("name: web,", f'name: "\\e[31mweb{number}\\u202e",')
    path = tmp_path / "nasty.yaml"
    path.write_text(shown)
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "80", "HOME": str(tmp_path)}
    for argv in (["rules"], ["check"], ["exclusions", "-o", "wide"], ["rules", "-o", "name"]):
        code, _, out, err = on_a_terminal([str(EXECUTABLE), *argv, "-f", str(path)], env, tmp_path)
        assert code in EXIT_CODES
        own = out + err
        for colour in ("\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m", "\x1b[1m", "\x1b[2m", "\x1b[0m"):
            own = own.replace(colour, "")
        assert not {char for char in own if not (char.isprintable() or char in "\n\t")}
        assert "\\x1b[31mweb1\\u202e" in own or argv == ["check"]
