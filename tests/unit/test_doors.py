"""Who dials a Service past a sidecar, looked up by its address and port, against asking everybody."""

import io
import json
import random

import pytest

from kubectl_fsm.checks.doors import Callers, bypassing, doors, kindred
from kubectl_fsm.cluster import manifests
from kubectl_fsm.cluster.interface import SERVICES
from kubectl_fsm.commands.check import Check
from kubectl_fsm.meshes import EXCLUDED_RANGES, INCLUDED_RANGES, OUTBOUND_PORTS
from kubectl_fsm.operations.targets import Selection
from tests.support import workloads
from tests.unit.test_held_edits import NAMESPACE, meshconfig

PORTS = ("80", "81", "6379")
RANGES = ("0.0.0.0/0", "10.0.0.0/8", "10.96.0.0/16", "10.96.0.2/31", "10.96.0.3/32", "192.168.0.0/16")
CHOICES = {OUTBOUND_PORTS: PORTS, EXCLUDED_RANGES: RANGES, INCLUDED_RANGES: RANGES[1:]}


def scene(config, annotations):
    """Deployments with these annotations, and Services on each of the ports, one without an address."""
    services = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"s-{index}", "namespace": "shop"},
            "spec": {"clusterIP": address, "ports": [{"name": f"p{port}", "port": int(port)} for port in PORTS]},
        }
        for index, address in enumerate(("", "10.96.0.1", "10.96.0.3", "172.16.0.1"))
    ]
    made = [workloads.deployment(f"w-{index}", "shop", one) for index, one in enumerate(annotations)]
    objects = [config, NAMESPACE, *made, *services]
    files = manifests.read(["-"], None, io.BytesIO("\n---\n".join(map(json.dumps, objects)).encode()))
    return Check(Selection(everywhere=True), "", ())._scene(files)


@pytest.mark.parametrize("interfaces", [[], ["net1"]])
@pytest.mark.parametrize("seed", range(5))
def test_what_is_looked_up_is_what_all_would_say(seed, interfaces):
    chance = random.Random(seed)  # noqa: S311 - a seed that can be named
    annotations = [
        {
            f"flomesh.io/{found.annotation}": ",".join(chance.sample(values, chance.randint(1, 2)))
            for found, values in CHOICES.items()
            if chance.random() < 1 / 3
        }
        for _ in range(30)
    ]
    made = scene(meshconfig(networkInterfaceExclusionList=interfaces), annotations)
    all_kin = made.once(kindred)._kin
    found = 0
    for door in [door for service in made.list(SERVICES) for door in doors(service)]:
        asked = [(some, step) for kin in all_kin for some in kin.callers(door) if (step := some.bypass(door))]
        assert bypassing(made, door) == asked
        found += len(asked)
    assert found


def test_only_who_has_an_entry_for_it_is_asked(monkeypatch):
    """However many others there are, each with ranges of its own."""
    lists = [{"flomesh.io/outbound-ip-range-exclusion-list": f"192.168.{index}.0/24"} for index in range(50)]
    made = scene(meshconfig(), [*lists, {"flomesh.io/outbound-ip-range-exclusion-list": "10.96.0.0/16"}])
    asked, bypass = [], Callers.bypass
    monkeypatch.setattr(Callers, "bypass", lambda some, door: asked.append(some) or bypass(some, door))
    service = next(one for one in made.list(SERVICES) if one["spec"]["clusterIP"] == "10.96.0.3")
    for door in doors(service):
        ((some, _),) = bypassing(made, door)
        assert [view.workload.label for view in some.views] == ["deploy/w-50"]
    assert len(asked) == len(PORTS)
