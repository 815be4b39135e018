"""Words in any order: what is no command line is a usage error, and nothing is run by mistake."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_fsm import commands
from tests.support.fuzzing import TEXTS, fuzzing
from tests.support.hostile import manifests
from tests.support.promises import run

STDIN = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests()}).encode()
OPTIONS = sorted(
    {
        option
        for verb in commands.VERBS
        for option in re.findall(r"(?<![\w-])--?[a-zA-Z][a-z-]*", commands.load(verb).USAGE)
        if option not in ("--kernel", "-v", "--v")  # makes network namespaces; asks for tracebacks
    }
)
ORDINARY = (
    *(
        "web",
        "deploy/web",
        "web-1",
        "sts/db",
        "svc/api:80",
        "svc/api.shop",
        "10.0.0.1:80",
        "10.0.0.0/8",
        "80",
        "8000-8003",
    ),
    *(
        "shop",
        "-",
        "json",
        "yaml",
        "wide",
        "name",
        "iptables",
        "mermaid",
        "sarif",
        "junit",
        "app=web",
        "a in (b,c)",
        "5s",
        "8",
    ),
    *(
        "kubernetes-api",
        "cloud-metadata",
        "net1",
        "helm-set",
        "print",
        "client",
        "server",
        "error",
        "fsm-system",
        "true",
        "false",
    ),
)
WORDS = st.sampled_from(ORDINARY) | TEXTS | st.text(max_size=4).map(lambda text: text + "\udcff")
GIVEN = st.one_of(
    st.sampled_from(OPTIONS),
    st.builds("{}={}".format, st.sampled_from(OPTIONS), WORDS),
    st.builds("{}{}".format, st.sampled_from(["-o", "-n", "-l", "-f", "-y"]), WORDS),
    WORDS,
)
HARMLESS = ["-f", "-"]
"""Without files a verb looks for a cluster, and finds none."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@fuzzing(0.2)
@given(
    verb=st.sampled_from(list(commands.VERBS)) | WORDS,
    words=st.lists(GIVEN, max_size=6),
    files=st.sampled_from([[], HARMLESS, [*HARMLESS, "--local"], [*HARMLESS, "--local", "--yes"]]),
    terminal=st.booleans(),
)
def test_any_words(verb, words, files, terminal):
    done = run([verb, *words, *files], STDIN, terminal=terminal)
    assert not list(done.broken()), done


@fuzzing(0.02)
@given(words=st.lists(GIVEN, max_size=3), verb=st.sampled_from(list(commands.VERBS)))
def test_help_is_help_whatever_follows(words, verb):
    done = run([verb, "--help", *words])
    assert not list(done.broken()), done
    assert done.code in (0, 2)
