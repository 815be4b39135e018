"""What the lists hold: what the injector, iptables and a shell make of it, and the room that is left."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from kubectl_fsm import exclusions, workloads
from kubectl_fsm.checks import mending
from kubectl_fsm.checks.kept import kept, removal
from kubectl_fsm.checks.lists import ListHolder
from kubectl_fsm.checks.model import Seen, check
from kubectl_fsm.checks.views import MeshView, WorkloadView
from kubectl_fsm.errors import InvalidExclusion
from kubectl_fsm.exclusions import MAX_PORTS, Effective, Entry
from kubectl_fsm.meshes import (
    EXCLUDED_RANGES,
    INBOUND_PORTS,
    INTERFACES,
    OUTBOUND_PORTS,
    PASSED_INBOUND_PORTS,
    ExclusionList,
    Injector,
    Item,
)
from kubectl_fsm.operations import guards

_SCARCE = MAX_PORTS - 2
_NAMED = 3
_HERE_DOCUMENT = re.compile(r"[$`\n]")
_COMMAND = re.compile(r"[$`\n;&|<>()]")
"""What a shell acts on: in a here-document that is not quoted, and in a command."""
_PORT_LISTS = (OUTBOUND_PORTS, INBOUND_PORTS)


@check(
    "annotation-refused",
    "error",
    WorkloadView,
    holds="The injector can read the lists of the pod template.",
    why="One item that it cannot read is enough: it refuses every new pod, so the workload makes none.",
    remedy="Ports are whole numbers, ranges have a prefix length, and there is nothing between two commas but one of these.",
)
def annotation_refused(view: WorkloadView) -> Iterator[Seen]:
    if not view.installation.injector.drops_bad_lists:
        for found, bad in _unreadable(view):
            others = f"; it holds {', '.join(map(repr, bad[1:]))} as well" if bad[1:] else ""
            seen = f"the injector refuses the pod: {_words(view, found)}{others}"
            yield Seen(seen, mending.removal(view, found, bad), view.place(found))


@check(
    "annotation-dropped",
    "warning",
    WorkloadView,
    holds="The injector can read the lists of the pod template.",
    why="This generation of the injector says nothing and goes on without the whole annotation.",
    remedy="Ports are whole numbers, and there is nothing between two commas but one of these.",
)
def annotation_dropped(view: WorkloadView) -> Iterator[Seen]:
    injector = view.installation.injector
    if injector.drops_bad_lists:
        for found, bad in _unreadable(view):
            key = injector.annotation(found)
            seen = f"the injector ignores the whole of annotation {key}, which holds {', '.join(map(repr, bad))}"
            yield Seen(seen, mending.removal(view, found, bad), view.place(found))


@check(
    "entry-invalid",
    "error",
    ListHolder,
    holds="iptables reads every entry as it is meant, and no more than 15 ports in one direction.",
    why="iptables refuses it, and with it all rules: a new pod never starts. Or it reads something else than what is meant: `+` is every interface, so that all traffic bypasses the sidecar.",
    remedy="Take it out, or write what is meant; of ports that are too many, those of one server go into an excluded range.",
)
def entry_invalid(view: ListHolder) -> Iterator[Seen]:
    for found, entries, own in _lists(view):
        added, values = _added(view, own), {entry.value for entry in own}
        bad: dict[str, str] = {}
        for problem in exclusions.problems(Effective(entries, view.union.settings)):
            value = problem.key[1]
            if value in values:
                if not _acts(view.installation.injector, value):
                    bad[value] = problem.text
            elif value == "too many" and added:
                seen = f"{problem.text}{_shares(entries, added)}"
                yield Seen(seen, _surplus(view, found, added, len(entries) - MAX_PORTS), view.place(found))
        if bad:
            more = [f"and {len(bad) - _NAMED} more"] if len(bad) > _NAMED else []
            seen = f"{found.name}: {'; '.join([*islice(bad.values(), _NAMED), *more])}"
            yield Seen(seen, mending.removal(view, found, [*bad]), view.place(found, next(iter(bad))))


@check(
    "ports-scarce",
    "info",
    ListHolder,
    holds="There is room for more ports: at most 15 in one direction.",
    why="The ports of a direction go into one match of iptables, which takes 15: one more, and new pods do not start.",
    remedy="Exclude the range of a server in the place of its ports, and for one workload what only it needs.",
)
def ports_scarce(view: ListHolder) -> Iterator[Seen]:
    for found, entries, own in _lists(view):
        added = _added(view, own)
        if found.item is Item.PORT and added and _SCARCE <= len(entries) <= MAX_PORTS:
            shares = _shares(entries, added)
            seen = f"{len(entries)} of {MAX_PORTS} {found.name.replace('-', ' ')}s are taken{shares}"
            yield Seen(seen, _less(found), view.place(found))


@check(
    "port-reserved",
    "warning",
    ListHolder,
    holds="No port of the mesh itself is excluded.",
    why="The mesh needs these ports of a pod. Excluded inbound, what listens there is open to everybody in the cluster.",
    remedy="Exclude ports of applications only.",
)
def port_reserved(view: ListHolder) -> Iterator[Seen]:
    for found, _, own in _lists(view):
        for entry in own:
            passed = found is INBOUND_PORTS and int(entry.value) in PASSED_INBOUND_PORTS
            if not passed and (use := guards.reserved(found, entry.value)):
                removal = mending.removal(view, found, [entry.value])
                yield Seen(f"{found.name}: {entry.value} is {use}", removal, view.place(found, entry.value))


@check(
    "shell-code",
    "error",
    MeshView,
    holds="No text of the MeshConfig's lists is code for a shell.",
    why="The injector writes it into a script that `sh -c` runs as root in every new pod of the mesh.",
    remedy="Take it out, and find out who wrote it: `kubectl fsm exclusions -o wide`.",
)
def shell_code(view: MeshView) -> Iterator[Seen]:
    injector = view.installation.injector
    for found in injector.lists:
        first: dict[str, int] = {}
        for index, value in enumerate(exclusions.global_values(found, view.installation.spec)):
            if first.setdefault(value, index) == index and _acts(injector, value):
                yield Seen(
                    f"{found.name}: a shell acts on {value!r}",
                    mending.removal(view, found, [value]),
                    (*view.place(found), index),
                )


@check(
    "mesh-bypassed",
    "warning",
    MeshView,
    holds="The MeshConfig leaves connections to the mesh.",
    why="Nothing that a pod dials passes its sidecar: there is no mTLS, and what wants TLS refuses it. By an excluded interface nothing that reaches a pod passes one either, and no policy holds.",
    remedy="Exclude just what is outside of the mesh; one workload is taken out by an annotation of its pod template.",
)
def mesh_bypassed(view: MeshView) -> Iterator[Seen]:
    for one in kept(view, INTERFACES):
        if guards.vital(one.entry.value) == guards.DEFAULT_INTERFACE:
            what = guards.VITAL_INTERFACES[guards.DEFAULT_INTERFACE]
            yield Seen(f"interface: {one.entry.value} is the interface of {what}", removal(view, one), one.path)
    ranges = [*kept(view, EXCLUDED_RANGES)]
    if _hold_everything([one.entry.value for one in ranges]):
        widest = max(ranges, key=lambda one: exclusions.address_share(one.entry.value))
        whole = exclusions.address_share(widest.entry.value) == 1
        seen = f"outbound-ip: {f'{widest.entry.value} is' if whole else 'the ranges together are'} every address"
        mend = removal(view, widest) if whole else "exclude just what is outside of the mesh"
        yield Seen(seen, mend, widest.path)


def _hold_everything(ranges: Sequence[str]) -> bool:
    """Whether IPv4 ranges leave no address out."""
    reached = 0
    for start, length in sorted(bits for value in ranges if (bits := exclusions.range_bits(value))):
        if start > reached:
            return False
        reached = max(reached, start + (1 << 32 - length))
    return reached == 1 << 32


def _unreadable(view: WorkloadView) -> Iterator[tuple[ExclusionList, Sequence[str]]]:
    """The lists of a template that will be injected that the injector cannot read, with the items."""
    injector = view.installation.injector
    if view.injected and view.installation.intercepts:
        for found in injector.pod_lists:
            key = injector.annotation(found)
            if bad := exclusions.bad_items(found, view.annotations[key]) if key in view.annotations else ():
                yield found, bad


def _words(view: WorkloadView, found: ExclusionList) -> str:
    """The injector's own."""
    try:
        exclusions.pod_values(view.installation.injector, found, view.annotations)
    except InvalidExclusion as error:
        return error.message
    return ""


