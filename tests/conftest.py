"""What tests can ask for: a real control plane, meshes in it, the plugin, the injectors' own scripts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support import shapes, tools
from tests.support.control_plane import ControlPlane
from tests.support.injector import StandIn
from tests.support.mesh import FSM, OSM, OSM_EDGE, Flavour, Mesh
from tests.support.plugin import Plugin

# A busy machine is no failure: in a new checkout the first example alone, before which all sources are read, takes a while
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

NOT_HERE = "not here: "
FLAVOURS = {"fsm": FSM, "osm": OSM, "osm_edge": OSM_EDGE}
"""By the name of the fixture that installs it."""


def give_up(reason: str) -> None:
    """Skip what cannot be tried on this machine, which the run's summary says loudly; with CI=true it fails."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{NOT_HERE}{reason}")


@pytest.fixture(scope="session", autouse=True)
def _watched() -> Iterator[None]:
    with shapes.watched():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Let a test fail in which the program has printed what does not fit its schema."""
    try:
        return (yield)
    finally:
        wrong = shapes.noted()
        assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    """The programs of the control plane, by name. Where one is missing the test is skipped; with CI=true it fails."""
    if missing := tools.missing():
        where = "`make control-plane` builds them with Go; KUBEBUILDER_ASSETS or PATH may hold them"
        give_up(f"no control plane: {', '.join(missing)} not found; {where}")
    return tools.find()


@pytest.fixture(scope="session")
def control_plane(programs: dict[str, Path]) -> Iterator[ControlPlane]:
    """A Kubernetes control plane, started when the first test asks for it."""
    cluster = ControlPlane()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """The name of a new namespace, in no mesh."""
    name = control_plane.new_namespace()
    yield name
    control_plane.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def _installed(control_plane: ControlPlane) -> Iterator[dict[Flavour, Mesh]]:
    meshes: dict[Flavour, Mesh] = {}
    yield meshes
    for mesh in meshes.values():
        mesh.uninstall()


@pytest.fixture
def meshes(
    request: pytest.FixtureRequest, control_plane: ControlPlane, _installed: dict[Flavour, Mesh]
) -> Iterator[dict[Flavour, Mesh]]:
    """The meshes whose fixtures the test names, each as freshly installed; no other mesh is in the cluster."""
    callspec = getattr(request.node, "callspec", None)
    named = [*request.fixturenames, *(callspec.params.values() if callspec else ())]
    wanted = [flavour for name, flavour in FLAVOURS.items() if name in named]
    for flavour in [flavour for flavour in _installed if flavour not in wanted]:
        _installed.pop(flavour).uninstall()
    for flavour in wanted:
        if flavour in _installed:
            _installed[flavour].reset()
        else:
            mesh = Mesh(control_plane, flavour)
            mesh.install()
            _installed[flavour] = mesh
    yield _installed
    for mesh in _installed.values():
        mesh.empty()


@pytest.fixture
def fsm(meshes: dict[Flavour, Mesh]) -> Mesh:
    """FSM 1.5, namespace `fsm-system`."""
    return meshes[FSM]


@pytest.fixture
def osm(meshes: dict[Flavour, Mesh]) -> Mesh:
    """OSM 1.2, namespace `osm-system`."""
    return meshes[OSM]


@pytest.fixture
def osm_edge(meshes: dict[Flavour, Mesh]) -> Mesh:
    """osm-edge 1.3, namespace `osm-system`; not together with `osm`, whose API group it has."""
    return meshes[OSM_EDGE]


@pytest.fixture(params=list(FLAVOURS))
def mesh(request: pytest.FixtureRequest) -> Mesh:
    """Each of the meshes in turn."""
    installed: Mesh = request.getfixturevalue(request.param)
    return installed


@pytest.fixture
def faulty_injector(fsm: Mesh) -> Iterator[StandIn]:
    """A stand-in in the place of the program in Go; it does as it should until the test gives it a fault."""
    with fsm.faulty_injector() as stand_in:
        yield stand_in


@pytest.fixture
def fsm_plugin(control_plane: ControlPlane, tmp_path: Path) -> Plugin:
    """The plugin, as administrator of the control plane, with an empty home."""
    return Plugin(control_plane.path_env | {"HOME": str(tmp_path)})


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The scripts that the released injectors wrote: the file that `KUBECTL_FSM_VECTORS` names, or the usual one."""
    usual = Path(__file__).parents[2] / "shared" / "vectors" / "injector.json"
    path = Path(os.environ.get("KUBECTL_FSM_VECTORS", usual))
    if not path.is_file():
        pytest.fail(f"there is no {path}; KUBECTL_FSM_VECTORS says where the injectors' vectors are")
    return path


FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a line with a measured figure; the summary of the run prints them all."""
    return request.config.stash.setdefault(FIGURES, []).append


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where the tests run in several processes, hand the figures of this one on."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = session.config.stash.get(FIGURES, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the figures of another process over; one that crashed has none."""
    found = getattr(node, "workeroutput", {}).get("figures", [])
    node.config.stash.setdefault(FIGURES, []).extend(found)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures, and say loudly what could not be tested here, and why."""
    figures = terminalreporter.config.stash.get(FIGURES, [])
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)
    skipped = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    reasons = Counter(reason.partition(NOT_HERE)[2] for reason in skipped if NOT_HERE in reason)
    if reasons:
        terminalreporter.section("NOT TESTED", sep="!", red=True, bold=True)
        for reason, count in reasons.items():
            terminalreporter.write_line(f"{count} tests did not run: {reason}", red=True, bold=True)
