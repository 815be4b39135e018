"""Words at the cursor, as a table; how kubectl and bash ask for them is in tests/cluster."""

from contextlib import suppress
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_fsm import cli, commands, completion
from kubectl_fsm.checks.catalogue import CHECKS
from kubectl_fsm.cluster import manifests
from kubectl_fsm.cluster.manifests import Manifests
from kubectl_fsm.completion.candidates import SOURCES
from kubectl_fsm.errors import Forbidden, FsmError, UsageError
from kubectl_fsm.usage import read

SHOP = str(Path(__file__).parents[2] / "examples" / "shop")
KUBECONFIG = {"contexts": ["prod", "test", "$(reboot)", "a b"], "clusters": ["east"], "users": ["ann"]}
OWN = {"SELECTOR", "USERNAME", "GROUP", "TIME", "LEVEL", "UID", "N"}
"""What only the person who types can know."""


class Streams:
    stdin = None


def connect(arguments):
    return manifests.read(arguments.many("--filename"), arguments.text("--namespace") or None, Streams.stdin)


def answer(*words):
    door = completion.Door(connect, lambda _, section: KUBECONFIG[section])
    return completion.answer(words, cli.usage(), door)


def texts(*words):
    return [one.text for one in answer(*words).candidates]


VERBS = list(commands.VERBS)
TARGETS = ["deploy/api", "deploy/web", "sts/redis", "cj/report"]
IN_SHOP = ("-f", SHOP)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([""], VERBS),
        ([], VERBS),
        (["re"], ["restart"]),
        (["-n", "shop", "re"], ["restart"]),
        (["help", "re"], ["restart"]),
        (["help", "rules", ""], []),
        (["--", "re"], ["restart"]),
        (["rules", "--", "--output="], []),
        (["nonsense", ""], []),
        (["--names"], ["--namespace"]),
        (["rules", "--all-"], ["--all-namespaces"]),
        (["rules", "-A", "--all-"], []),
        (["rules", "-f", "x", "--filen"], ["--filename"]),
        (["rules", "-n"], ["-n"]),
        (["rules", "-o", ""], ["wide", "json", "yaml", "name", "iptables", "mermaid"]),
        (["rules", "-o", "j"], ["json"]),
        (["rules", "--output=j"], ["json"]),
        (["-o", "j"], []),
        (["-o", "j", "rules", "-o", "y"], ["yaml"]),
        (["exclude-port", "80", "--dry-run="], ["client", "server", "none"]),
        (["exclude-port", "--dry-run", ""], []),
        (["exclusions", "--export="], ["helm-set", "values", "patch"]),
        (["check", "--severity", "e"], ["error"]),
        (["check", "--only", "init-fa"], ["init-failed"]),
        (["check", "--only=init-failed,outdat"], ["init-failed,outdated"]),
        (["check", "--only=init-failed,init-fa"], []),
        (["check", "--only=outdated", "--only=outd"], []),
        (["check", "outdated", "--only=outd"], ["outdated"]),
        (["rules", "-o", "json,"], []),
        (["check", "--skip", ""], list(CHECKS)),
        (["rules", "--context", ""], ["prod", "test"]),
        (["rules", "--cluster=e"], ["east"]),
        (["rules", "--user", "a"], ["ann"]),
        (["rules", *IN_SHOP, ""], TARGETS),
        (["rules", *IN_SHOP, "deploy/"], ["deploy/api", "deploy/web"]),
        (["rules", *IN_SHOP, "deployment/w"], ["deployment/web"]),
        (["rules", *IN_SHOP, "deploy/web", "deploy/"], ["deploy/api"]),
        (["rules", *IN_SHOP, "deploy/web,"], []),
        (["rules", *IN_SHOP, "cm/"], []),
        (["rules", *IN_SHOP, "svc/"], []),
        (["rules", *IN_SHOP, "-A", ""], []),
        (["rules", *IN_SHOP, "-n", "other", ""], []),
        (["trace", *IN_SHOP, "deploy/w"], ["deploy/web"]),
        (["trace", *IN_SHOP, "deploy/web", "svc/r"], ["svc/redis:6379"]),
        (["trace", *IN_SHOP, "deploy/web", "sts/"], ["sts/redis:6379"]),
        (["trace", *IN_SHOP, "deploy/web", "svc/redis:6379", ""], []),
        (["exclude-port", "--local", *IN_SHOP, "--workload=sts/redis", "--workload=sts/"], []),
        (["exclude-port", "--local", *IN_SHOP, "--replace", ""], ["6379"]),
        (["exclude-ip", "--local", *IN_SHOP, "--replace", "cl"], ["cloud-metadata"]),
        (["exclude-ip", "--local", *IN_SHOP, "--replace", "16"], ["169.254.169.254/32"]),
        (["exclude-ip", "--local", *IN_SHOP, "--remove", "cl"], []),
        (["exclude-port", "--local", *IN_SHOP, "--workload", "sts/"], ["sts/redis"]),
        (["exclude-port", "--local", *IN_SHOP, ""], []),
        (["exclude-port", "--local", *IN_SHOP, "--remove", ""], ["6379"]),
        (["exclude-port", "--local", *IN_SHOP, "--remove", "7000,63"], ["7000,6379"]),
        (["exclude-port", "--local", *IN_SHOP, "--remove", "6379", ""], []),
        (["exclude-ip", "--local", *IN_SHOP, "k"], ["kubernetes-api"]),
        (["exclude-ip", "--local", *IN_SHOP, "svc/r"], ["svc/redis"]),
        (["completion", ""], ["install", "print"]),
        (["completion", "install", ""], []),
        (["rules", "--request-timeout", ""], []),
    ],
)
def test_the_words_that_fit(words, wanted):
    assert texts(*words) == wanted


