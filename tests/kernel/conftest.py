"""The labs: a node with two pods, for each of the two parts of the kernel that iptables can speak to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kubectl_fsm.netfilter.kernel import BACKENDS, Lab, missing
from tests.conftest import give_up
from tests.support.pods import API, WEB


@pytest.fixture(scope="session", params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> str:
    """`nft`, then `legacy`. Where one cannot be had the test is skipped; with CI=true it fails."""
    wanted: str = request.param
    if lacking := missing(wanted):
        give_up(f"no kernel for {wanted}: {lacking} is needed; as root `make packages` installs programs")
    return wanted


@pytest.fixture(scope="session")
def _lab(backend: str) -> Iterator[Lab]:
    with Lab([WEB, API], backend) as lab:
        yield lab


@pytest.fixture
def lab(_lab: Lab) -> Lab:
    """A lab with `WEB` and `API`, no rules anywhere."""
    for pod in (WEB, API):
        _lab.load(pod.name, "")
    _lab.load_node("")
    return _lab