def _lists(view: ListHolder) -> Iterator[tuple[ExclusionList, tuple[Entry, ...], Sequence[Entry]]]:
    """The lists of the union that the object has a part in: all entries, and its own."""
    for found in view.installation.injector.lists:
        entries = view.union.of(found)
        if own := [entry for entry in entries if view.owns(entry)]:
            yield found, entries, own


def _added(view: ListHolder, own: Sequence[Entry]) -> Sequence[str]:
    """What is in this object alone."""
    return [entry.value for entry in own if entry.sources == (view.source,)]


def _shares(entries: Sequence[Entry], added: Sequence[str]) -> str:
    rest = len(entries) - len(added)
    return f" ({rest} from the MeshConfig, {len(added)} from the pod template)" if rest else ""


def _surplus(view: ListHolder, found: ExclusionList, added: Sequence[str], count: int) -> str:
    """What to take out so that the ports are few enough: those that nothing listens on, where these will do."""
    listening = (
        workloads.container_ports(view.template, view.installation.mesh.sidecar)
        if isinstance(view, WorkloadView) and found is INBOUND_PORTS
        else ()
    )
    idle = [value for value in added if int(value) not in listening] if listening else []
    if len(idle) >= count:
        return mending.removal(view, found, idle[:count])
    return f"{_less(found)}; {count} too many of {', '.join(added)}"


def _less(found: ExclusionList) -> str:
    """How the ports of a list become fewer."""
    if found is INBOUND_PORTS:
        return "take out the ports that no container listens on"
    return "exclude the IP range of a server in the place of its ports (kubectl fsm exclude-ip)"


def _acts(injector: Injector, value: str) -> bool:
    """Whether a shell would do something with the value in the place where the injector writes it."""
    return bool((_HERE_DOCUMENT if injector.restore else _COMMAND).search(value))
