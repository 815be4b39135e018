"""`trace --kernel` from its command line to the kernel's answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from kubectl_fsm import cli, tracing
from kubectl_fsm.commands import trace as trace_command
from kubectl_fsm.generator import render
from kubectl_fsm.netfilter import Action, simulate
from kubectl_fsm.netfilter.kernel import NODE_ADDRESS
from kubectl_fsm.operations import proof
from tests.kernel.test_cleanup import ROOT, left, processes, traces, wait_until_gone
from tests.support.mesh import FSM, OSM, control_plane_deployment, meshconfig
from tests.support.plugin import Plugin
from tests.support.workloads import deployment, owned, pod

SHOP = ROOT / "examples" / "shop"
MESHED = {"flomesh.io/monitored-by": "fsm"}
ENABLED = {"flomesh.io/sidecar-injection": "enabled"}
WEB, API = "10.244.0.2", "10.244.0.3"


@pytest.fixture(autouse=True)
def _asked(backend, monkeypatch):
    """Each part of the kernel in turn."""
    monkeypatch.setattr(proof, "missing", lambda one: "" if one == backend else "not its turn")


def namespace(name, **metadata):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **metadata}}


SPACES = [namespace("shop", labels=MESHED, annotations=ENABLED), namespace("bare")]


def service(name, app, *, target=8080, **spec):
    wanted = {"clusterIP": "10.96.0.7", "ports": [{"port": 80, "targetPort": target}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": wanted | ({"selector": {"app": app}} if app else {}) | spec,
    }


def endpoints(name, *addresses, port=8080, node="", target=None):
    """An EndpointSlice of ready endpoints; `target` names the pod behind the first."""
    ready = [{"addresses": [one], "conditions": {"ready": True}, "nodeName": node} for one in addresses]
    if target:
        ready[0]["targetRef"] = {"kind": "Pod", "name": target, "namespace": "shop"}
    metadata = {"name": f"{name}-{port}", "namespace": "shop", "labels": {"kubernetes.io/service-name": name}}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
        "ports": [{"name": "", "port": port, "protocol": "TCP"}],
        "endpoints": ready,
    }


def running(name, address, script="", *, node="", namespace="shop"):
    """A pod that runs, with this script in FSM's init container; without one it is in no mesh."""
    made = pod(name, namespace)
    made["spec"] |= {"nodeName": node}
    made["status"] = {"phase": "Running", "podIP": address}
    if script:
        made["spec"]["initContainers"] = [
            {"name": "fsm-init", "image": "init", "command": ["/bin/sh"], "args": ["-c", script]}
        ]
    return made


def script(**lists):
    return render("fsm-1.5", {}, {"traffic": lists})


@pytest.fixture
def ask(capsys, tmp_path):
    """Runs the verb over manifests; gives exit code, report and what was said beside it."""

    def ask(*args, objects, **traffic):
        documents = [meshconfig(FSM, **traffic), *SPACES, *objects]
        (tmp_path / "all.yaml").write_text("\n---\n".join(map(json.dumps, documents)))
        code = cli.main(["trace", *args, "-n", "shop", "-f", str(tmp_path), "--kernel", "-o", "json"])
        out, complaint = capsys.readouterr()
        return code, json.loads(out) if out else {}, complaint

    return ask


@pytest.fixture
def ends(ask):
    """Where connections end now, once simulator and kernel agree on every moment: what took each, counted."""

    def ends(*args, **world):
        code, report, complaint = ask(*args, **world)
        trials = report.get("kernel", {"trials": []})["trials"]
        assert (code, [one for one in trials if not one["agrees"]]) == (0, []), complaint
        assert trials, complaint
        return {one["connection"]: one["kernel"] for one in trials if one["when"] == report["when"]}

    return ends


CALLS = {
    "svc/redis:6379": "application → 10.96.12.7:6379  sts/redis sidecar inbound",
    "svc/api:8080": "sidecar outbound 127.0.0.1:15001",
    "10.96.12.7:6379": "application → 10.96.12.7:6379  sts/redis sidecar inbound",
}


