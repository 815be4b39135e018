"""Rendering of rules: injector and exclusions -> the init container's script, with a why for each rule."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from kubectl_fsm.errors import UsageError
from kubectl_fsm.exclusions import Effective, Entry, effective
from kubectl_fsm.meshes import (
    ADMIN_PORT,
    EXCLUDED_RANGES,
    HEALTH_CHECK_PORT,
    INBOUND_LISTENER,
    INBOUND_PORTS,
    INCLUDED_RANGES,
    INJECTORS,
    INTERFACES,
    OUTBOUND_LISTENER,
    OUTBOUND_PORTS,
    PASSED_INBOUND_PORTS,
    RESERVED_PORTS,
    SIDECAR_UID,
    Chains,
    Injector,
)


class Line(NamedTuple):
    """One rule as the injector writes it: `-A` or `-I`, its chain, its matches and target, why, and for which entries."""

    operation: str
    chain: str
    rule: str
    why: str
    entries: tuple[Entry, ...] = ()

    def __str__(self) -> str:
        return f"{self.operation} {self.chain} {self.rule}"


def render(injector: str, annotations: Mapping[str, str], meshconfig_spec: Mapping[str, object]) -> str:
    """The script exactly as that injector writes it for a pod with these annotations.

    `injector` is a generation such as `fsm-1.5` (`meshes.INJECTORS`), `meshconfig_spec` the `spec` of the MeshConfig.
    Raises `InvalidExclusion`, whose text contains the injector's own, where the injector refuses the pod;
    `InvalidObject` where the spec holds what no API server stores; `UsageError` for an unknown injector.
    """
    if injector not in INJECTORS:
        raise UsageError(f"unknown injector {injector!r}", f"known are {', '.join(INJECTORS)}")
    generation = INJECTORS[injector]
    return script(generation, effective(generation, annotations, meshconfig_spec))


def script(injector: Injector, wanted: Effective) -> str:
    """The init container's script for effective lists."""
    chains = injector.chains
    names = (chains.inbound, chains.in_redirect, chains.outbound, chains.out_redirect)
    if not injector.restore:
        commands = [f"iptables -t nat -N {name}" for name in names]
        return " && ".join(commands + [f"iptables -t nat {line}" for line in lines(injector, wanted)])
    text = [f"# {injector.banner} sidecar interception rules", "*nat"]
    text += [f":{name} - [0:0]" for name in names]
    text += [str(line) for line in lines(injector, wanted)]
    return "\n".join(["iptables-restore --noflush <<EOF", *text, "COMMIT", "EOF", ""])


def lines(injector: Injector, wanted: Effective) -> list[Line]:
    """The rules in the order of the injector's script; with `-I` that is not the order of evaluation."""
    inbound = list(_inbound(injector))
    inbound_excluded = list(_inbound_excluded(injector.chains, wanted))
    outbound = list(_outbound(injector, wanted))
    outbound_excluded = list(_outbound_excluded(injector, wanted))
    rest = list(_outbound_rest(injector.chains, wanted))
    if not injector.restore:
        return outbound + rest + inbound + outbound_excluded + inbound_excluded
    if injector.inserts:
        return inbound + inbound_excluded + outbound + rest + outbound_excluded
    return inbound + inbound_excluded + outbound + outbound_excluded + rest


def _inbound(injector: Injector) -> Iterator[Line]:
    """PREROUTING: traffic that comes into the pod."""
    chains = injector.chains
    yield Line(
        "-A",
        chains.in_redirect,
        f"-p tcp -j REDIRECT --to-port {INBOUND_LISTENER}",
        "the sidecar's inbound listener takes it",
    )
    yield Line("-A", "PREROUTING", f"-p tcp -j {chains.inbound}", "all TCP that enters the pod")
    passed = (*PASSED_INBOUND_PORTS, HEALTH_CHECK_PORT) if injector.health_check else PASSED_INBOUND_PORTS
    for port in passed:
        yield Line("-A", chains.inbound, f"-p tcp --dport {port} -j RETURN", RESERVED_PORTS[port])
    yield Line("-A", chains.inbound, f"-p tcp -j {chains.in_redirect}", "everything else that enters the pod")


