"""The labs: a node with two pods, for each of the two parts of the kernel that iptables can speak to."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kubectl_fsm.netfilter.kernel import BACKENDS, Lab, missing
from tests.conftest import NO_KERNEL
from tests.support.pods import API, WEB


@pytest.fixture(scope="session", params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> str:
    """`nft`, then `legacy`. Where one cannot be had the test is skipped; with CI=true it fails."""
    wanted: str = request.param
    if lacking := missing(wanted):
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(f"{NO_KERNEL} for {wanted}: {lacking} is needed; as root `make packages` installs programs")
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