@pytest.mark.parametrize("target", CALLS)
def test_the_shop_as_its_user_asks(tmp_path, target):
    plugin = Plugin({"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    before = traces()
    done = plugin.run("trace", "deploy/web", target, "-n", "shop", "-f", str(SHOP), "--kernel")
    assert (done.returncode, done.stderr) == (0, "")
    assert "AGREE" in done.stdout
    assert "  NO\n" not in done.stdout
    assert CALLS[target] in done.stdout
    assert traces() == before


def test_a_simulator_that_is_wrong_is_found_out(ask, monkeypatch):
    """One that takes every call by the pod's own interface for excluded."""

    def wrong(rules, packet):
        verdict = simulate(rules, packet)
        return verdict._replace(action=Action.ACCEPT, address=None, port=None) if packet.uid == 0 else verdict

    objects = [deployment("web", "shop"), deployment("api", "shop"), service("api", "api")]
    assert ask("deploy/web", "svc/api:80", objects=objects)[0] == 0
    monkeypatch.setattr(tracing, "simulate", wrong)
    code, report, complaint = ask("deploy/web", "svc/api:80", objects=objects)
    assert code == 1
    assert "simulator and kernel disagree about 1 of " in complaint
    assert "rules -o iptables" in complaint
    (first, *others) = report["kernel"]["trials"]
    assert (first["agrees"], list(first["kernel"])) == (False, ["deploy/web sidecar outbound 127.0.0.1:15001"])
    assert all(one["agrees"] for one in others)


class TestWithoutWhatItTakes:
    """It is said at once: these kubeconfigs lead nowhere."""

    def test_root(self, capsys, backend, monkeypatch, tmp_path):
        monkeypatch.undo()
        _ = trace_command  # loaded while everything may be read
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
        os.seteuid(65534)
        try:
            code = cli.main(["trace", "deploy/web", "svc/api:80", "--kernel"])
        finally:
            os.seteuid(0)
        assert code == 1
        assert capsys.readouterr().err == (
            "error: the kernel cannot be asked here: root is needed\n"
            "it takes root on Linux, and the packages iproute2 and iptables\n"
        )

    def test_programs(self, capsys, monkeypatch, tmp_path):
        lacking = "ip (package iproute2)"
        monkeypatch.setattr(proof, "missing", lambda backend: lacking)
        monkeypatch.setattr("kubectl_fsm.netfilter.kernel.missing", lambda backend: lacking)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
        assert cli.main(["trace", "deploy/web", "svc/api:80", "--kernel"]) == 1
        assert f"{lacking} is needed" in capsys.readouterr().err


PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from kubectl_fsm.cli import main
sys.exit(main(sys.argv[1:]))
"""


def agents(process):
    """Children of a process that have a session of their own, as a lab has it."""
    return [session for parent, session, own in processes() if own == session and parent == process.pid]


def test_ctrl_c_leaves_nothing(tmp_path):
    """While it waits for an answer that does not come."""
    objects = [*SPACES, meshconfig(FSM), running("web", WEB, script(outboundPortExclusionList=[80]), node="here")]
    objects += [service("api", "", internalTrafficPolicy="Local"), endpoints("api", API, node="there")]
    (tmp_path / "all.yaml").write_text("\n---\n".join(map(json.dumps, objects)))
    before = traces()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "trace",
         "web", "svc/api:80", "-n", "shop", "--kernel", "-f", str(tmp_path)],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (found := agents(process)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, complaint = process.communicate()
    assert (process.returncode, out, complaint) == (130, "", "\ninterrupted\n")
    wait_until_gone(found[0])
    assert left(found[0]) == []
    assert traces() == before


def test_pod_ip_mode(ends):
    """There the server's sidecar reaches its application at the pod's address."""
    objects = [running("web", WEB, script())]
    objects += [running("api-0", API, render("fsm-1.5", {}, {"sidecar": {"localProxyMode": "PodIP"}}))]
    found = ends("web", "api-0:8080", objects=objects)
    assert found["pod/api-0 sidecar → 127.0.0.1:8080"] == {f"pod/api-0 application {API}:8080": 1}


@pytest.mark.parametrize(
    ("interface", "taker"), [("net1", "deploy/api sidecar inbound"), ("net2", "deploy/web sidecar")]
)
def test_another_interface(ends, interface, taker):
    objects = [deployment("web", "shop"), deployment("api", "shop"), service("api", "api")]
    found = ends(
        "deploy/web", "svc/api:80", "--interface", interface, objects=objects, networkInterfaceExclusionList=["net1"]
    )
    (spot,) = found["deploy/web application → 10.96.0.7:80"]
    assert spot.startswith(taker)


@pytest.mark.parametrize("interface", ["lo", "net+", "+", "a b", "x" * 16])
def test_what_is_no_interface(ask, interface):
    code, _, complaint = ask("deploy/web", "svc/api:80", "--interface", interface, objects=[])
    assert (code, complaint.startswith("error: --interface: ")) == (2, True)


def test_a_pod_that_calls_itself_through_its_service(ends):
    """By kube-proxy, which masquerades it, and by its own sidecar."""
    objects = [deployment("web", "shop"), service("web", "web")]
    direct = ends("deploy/web", "svc/web:80", objects=objects, outboundPortExclusionList=[80])
    (spot,) = direct["deploy/web application → 10.96.0.7:80"]
    assert spot.startswith("deploy/web sidecar inbound 10.244.")
    within = ends("deploy/web", "svc/web:80", objects=objects)
    (onward,) = (connection for connection in within if "sidecar → 10.244." in connection)
    assert within[onward] == {"deploy/web sidecar inbound 127.0.0.1:15003": 1}


def test_a_pod_that_calls_its_own_address(ask, capsys, tmp_path):
    """OSM 0.11's rules know no pod that calls itself: it goes out by one listener and comes back to the application."""
    objects = [
        meshconfig(OSM),
        control_plane_deployment(OSM, "injector"),
        namespace("shop", labels={"openservicemesh.io/monitored-by": "osm"}),
        running("web", WEB, render("osm-0.11", {}, {})),
    ]
    objects[-1]["spec"]["initContainers"][0]["name"] = "osm-init"
    (tmp_path / "all.yaml").write_text("\n---\n".join(map(json.dumps, objects)))
    assert cli.main(["trace", "web", f"{WEB}:8080", "-n", "shop", "-f", str(tmp_path), "--kernel", "-o", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["outbound"]["port"]) == ("sidecar-to-plain", 15001)
    trials = [one for one in report["kernel"]["trials"] if one["when"] == "now"]
    assert {one["connection"]: one["kernel"] for one in trials} == {
        f"pod/web application → {WEB}:8080": {"pod/web sidecar outbound 127.0.0.1:15001": 1},
        f"pod/web sidecar → {WEB}:8080": {f"pod/web application {WEB}:8080": 1},
    }


PAST = script(outboundPortExclusionList=[80])


def test_a_service_without_endpoints_refuses(ends):
    objects = [running("web", WEB, PAST, node="here"), service("api", "api"), endpoints("api")]
    assert ends("web", "svc/api:80", objects=objects) == {"pod/web application → 10.96.0.7:80": {"refused": 1}}


class TestLocalPolicy:
    OBJECTS = (service("api", "", internalTrafficPolicy="Local"), endpoints("api", API, node="there"))

    def test_without_an_endpoint_on_the_node_nobody_answers(self, ends):
        objects = [running("web", WEB, PAST, node="here"), *self.OBJECTS]
        assert ends("web", "svc/api:80", objects=objects) == {"pod/web application → 10.96.0.7:80": {"no answer": 1}}

    def test_with_one_it_answers(self, ends):
        objects = [running("web", WEB, PAST, node="there"), *self.OBJECTS]
        assert ends("web", "svc/api:80", objects=objects) == {
            "pod/web application → 10.96.0.7:80": {f"outside {API}:8080": 1}
        }

    def test_on_a_node_that_is_not_known_there_is_nothing_to_try(self, ask):
        code, _, complaint = ask("web", "svc/api:80", objects=[running("web", WEB, PAST), *self.OBJECTS])
        assert code == 1
        assert "internalTrafficPolicy Local: on which node the client runs is not known" in complaint

    def test_unless_the_sidecar_picks(self, ends):
        ends("web", "svc/api:80", objects=[running("web", WEB, script()), *self.OBJECTS])

    def test_without_slices_its_pods_count_as_on_some_node(self, ask):
        objects = [deployment("web", "shop"), deployment("api", "shop")]
        objects.append(service("api", "api", internalTrafficPolicy="Local"))
        code, report, _ = ask("deploy/web", "svc/api:80", objects=objects)
        assert (code, report["service"]["routing"]) == (0, "balanced")


def test_a_hundred_endpoints(ends):
    objects = [deployment("web", "shop"), deployment("api", "shop", replicas=100), service("api", "api")]
    found = ends("deploy/web", "svc/api:80", objects=objects, outboundPortExclusionList=[80])
    picked = found["deploy/web application → 10.96.0.7:80"]
    assert (len(picked), sum(picked.values())) == (100, 6400)


def test_too_many_pods(ask):
    objects = [deployment("web", "shop"), deployment("api", "shop", replicas=250), service("api", "api")]
    code, _, complaint = ask("deploy/web", "svc/api:80", objects=objects)
    assert (code, "251 pods; up to 250 are tried in a kernel" in complaint) == (1, True)


@pytest.mark.parametrize("target", [f"{NODE_ADDRESS}:80", "svc/api:80", "api:8080"])
def test_addresses_of_the_lab_itself(ask, target):
    """Nobody has these; an answer would be about the lab."""
    objects = [running("web", WEB, script()), running("api", NODE_ADDRESS), service("api", "")]
    objects += [endpoints("api", NODE_ADDRESS)]
    code, _, complaint = ask("web", target, objects=objects)
    assert (code, f"{NODE_ADDRESS} is an address of the network in which it would be tried" in complaint) == (1, True)


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.1", "239.255.255.255", "255.255.255.255"])
def test_addresses_to_which_nobody_connects(ask, address):
    code, _, complaint = ask("deploy/web", f"{address}:80", objects=[deployment("web", "shop")])
    assert (code, "to which nobody connects" in complaint) == (2, True)


def test_one_address_at_two_ports(ends):
    objects = [running("web", WEB, PAST), running("api", API, script(inboundPortExclusionList=[8081]))]
    objects += [service("api", ""), *(endpoints("api", API, port=port, target="api") for port in (8080, 8081))]
    found = ends("web", "svc/api:80", objects=objects)
    assert set(found["pod/web application → 10.96.0.7:80"]) == {
        f"pod/api sidecar inbound {API}:15003",
        f"pod/api application {API}:8081",
    }


def test_an_application_at_a_sidecars_port_is_no_sidecar(ends):
    objects = [running("web", WEB, script(outboundPortExclusionList=[15003])), running("api", API, namespace="bare")]
    found = ends("web", f"{API}:15003", objects=objects)
    assert found == {f"pod/web application → {API}:15003": {f"pod/api application {API}:15003": 1}}


def test_a_rule_of_somebody_elses_that_leads_elsewhere(ends):
    own = script().replace(
        "COMMIT", "-I OUTPUT -p tcp --dport 5432 -j DNAT --to-destination 203.0.113.9:15432\nCOMMIT", 1
    )
    found = ends("web", "198.51.100.1:5432", objects=[running("web", WEB, own)])
    assert found == {"pod/web application → 198.51.100.1:5432": {"outside 203.0.113.9:15432": 1}}


def test_only_rules_that_were_read_are_loaded(ask, tmp_path):
    """Of text from a cluster nothing gets to a shell, or to iptables-restore, that is not a rule of the model's."""
    bait = tmp_path / "bait"
    for hostile in (f"$(touch {bait})", f"--modprobe={bait}", f'-m comment --comment "$(touch {bait})"'):
        own = script().replace("COMMIT", f"-A OUTPUT -p tcp {hostile} -j ACCEPT\nCOMMIT", 1)
        code, _, complaint = ask("web", "198.51.100.1:80", objects=[running("web", WEB, own)])
        assert (code, "the rules of pod/web are not known" in complaint) == (1, True)
    odd = service("api", "", ports=[{"name": f'x"\nCOMMIT\n*nat\n-A OUTPUT -j DROP $(touch {bait})', "port": 80}])
    slices = endpoints("api", API)
    slices["ports"][0]["name"] = odd["spec"]["ports"][0]["name"]
    code, _, complaint = ask("web", "svc/api:80", objects=[running("web", WEB, PAST), odd, slices])
    assert (code, "a comment cannot hold this character" in complaint) == (1, True)
    assert not bait.exists()


def test_a_pod_on_the_host_network(ends):
    """Two of them on one node have one address, and nothing is intercepted there."""
    hosted = [running(name, "192.168.7.7") for name in ("api", "twin")]
    for one in hosted:
        one["spec"]["hostNetwork"] = True
    objects = [running("web", WEB, script()), *hosted, service("api", "")]
    objects += [
        endpoints("api", "192.168.7.7", target="api"),
        endpoints("api", "192.168.7.7", target="twin", port=8081),
    ]
    found = ends("web", "svc/api:80", objects=objects)
    assert {spot for connection in found for spot in found[connection] if "192.168" in connection} == {
        "pod/twin application 192.168.7.7:8080",
        "pod/twin application 192.168.7.7:8081",
    }


def test_a_pod_with_an_ipv6_address_only(ends):
    """It is dialled at a stand-in; IPv4 is what the rules are about."""
    objects = [running("web", "fd00::2", script()), running("api", "fd00::3", script())]
    assert len(ends("web", "api:8080", objects=objects)) == len(
        ["to the sidecar", "to the server", "to its application"]
    )


def test_an_endpoint_whose_pod_is_not_shown(ask):
    """Its rules decide, so the world outside must not stand in for it."""
    objects = [running("web", WEB, PAST), service("api", ""), endpoints("api", API, target="gone")]
    code, _, complaint = ask("web", "svc/api:80", objects=objects)
    assert (code, f"pod/gone, the endpoint {API}:8080, cannot be read" in complaint) == (1, True)
    code, report, _ = ask("web", "198.51.100.1:443", objects=objects)
    assert (code, report["kernel"]["trials"][0]["agrees"]) == (0, True)


def test_pods_that_run_are_not_taken_for_those_to_come(ends):
    """A workload without pods gets addresses for its next ones that the running ones do not have."""
    up = deployment("api", "shop", replicas=3)
    up["metadata"]["uid"] = "uid-api"
    addresses = [f"10.244.0.{number}" for number in range(1, 6)]
    pods = [owned(running(f"api-{one}", one, script()), up) for one in addresses]
    for one in pods:
        one["metadata"]["labels"]["app"] = "api"
    found = ends("deploy/web", "deploy/api:8080", objects=[deployment("web", "shop"), up, *pods])
    assert [len(found[f"deploy/web sidecar → {one}:8080"]) for one in addresses] == [1] * len(addresses)


def test_now_is_tried_where_it_is_not_known_what_comes_after(ask):
    objects = [running("web", WEB, script()), running("api", API, script())]
    code, report, _ = ask("web", "api:8080", objects=objects, interceptionMode="NodeLevel")
    assert (code, {one["when"] for one in report["kernel"]["trials"]}) == (0, {"now"})
    (note,) = [one for one in report["notes"] if "not tried" in one]
    assert note.startswith("after-restart was not tried in the kernel: the rules of pod/web are not known")