def _inbound_excluded(chains: Chains, wanted: Effective) -> Iterator[Line]:
    for entry in wanted.of(INTERFACES):
        yield Line("-I", chains.inbound, f"-i {entry.value} -j RETURN", "excluded network interface", (entry,))
    if ports := wanted.of(INBOUND_PORTS):
        yield Line("-I", chains.inbound, f"{_multiport(ports)} -j RETURN", "excluded inbound ports", ports)


def _outbound(injector: Injector, wanted: Effective) -> Iterator[Line]:
    """OUTPUT: traffic that a process in the pod sends."""
    chains = injector.chains
    yield Line(
        "-A",
        chains.out_redirect,
        f"-p tcp -j REDIRECT --to-port {OUTBOUND_LISTENER}",
        "the sidecar's outbound listener takes it",
    )
    yield Line(
        "-A",
        chains.out_redirect,
        f"-p tcp --dport {ADMIN_PORT} -j ACCEPT",
        "meant for the sidecar's admin interface",
    )
    yield Line("-A", "OUTPUT", f"-p tcp -j {chains.outbound}", "all TCP that leaves a process of the pod")
    if injector.restore:
        yield Line(
            "-A",
            chains.outbound,
            f"-o lo ! -d 127.0.0.1/32 -m owner --uid-owner {SIDECAR_UID} -j {chains.in_redirect}",
            "the pod calling itself through a Service",
        )
        yield Line(
            "-A",
            chains.outbound,
            f"-o lo -m owner ! --uid-owner {SIDECAR_UID} -j RETURN",
            "the application calling itself at the pod's own address",
        )
    yield Line("-A", chains.outbound, f"-m owner --uid-owner {SIDECAR_UID} -j RETURN", "the sidecar's own connections")
    yield Line("-A", chains.outbound, "-d 127.0.0.1/32 -j RETURN", "loopback")
    if wanted.settings.dns_proxy:
        yield Line(
            "-A",
            "OUTPUT",
            "-p udp -d 127.0.0.153 --dport 53 -j DNAT --to-destination 127.0.0.153:5300",
            "DNS queries to the sidecar's DNS proxy (localDNSProxy)",
        )
    if wanted.settings.pod_ip:
        yield Line(
            "-I",
            "OUTPUT",
            f"-p tcp -o lo -d 127.0.0.1/32 -m owner --uid-owner {SIDECAR_UID} -j DNAT --to-destination $POD_IP",
            "the sidecar reaches the application at the pod's address (localProxyMode PodIP)",
        )


def _outbound_excluded(injector: Injector, wanted: Effective) -> Iterator[Line]:
    operation, chain = "-I" if injector.inserts else "-A", injector.chains.outbound
    for entry in wanted.of(INTERFACES):
        yield Line(operation, chain, f"-o {entry.value} -j RETURN", "excluded network interface", (entry,))
    for entry in wanted.of(EXCLUDED_RANGES):
        yield Line(operation, chain, f"-d {entry.value} -j RETURN", "excluded IP range", (entry,))
    if ports := wanted.of(OUTBOUND_PORTS):
        yield Line(operation, chain, f"{_multiport(ports)} -j RETURN", "excluded outbound ports", ports)


def _outbound_rest(chains: Chains, wanted: Effective) -> Iterator[Line]:
    included = wanted.of(INCLUDED_RANGES)
    for entry in included:
        yield Line("-A", chains.outbound, f"-d {entry.value} -j {chains.out_redirect}", "included IP range", (entry,))
    if included:
        yield Line("-A", chains.outbound, "-j RETURN", "outside the included IP ranges", included)
    else:
        yield Line("-A", chains.outbound, f"-j {chains.out_redirect}", "everything else that leaves the pod")


def _multiport(ports: tuple[Entry, ...]) -> str:
    return f"-p tcp --match multiport --dports {','.join(entry.value for entry in ports)}"
