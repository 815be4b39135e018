"""A connection under an injector's rules: where simulator and kernel lead it, and how little it takes to disagree."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from itertools import compress
from random import Random
from typing import NamedTuple

from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from kubectl_fsm.generator import render
from kubectl_fsm.netfilter import Packet, Ruleset, parse, simulate, write
from kubectl_fsm.netfilter.kernel import Attempt, Endpoint, Lab, Landing, Outcome
from kubectl_fsm.netfilter.targets import POD_IP
from tests.support.pods import API, WEB

Entry = tuple[str, object]
"""A field of a MeshConfig's `spec.traffic` and an item of its list; or `localProxyMode` or `localDNSProxy`, and whether."""

Simulated = Callable[[Ruleset, Attempt], str]
"""Where a simulator sends a connection, in the words of `seen`."""

thoroughly = settings(max_examples=1000, deadline=None, database=None, phases=[Phase.generate, Phase.shrink])


class Case(NamedTuple):
    """A connection under the rules that an injector writes for a MeshConfig, and where it landed."""

    injector: str
    entries: tuple[Entry, ...]
    attempt: Attempt
    landed: str


def script(injector: str, entries: tuple[Entry, ...]) -> str:
    """What the injector writes for them."""
    return render(injector, {}, spec(entries))


def spec(entries: tuple[Entry, ...]) -> Mapping[str, object]:
    """The MeshConfig's spec of these entries."""
    traffic: dict[str, list[object]] = {}
    sidecar: dict[str, object] = {}
    for field, value in entries:
        if field == "localDNSProxy":
            sidecar[field] = {"enable": value}
        elif field == "localProxyMode":
            sidecar[field] = value
        else:
            traffic.setdefault(field, []).append(value)
    return {"traffic": traffic, "sidecar": sidecar}


def loaded(lab: Lab, text: str) -> Ruleset:
    """The rules of a script, which `WEB` now has."""
    rules = parse(text)
    lab.load(WEB.name, write(rules))
    return rules


def expected(rules: Ruleset, tried: Attempt) -> str:
    """Where the simulator sends a connection, in the words of `seen`."""
    by_address = {address: name for name, address in WEB.interfaces.items()}
    if tried.origin == WEB.name:
        own = tried.destination in by_address or tried.destination.startswith("127.")
        out = "lo" if own else tried.interface or "eth0"
        source = tried.destination if own else WEB.interfaces[tried.interface or "eth0"]
        packet = Packet("OUTPUT", tried.protocol, source, tried.destination, None, tried.port, None, out, tried.uid)
    else:
        came_in = by_address[tried.destination]
        packet = Packet("PREROUTING", tried.protocol, None, tried.destination, None, tried.port, came_in)
    verdict = simulate(rules, packet)
    if verdict.action.value == "ACCEPT":
        return at(tried.destination, tried.port)
    address = verdict.address or tried.destination
    return at(WEB.address if address == POD_IP else address, verdict.port)


def at(address: str, port: int | None) -> str:
    """What answers at an address and port."""
    assert port is not None
    if address in WEB.interfaces.values() or IPv4Address(address).is_loopback:
        return f"web {address}:{port}" if port in WEB.listeners else "refused"
    if address == API.address:
        return f"api {address}:{port}" if port in API.listeners else "refused"
    return f"outside {address}:{port}"


def seen(landing: Landing) -> str:
    """Where a connection landed, in words."""
    if landing.outcome is not Outcome.ACCEPTED:
        return landing.outcome.value
    assert isinstance(landing.local, Endpoint)
    return f"{landing.place} {landing.local.address}:{landing.local.port}"


def shrunk(lab: Lab, case: Case, simulated: Simulated = expected) -> Case:
    """The same with the fewest entries under which simulator and kernel still disagree."""

    def disagree(entries: tuple[Entry, ...]) -> bool:
        rules = loaded(lab, script(case.injector, entries))
        return seen(lab.connect(case.attempt)) != simulated(rules, case.attempt)

    fewest = smallest(case.entries, disagree)
    loaded(lab, script(case.injector, fewest))
    return case._replace(entries=fewest, landed=seen(lab.connect(case.attempt)))


def smallest(entries: tuple[Entry, ...], wrong: Callable[[tuple[Entry, ...]], bool]) -> tuple[Entry, ...]:
    """As few of the entries as it takes to go wrong; all of them where that does not happen again."""
    kept = st.tuples(*[st.booleans()] * len(entries)).map(lambda keep: tuple(compress(entries, keep)))
    try:
        return find(kept, wrong, settings=thoroughly, random=Random(1))  # noqa: S311 - a seed
    except NoSuchExample:
        return entries


def told(case: Case, simulated: Simulated = expected) -> str:
    """A disagreement for people. Its first line can be kept."""
    text = script(case.injector, case.entries)
    want = simulated(parse(text), case.attempt)
    return f"{case}\nexpected: {want}\nMeshConfig: {json.dumps(spec(case.entries))}\n{text}"
