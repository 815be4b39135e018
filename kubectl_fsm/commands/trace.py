"""`kubectl fsm trace`."""

import re
from collections.abc import Generator, Iterator
from typing import NamedTuple

from kubectl_fsm import fields, services
from kubectl_fsm.arguments import Arguments
from kubectl_fsm.cluster.interface import CONFIG_MAPS, ENDPOINT_SLICES, PODS, SERVICES, Cluster, Connect
from kubectl_fsm.commands.options import FILES, general
from kubectl_fsm.errors import Forbidden, FsmError, UsageError
from kubectl_fsm.exclusions import value_problem
from kubectl_fsm.meshes import INTERFACES
from kubectl_fsm.netfilter.model import MAX_ID
from kubectl_fsm.operations import destinations, needs, proof
from kubectl_fsm.operations.destinations import Destination
from kubectl_fsm.operations.rights import READ, Need, Right, Rights
from kubectl_fsm.operations.trace import CILIUM, Request, trace
from kubectl_fsm.reports import Event, Failed, TraceReport
from kubectl_fsm.tracing import LOOPBACK_INTERFACE

FORMATS = ("wide", "json", "yaml", "mermaid")
USAGE = f"""Follow one TCP connection through the rules of both pods and the Service: who takes it, and which rule says so.

FROM is a pod or a workload (web-58d4f8ff58-wtz4f, deploy/web). TO is svc/NAME[.NAMESPACE]:PORT, IP:PORT, POD:PORT or
KIND/NAME:PORT; a port may be left out where there is just one.

Usage:
  kubectl fsm trace [options] [--] FROM TO

Examples:
  kubectl fsm trace deploy/web svc/redis:6379 -n shop
  kubectl fsm trace web-58d4f8ff58-wtz4f 10.96.0.1:443 -n shop -o json
  kubectl fsm trace deploy/web svc/api:8080 -f examples/shop           # from manifests, without a cluster
  kubectl fsm trace deploy/web svc/api:8080 -f examples/shop --kernel  # and prove it
  kubectl fsm trace deploy/web svc/api:8080 -n shop -o mermaid         # a picture, as GitHub draws it

Options:
      --uid=UID                    user id of the calling process, where the pod does not tell it
      --interface=INTERFACE        network interface by which it leaves [eth0 where none is named]
      --kernel                     try it in this machine's kernel too, in network namespaces made for it (as root)
{FILES}{general(*FORMATS)}"""


class Trace(NamedTuple):
    """The connection to follow."""

    request: Request
    kernel: bool = False

    def run(self, connect: Connect) -> Generator[Event, bool, TraceReport]:
        if self.kernel:
            proof.backend()  # what is missing here is said before a cluster is asked
        traced = trace(connect(), self.request)
        if not self.kernel:
            return traced.report
        report = proof.prove(traced)
        if wrong := [trial for trial in report.trials if not trial.agrees]:
            text = f"simulator and kernel disagree about {len(wrong)} of {len(report.trials)} connections"
            yield Failed(FsmError(text, "please report it, with the output of the verb rules -o iptables"))
        return report

    def rights(self, cluster: Cluster) -> Rights:
        wanted, namespace = self.request.target, self.request.namespace or cluster.namespace
        name, place = CILIUM
        cilium = Need(Right("get", CONFIG_MAPS, place, name), "whether Cilium picks a Service's endpoint is not known")
        found = [
            *needs.of_meshes(cluster, self.request.control_plane),
            *needs.of_target(cluster, self.request.source, namespace),
            needs.of_namespaces(namespace),
            cilium,
        ]
        if wanted.name:
            return Rights((READ,), [*found, *needs.of_target(cluster, wanted.name, namespace)])
        if wanted.address:
            found += [Need(Right("list", kind), "the address may be one of theirs") for kind in (SERVICES, PODS)]
            place = _namespace_of(cluster, wanted)
        else:
            place = wanted.namespace or namespace
            found.append(Need(Right("get", SERVICES, place, wanted.service)))
        return Rights((READ,), [*found, *(_behind(cluster, place) if place else ())])


def _namespace_of(cluster: Cluster, wanted: Destination) -> str:
    """The namespace of the Service that has this address; empty where there is none to be seen."""
    try:
        found = services.find(cluster.list(SERVICES), wanted.address, int(wanted.port))
    except Forbidden:
        return ""
    return fields.namespace(found[0]) if found else ""


def _behind(cluster: Cluster, namespace: str) -> Iterator[Need]:
    """To find a Service's pods."""
    yield from (Need(Right("list", kind, namespace)) for kind in (ENDPOINT_SLICES, PODS))
    yield Need(Right("get", PODS, namespace), "endpoints that the Service does not select are taken to be no pods")
    yield from needs.of_kin(cluster, PODS, namespace)
    yield needs.of_namespaces(namespace)


def parse(arguments: Arguments) -> Trace:
    if arguments.flag("--all-namespaces"):
        raise UsageError("a connection starts in one namespace: -n, not -A")
    uid, interface = arguments.text("--uid"), arguments.text("--interface")
    if uid and not (re.fullmatch("[0-9]{1,10}", uid) and int(uid) <= MAX_ID):
        raise UsageError(f"--uid takes a number, not {uid!r}")
    if interface and (wrong := value_problem(INTERFACES, interface)):
        raise UsageError(f"--interface: {wrong}")
    if interface == LOOPBACK_INTERFACE or interface.endswith("+"):
        raise UsageError(
            f"--interface: {interface!r} is not an interface by which a connection leaves a pod",
            "name one, such as eth0 or net1; what stays in the pod goes by lo without being told",
        )
    if arguments.flag("--kernel") and arguments.text("--output") == "mermaid":
        raise UsageError("--kernel is not drawn", "leave out -o mermaid, or --kernel")
    request = Request(
        arguments.text("FROM"),
        destinations.parse(arguments.text("TO")),
        arguments.text("--namespace"),
        arguments.text("--fsm-namespace"),
        int(uid) if uid else None,
        interface,
    )
    return Trace(request, arguments.flag("--kernel"))
