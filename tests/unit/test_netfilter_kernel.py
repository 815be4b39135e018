"""What a lab says where it cannot be; what it says where it can is in tests/kernel."""

from __future__ import annotations

import os
import sys

import pytest

from kubectl_fsm.errors import FsmError, NoKernel
from kubectl_fsm.netfilter import kernel
from kubectl_fsm.netfilter.kernel import BACKENDS, Attempt, Endpoint, Lab, Landing, Outcome, PodNet, missing
from kubectl_fsm.netfilter.lab.attempts import packed, unpacked

POD = PodNet("web", {"eth0": "10.244.1.2", "net1": "10.245.1.2"})


@pytest.fixture
def as_root(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    kernel._programs.cache_clear()
    yield
    kernel._programs.cache_clear()


def program(folder, name, version=""):
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{name} v1.8.9 ({version})'\n")
    path.chmod(0o755)


@pytest.mark.usefixtures("as_root")
class TestMissing:
    @pytest.fixture(autouse=True)
    def folder(self, monkeypatch, tmp_path):
        """The one folder where programs are looked for."""
        monkeypatch.setattr(kernel, "_path", lambda: str(tmp_path))
        return tmp_path

    def test_another_system(self, monkeypatch):
        monkeypatch.setattr(sys, "platform", "darwin")
        assert missing() == "Linux"

    def test_somebody_else_than_root(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert missing() == "root"

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_programs(self, backend):
        assert missing(backend) == f"ip (package iproute2) and iptables-{backend}-restore (package iptables)"

    @pytest.mark.parametrize(("backend", "version"), BACKENDS.items())
    def test_programs_by_their_own_names(self, folder, backend, version):
        program(folder, "ip")
        program(folder, f"iptables-{backend}-save")
        program(folder, f"iptables-{backend}-restore", version)
        assert missing(backend) == ""

    @pytest.mark.parametrize(("backend", "version"), BACKENDS.items())
    def test_programs_as_the_system_chose(self, folder, backend, version):
        program(folder, "ip")
        program(folder, "iptables-save")
        program(folder, "iptables-restore", version)
        (other,) = set(BACKENDS) - {backend}
        assert missing(backend) == ""
        assert missing(other) == f"iptables-{other}-restore (package iptables)"

    def test_a_lab_says_so(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(NoKernel, match="the kernel cannot be asked here: root is needed") as refusal, Lab([POD]):
            pass
        assert "iproute2" in refusal.value.hint


def test_a_lab_before_its_beginning():
    with pytest.raises(FsmError, match="the lab is closed"):
        Lab([POD]).connect(Attempt("web", "10.0.0.1", 80))


def test_a_pod_s_own_address_is_its_first():
    assert POD.address == "10.244.1.2"


@pytest.mark.parametrize(
    "landing",
    [
        Landing(Outcome.TIMED_OUT, error="ETIMEDOUT"),
        Landing(
            Outcome.ACCEPTED, "web", Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 2), Endpoint("10.0.0.3", 3), 1500
        ),
    ],
)
def test_landings_travel_well(landing):
    assert unpacked(packed(landing)) == landing


def test_a_complaint_has_the_line_of_the_rules():
    complaint = "iptables-restore: oops\n\nError occurred at line: 12\nTry `iptables-restore -h' for more information."
    wanted = "iptables-restore: oops\nError occurred at line: 2\n  -A bad"
    assert kernel._with_line(complaint, "*nat\n-A bad\nCOMMIT\n", 10) == wanted
    assert kernel._with_line("line 99 failed", "*nat\n", 10) == "line 89 failed"
    assert kernel._with_line("no line", "*nat\n", 10) == "no line"