@pytest.mark.parametrize("words", [["rules", "--nonsense", ""], ["--names=x", ""], ["rules", "--yes=maybe", ""]])
def test_a_command_line_that_is_wrong_already(words):
    with pytest.raises(UsageError):
        texts(*words)


def test_what_cannot_be_listed_takes_nothing_else_away(monkeypatch):
    real = Manifests.list

    def denying(self, resource, *args):
        if resource.kind in ("Deployment", "Service"):
            raise Forbidden(403, "Forbidden", "you may not")
        return real(self, resource, *args)

    monkeypatch.setattr(Manifests, "list", denying)
    assert texts("rules", *IN_SHOP, "") == ["sts/redis", "cj/report"]
    assert texts("exclude-ip", "--local", *IN_SHOP, "") == ["kubernetes-api", "cloud-metadata"]


NASTY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {annotations: {flomesh.io/outbound-port-exclusion-list: "--yes, 80, $(reboot)"}}
    spec: {containers: [{name: web, ports: [{name: "a\\e]0;x\\a\\e[31m", containerPort: 80}]}]}
"""


def test_what_a_shell_or_the_program_would_act_on_is_not_offered(tmp_path):
    (tmp_path / "web.yaml").write_text(NASTY)
    there = ("-f", str(tmp_path), "-n", "shop")
    assert texts("exclude-port", "--local", *there, "--workload=deploy/web", "--remove", "") == ["80"]
    (one,) = answer("trace", *there, "deploy/web", "deploy/web:").candidates
    assert one.text == "deploy/web:80"
    assert one.description
    assert one.description.isprintable()


@pytest.mark.parametrize(
    ("words", "directive"),
    [
        (["rules", *IN_SHOP, ""], 4),
        (["rules", "-f", ""], 0),
        (["rules", "--kubeconfig=x"], 0),
        (["completion", "install", "--folder", ""], 16),
        (["rules", "-o", ""], 4),
    ],
)
def test_what_the_shell_is_to_do(words, directive):
    assert answer(*words).directive == directive


def test_each_word_says_what_it_is():
    assert str(answer("trace", *IN_SHOP, "deploy/web", "svc/w")) == "svc/web:80\tService\n:4\n"
    assert all(not one.description for one in answer("check", "--only=outdated,").candidates)
    assert ("6379", "MeshConfig fsm-mesh-config") in answer(
        "exclude-port", "--local", *IN_SHOP, "--remove", ""
    ).candidates
    assert all(one.description for words in ([""], ["rules", "-"]) for one in answer(*words).candidates)


def test_every_value_is_either_offered_or_a_persons_own():
    parts = [read(commands.load(verb).USAGE) for verb in commands.VERBS]
    values = {option.value for part in parts for option in chain(*part.sections.values()) if option.value}
    named = {name for name in values | {name for part in parts for name in part.arguments} if not name.islower()}
    assert named == (set(SOURCES) - {"VERB", "OPTION"}) | set(completion.PATHS) | OWN


@given(
    words=st.lists(
        st.sampled_from(["rules", "-n", "--", "-f", "", "--output=", "-o", "--dry-run", "=", "-", "x,"])
        | st.text(st.characters(exclude_characters="\0"))
    )
)
def test_any_words_are_no_bug(words):
    with suppress(FsmError):
        answer(*words)
