"""What the checks of routes find in random worlds, against what a trace says of the same connections after a restart."""

import io
import json
import re
from collections import Counter

from kubectl_fsm import cli
from kubectl_fsm.checks import routes
from kubectl_fsm.cluster import manifests
from kubectl_fsm.operations import destinations
from kubectl_fsm.operations.trace import Request, trace
from kubectl_fsm.tracing import Decision, Result
from tests.support.workloads import deployment
from tests.support.worlds import CLUSTER_IP, PORT, SHOP, world

WORLDS = 400
CLIENTS = ("web", "api", "db")
KINDS = ("plain text to a sidecar", "the same by a range", "TLS to an application", "nothing")
PLAIN = "plain"
"""A workload in the mesh that has no lists of its own."""


def shown(number):
    """A random world before it runs: pods and EndpointSlices are those that it would have, and kube-proxy has no choice.

    In three of four there is mTLS, and a ClusterIP or, where there is none, a target port that is the one that is dialled:
    without these there is nothing to find.
    """
    objects = [one for one in world(f"checks-{number}").objects if one["kind"] not in ("Pod", "EndpointSlice")]
    (service,) = (one for one in objects if one["kind"] == "Service")
    (config,) = (one for one in objects if one["kind"] == "MeshConfig")
    service["spec"].pop("internalTrafficPolicy", None)
    if number % 4:
        config["spec"]["sidecar"]["sidecarDisabledMTLS"] = False
        if service["spec"].get("clusterIP") == "None":
            if number % 4 == 1:
                service["spec"]["ports"][0]["targetPort"] = PORT
            else:
                service["spec"]["clusterIP"] = CLUSTER_IP
    return [*objects, deployment(PLAIN, SHOP)]


def ways(objects, client):
    """The ways from a workload's next pod to the Service."""
    place = next(
        one["metadata"]["namespace"]
        for one in objects
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", client)
    )
    (service,) = (one for one in objects if one["kind"] == "Service")
    target = destinations.parse(f"svc/target.{service['metadata']['namespace']}:{PORT}")
    files = manifests.read(["-"], place, io.BytesIO("\n---\n".join(map(json.dumps, objects)).encode()))
    traced = trace(files, Request(f"deploy/{client}", target, place, uid=0))
    servers = {one.address: one.subject.workload.label for one in traced.route.instances.values()}
    for way in traced.report.moments[-1].course.ways:
        yield way, {servers[one.address] for one in way.endpoints if one.address in servers}


def bypasses(way):
    """Whether an entry takes it past the client's sidecar, wherever the Service is."""
    certain = not way.outbound.assumed or "range" not in way.outbound.entry
    return way.outbound.decision is Decision.DIRECT and way.outbound.entry and certain


def is_narrow(way):
    """Whether the entry that decides is a port, or a single address."""
    entry = way.outbound.entry
    return entry.startswith("port ") or (entry.startswith("range ") and entry.endswith("/32"))


def holders(client, way):
    """Who has the entry that decides, with the entry."""
    for source in way.outbound.sources:
        yield ("MeshConfig" if source == "MeshConfig" else f"deploy/{client}"), way.outbound.entry


def expected(objects):
    """By ports and addresses: who dials the Service in plain text, and to whose sidecars. By more: the entries, and who
    has them. And whose applications get a plain pod's TLS.
    """
    followed = {client: list(ways(objects, client)) for client in (*CLIENTS, PLAIN)}
    fails = [
        (f"deploy/{client}", server, is_narrow(way), list(holders(client, way)))
        for client, found in followed.items()
        for way, servers in found
        if way.fails and way.result is Result.PLAIN_TO_SIDECAR and bypasses(way)
        for server in servers
    ]
    servers = {server for found in followed.values() for _, some in found for server in some}
    outside = [one for one in fails if one[0] not in servers]
    agreed = any(bypasses(way) for found in followed.values() for way, _ in found)
    late = {
        server
        for way, some in followed[PLAIN]
        if way.fails and way.result is Result.SIDECAR_TO_PLAIN and way.inbound.entry
        for server in some
    }
    return (
        {client for client, _, narrow, _ in outside if narrow},
        {server for _, server, narrow, _ in outside if narrow},
        {one for _, _, narrow, held in outside if not narrow for one in held},
        set() if agreed else late,
    )


def found(objects, path, capsys):
    """The same four, as the checks have them."""
    path.write_text("\n---\n".join(map(json.dumps, objects)))
    words = ["--only", "plain-to-sidecar,range-over-services,tls-to-application", "-o", "json"]
    cli.main(["check", "-f", str(path), *words])
    out, err = capsys.readouterr()
    assert out, err
    items = json.loads(out)["items"]
    late = {item["object"] for item in items if item["check"] == "tls-to-application"}
    wide = {
        (
            item["object"].partition("/fsm-")[0].partition("/osm-")[0],
            item["seen"].removeprefix("being ").partition(" takes ")[0],
        )
        for item in items
        if item["check"] == "range-over-services"
    }
    said = [item["seen"] for item in items if item["check"] == "plain-to-sidecar"]
    assert len(said) < 2
    clients, _, servers = (said or [""])[0].partition(" past the sidecar ")
    label = re.compile(r"deploy/\w+")
    return set(label.findall(clients)), set(label.findall(servers.partition("the sidecar of ")[2])), wide, late


def is_followed(objects):
    (service,) = (one for one in objects if one["kind"] == "Service")
    headless = service["spec"].get("clusterIP") == "None"
    return service["spec"]["selector"] and (not headless or service["spec"]["ports"][0]["targetPort"] == PORT)


def test_both_ways(tmp_path, capsys, figure, monkeypatch):
    monkeypatch.setattr(routes, "_NAMED", len(CLIENTS) + 1)
    count = Counter()
    for number in range(WORLDS):
        objects = shown(number)
        wanted = expected(objects) if is_followed(objects) else (set(), set(), set(), set())
        assert found(objects, tmp_path / "world.yaml", capsys) == wanted, f"world {number}"
        count[KINDS[0 if wanted[0] else 1 if wanted[2] else 2 if wanted[3] else 3]] += 1
    figure(f"checks of routes against traces: {WORLDS} worlds, {dict(count)}")
    assert min(count[one] for one in KINDS) > WORLDS / 60
