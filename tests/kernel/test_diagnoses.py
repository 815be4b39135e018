"""What the programs say when they fail, in their own words, and what check makes of it."""

from __future__ import annotations

import re
import subprocess

import pytest

from kubectl_fsm.checks import diagnoses
from kubectl_fsm.errors import RulesRefused
from kubectl_fsm.exclusions import effective
from kubectl_fsm.generator import script
from kubectl_fsm.meshes import INJECTORS
from tests.support.pods import WEB

REFUSED = {
    "too many ports": ({"outboundPortExclusionList": list(range(1, 17))}, diagnoses.too_many_ports, None),
    "no port": ({"inboundPortExclusionList": [80, 70000]}, diagnoses.bad_value, "70000"),
    "IPv6": ({"outboundIPRangeExclusionList": ["fd00::/8"]}, diagnoses.bad_value, "fd00::"),
    "long name": ({"networkInterfaceExclusionList": ["a" * 16]}, diagnoses.bad_value, "a" * 16),
}


def explained(words):
    """What the table has for these words, and the value that they name."""
    found = ((explain, re.search(pattern, words)) for pattern, explain in diagnoses.TABLE)
    return next((explain, match[1] if match.groups() else None) for explain, match in found if match)


@pytest.mark.parametrize("name", REFUSED)
def test_what_iptables_refuses(lab, name):
    traffic, explain, value = REFUSED[name]
    text = script(INJECTORS["fsm-1.5"], effective(INJECTORS["fsm-1.5"], {}, {"traffic": traffic}))
    with pytest.raises(RulesRefused) as refused:
        lab.load(WEB.name, text.partition("<<EOF\n")[2].partition("\nEOF")[0] + "\n")
    assert explained(refused.value.message) == (explain, value)


FOLDERS = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
"""Where the programs lie; the PATH of somebody who became root may lack them."""


def ran(backend, name, *words, text="*nat\nCOMMIT\n"):
    """What a program says in a network of its own that has no rules."""
    command = ["unshare", "-n", *words, f"iptables-{backend}{name}"]
    done = subprocess.run(command, input=text, env=FOLDERS, capture_output=True, text=True, check=False)
    assert done.returncode
    return done.stderr


@pytest.mark.usefixtures("lab")
def test_a_container_without_the_right(backend):
    words = ran(backend, "-restore", "setpriv", "--bounding-set=-all", "--inh-caps=-all")
    explain, _ = explained(words)
    assert explain is (diagnoses.no_right if backend == "nft" else diagnoses.no_right_or_module), words


@pytest.mark.usefixtures("lab")
def test_a_chain_that_is_there(backend):
    again = f"iptables-{backend} -t nat -N PROXY_INBOUND && iptables-{backend} -t nat -N PROXY_INBOUND"
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", again], env=FOLDERS, capture_output=True, text=True, check=False
    )
    assert explained(done.stderr)[0] is diagnoses.twice


@pytest.mark.usefixtures("lab")
def test_a_match_that_is_not_there(backend):
    words = ran(backend, "-restore", text="*nat\n-A OUTPUT -m nosuch -j RETURN\nCOMMIT\n")
    assert explained(words)[0] is diagnoses.no_module
