"""Exclusions: reading them as the injectors do, merging them, and what iptables makes of them.

The grammar of annotations is Go's, because the injectors are written in Go: `strconv.Atoi` for ports,
`net.ParseCIDR` for ranges, `strings.TrimSpace` around every item.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.errors import InvalidExclusion, InvalidObject, UsageError
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import EXCLUDED_RANGES, INBOUND_PORTS, INTERFACES, OUTBOUND_PORTS, ExclusionList, Injector, Item

MAX_PORT = 65535
MAX_PORTS = 15
"""iptables' multiport match takes 15 ports; the injectors put each direction into one match."""
MAX_INTERFACE_NAME = 15
"""IFNAMSIZ is 16 with the closing NUL."""

_GO_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_ATOI = re.compile(r"[+-]?[0-9]+", re.ASCII)
_INT64 = 1 << 63
_OCTET = r"(?:0|[1-9][0-9]{0,2})"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_MASK = re.compile(r"[0-9]+", re.ASCII)
_MASK_LIMIT = 0xFFFFFF
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
_INTERFACE = re.compile(r"(?!-|\.\.?\+?$)[A-Za-z0-9_.@-]+\+?")
"""Linux refuses `.`, `..` and names with `/`, `:` or white space; a shell and iptables would read more than a name
from a leading dash or from any other sign."""
_IPV4_BITS = 32
_IPV6_BITS = 128
_MAX_OCTET = 255


def trim(text: str) -> str:
    """The text without white space at its ends, as Go's `strings.TrimSpace` leaves it."""
    return text.strip(_GO_SPACE)


def atoi(text: str) -> int | None:
    """The number that Go's `strconv.Atoi` reads; None where it reads none."""
    if not _ATOI.fullmatch(text):
        return None
    digits = text.lstrip("+-").lstrip("0") or "0"
    if len(digits) > len(str(_INT64)):
        return None
    number = -int(digits) if text[0] == "-" else int(digits)
    return number if -_INT64 <= number < _INT64 else None


def is_cidr(text: str) -> bool:
    """Whether Go's `net.ParseCIDR` takes the text: an address without zone, a slash, a prefix length."""
    address, slash, mask = text.partition("/")
    if not slash or not _MASK.fullmatch(mask):
        return False
    length = _length(mask)
    if is_ipv4(address):
        return length <= _IPV4_BITS
    return ":" in address and length <= _IPV6_BITS and _is_ipv6(address)


def _length(mask: str) -> int:
    """A prefix length as Go reads it, leading zeros and all; beyond its limit it only counts as too long."""
    digits = mask.lstrip("0") or "0"
    return int(digits) if len(digits) < len(str(_MASK_LIMIT)) else _MASK_LIMIT


def is_ipv4(text: str) -> bool:
    """Whether the text is an IPv4 address as Go reads it: four decimal octets, no leading zeros."""
    return bool(_IPV4.fullmatch(text)) and all(int(octet) <= _MAX_OCTET for octet in text.split("."))


def _is_ipv6(text: str) -> bool:
    import ipaddress  # noqa: PLC0415 - 5 ms to load, and IPv6 is rare here

    if "%" in text:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def range_bits(text: str) -> tuple[int, int] | None:
    """First address and prefix length of an IPv4 range, as numbers; None where it is none."""
    address, _, mask = text.partition("/")
    if not is_ipv4(address) or not is_cidr(text):
        return None
    length = _length(mask)
    first, second, third, fourth = (int(octet) for octet in address.split("."))
    number = first << 24 | second << 16 | third << 8 | fourth
    return beginning(number, length), length


def beginning(address: int, length: int) -> int:
    """The first address of the range with a prefix of this length around an address."""
    return address >> _IPV4_BITS - length << _IPV4_BITS - length


def network(text: str) -> str:
    """An IPv4 range without its host bits, as iptables stores it: `2.2.2.2/24` is `2.2.2.0/24`. Other texts unchanged."""
    bits = range_bits(text)
    if bits is None:
        return text
    number, length = bits
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}/{length}"


class Entry(NamedTuple):
    """One value of an effective list and where it comes from (one source, or several that say the same)."""

    list: ExclusionList
    value: str
    sources: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Equal for entries that mean the same to iptables."""
        return self.list.name, network(self.value) if self.list.item is Item.RANGE else self.value

    def holds(self, other: "Entry") -> bool:
        """Whether it is for all that another entry of such a list is for."""
        if self.list.item is Item.INTERFACE:
            return self.value.endswith("+") and other.value.startswith(self.value[:-1])
        return covers(self.value, other.value) if self.list.item is Item.RANGE else self.value == other.value


class Settings(NamedTuple):
    """What steers the rules besides the lists: `spec.sidecar` of the MeshConfig.

    `pod_ip`: the sidecar reaches the application at the pod's address (`localProxyMode: PodIP`);
    `dns_proxy`: DNS queries go to the sidecar (`localDNSProxy.enable`).
    """

    pod_ip: bool = False
    dns_proxy: bool = False


class Effective(NamedTuple):
    """What one pod's rules are made from: the entries in the injector's order, list by list, and the settings."""

    entries: tuple[Entry, ...]
    settings: Settings

    def of(self, exclusion_list: ExclusionList) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.list is exclusion_list)

    def keys(self) -> set[tuple[str, str]]:
        return {entry.key for entry in self.entries}


class Problem(NamedTuple):
    """Something in an effective list that iptables or the injector refuses, so that the pod never starts.

    `size` grows as the problem gets worse; two problems with the same `key` are the same problem.
    """

    key: tuple[str, str]
    text: str
    size: int = 1


def effective(
    injector: Injector,
    annotations: Mapping[str, str],
    spec: Object,
    *,
    pod_source: str = "pod annotation",
    global_source: str = "MeshConfig",
) -> Effective:
    """The union that the injector makes of a pod's annotations and the MeshConfig's `spec`.

    Ports: global first, then the pod's; ranges: the pod's first; of equal values the first stays. Interfaces are taken
    as they are. Raises `InvalidExclusion` where the injector refuses the pod, `InvalidObject` where the MeshConfig holds
    what no API server stores.
    """
    entries: list[Entry] = []
    for exclusion_list in injector.lists:
        pod = [
            Entry(exclusion_list, value, (pod_source,)) for value in pod_values(injector, exclusion_list, annotations)
        ]
        mesh = [Entry(exclusion_list, value, (global_source,)) for value in global_values(exclusion_list, spec)]
        entries += _merge(mesh + pod if exclusion_list.item is Item.PORT else pod + mesh)
    return Effective(tuple(entries), settings(injector, spec))


def judged(injector: Injector, annotations: Mapping[str, str], spec: Object) -> tuple[Effective, Sequence[Problem]]:
    """The union with every problem there is; what cannot be read is left out of the union and is a problem."""
    kept, found = dict(annotations), []
    for exclusion_list in injector.pod_lists:
        key = injector.annotation(exclusion_list)
        if bad := bad_items(exclusion_list, kept[key]) if key in kept else ():
            holds = f"annotation {key} holds {bad[0]!r}"
            does = "ignores the whole list" if injector.drops_bad_lists else "refuses the pod"
            found.append(Problem((key, "unreadable"), f"the injector {does}: {holds}"))
            del kept[key]
    spec = _part(spec)
    wrong = {known.field: text for known in injector.lists if (text := _misfit(known, spec))}
    found += [Problem((field, "unreadable"), text) for field, text in wrong.items()]
    traffic = {field: value for field, value in fields.mapping(spec, "traffic").items() if field not in wrong}
    wanted = effective(injector, kept, spec.replaced("traffic", traffic))
    return wanted, [*found, *problems(wanted)]


def readable(injector: Injector, annotations: Mapping[str, str]) -> Mapping[str, str]:
    """The annotations without the items for which the injector refuses the pod."""
    kept = dict(annotations)
    for exclusion_list in () if injector.drops_bad_lists else injector.pod_lists:
        key = injector.annotation(exclusion_list)
        if bad := bad_items(exclusion_list, kept[key]) if key in kept else ():
            left = [item for item in items(kept.pop(key)) if item not in bad]
            kept |= {key: ",".join(left)} if left else {}
    return kept


def sound(union: Effective) -> Effective:
    """The union without the entries that iptables refuses one by one; there may be too many ports."""
    good = (entry for entry in union.entries if not value_problem(entry.list, entry.value))
    return union._replace(entries=tuple(good))


def loadable(union: Effective) -> Effective:
    """The sound part of a union that iptables takes: the first ports of either direction."""
    whole = sound(union)
    surplus = {entry for found in (INBOUND_PORTS, OUTBOUND_PORTS) for entry in whole.of(found)[MAX_PORTS:]}
    return whole._replace(entries=tuple(entry for entry in whole.entries if entry not in surplus))


def settings(injector: Injector, spec: Object) -> Settings:
    """The settings of a MeshConfig's `spec` as far as the injector knows them."""
    spec = _part(spec)
    return Settings(
        pod_ip=injector.pod_ip and fields.text(spec, "sidecar", "localProxyMode") == "PodIP",
        dns_proxy=injector.dns_proxy and fields.mapping(spec, "sidecar", "localDNSProxy").get("enable") is True,
    )


def pod_values(injector: Injector, exclusion_list: ExclusionList, annotations: Mapping[str, str]) -> Sequence[str]:
    """The values of a pod annotation, ports as plain numbers. Raises `InvalidExclusion` with the injector's words."""
    key = injector.annotation(exclusion_list)
    if exclusion_list not in injector.pod_lists or key not in annotations:
        return ()
    if bad := bad_items(exclusion_list, annotations[key]):
        if injector.drops_bad_lists:
            return ()
        what = "port value" if exclusion_list.item is Item.PORT else "IP range"
        raise InvalidExclusion(f"Invalid {what} '{bad[0]}' specified for annotation '{key}'")
    values = items(annotations[key])
    return [str(atoi(value)) for value in values] if exclusion_list.item is Item.PORT else values


def items(annotation: str) -> Sequence[str]:
    """The items of an annotation as the injectors split it; at least one, which may be empty."""
    return [trim(part) for part in annotation.split(",")]


def bad_items(exclusion_list: ExclusionList, annotation: str) -> Sequence[str]:
    """The items that the injectors cannot read."""
    if exclusion_list.item is Item.PORT:
        return [item for item in items(annotation) if (atoi(item) or 0) <= 0]
    return [item for item in items(annotation) if not is_cidr(item)]


def global_values(exclusion_list: ExclusionList, spec: Object) -> Sequence[str]:
    """The values of a MeshConfig's list as text. Raises `InvalidObject` for what no API server stores."""
    _fit(exclusion_list, spec)
    return [str(value) for value in raw_values(exclusion_list, spec)]


def _misfit(exclusion_list: ExclusionList, spec: Object) -> str:
    """What in a MeshConfig's list no API server stores; empty where there is nothing."""
    try:
        _fit(exclusion_list, spec)
    except InvalidObject as error:
        return error.message
    return ""


def _fit(exclusion_list: ExclusionList, spec: Object) -> None:
    """Raises `InvalidObject` for what no API server stores."""
    wanted = int if exclusion_list.item is Item.PORT else str
    for index, value in enumerate(raw_values(exclusion_list, spec)):
        if not isinstance(value, wanted) or isinstance(value, bool):
            part, path = _part(spec), ("traffic", exclusion_list.field, index)
            wrong = f"{fields.place(part, *path)} is {value!r}, not a {exclusion_list.item.value}"
            raise InvalidObject(wrong, obj=part.root, path=(*part.path, *path))


def raw_values(exclusion_list: ExclusionList, spec: Object) -> Sequence[object]:
    """A MeshConfig's list as it stands; empty where it is missing or null."""
    return fields.sequence(_part(spec), "traffic", exclusion_list.field)


def _part(spec: Object) -> fields.Part:
    """The spec with the MeshConfig that it is of, as far as that is known."""
    return spec if isinstance(spec, fields.Part) else fields.part({"kind": "MeshConfig", "spec": spec}, "spec")


def _merge(entries: Iterable[Entry]) -> Sequence[Entry]:
    """Entries with the sources of equal values joined at the first one; interfaces stay as often as they are listed."""
    merged: dict[tuple[str, int], Entry] = {}
    for index, entry in enumerate(entries):
        key = entry.value, index if entry.list is INTERFACES else 0
        first = merged.get(key)
        sources = (*first.sources, *(s for s in entry.sources if s not in first.sources)) if first else entry.sources
        merged[key] = Entry(entry.list, entry.value, sources)
    return list(merged.values())


def problems(wanted: Effective) -> Sequence[Problem]:
    """What `iptables-restore` (1.8.9) refuses of an effective union, and what it takes although it must not be there."""
    found = []
    for exclusion_list in dict.fromkeys(entry.list for entry in wanted.entries):
        entries = wanted.of(exclusion_list)
        if exclusion_list.item is Item.PORT and len(entries) > MAX_PORTS:
            text = (
                f"{len(entries)} {exclusion_list.name.replace('-', ' ')}s, and iptables takes {MAX_PORTS} in one match"
            )
            found.append(Problem((exclusion_list.name, "too many"), text, len(entries)))
        found += [
            Problem((exclusion_list.name, entry.value), wrong)
            for entry in entries
            if (wrong := value_problem(exclusion_list, entry.value))
        ]
    return found


def value_problem(exclusion_list: ExclusionList, value: str) -> str:
    """What is wrong with one value for iptables or for the shell that runs the script; empty where nothing is."""
    if exclusion_list.item is Item.PORT:
        port = atoi(value)
        good = port is not None and 0 < port <= MAX_PORT
        return "" if good else f"{value!r} is not a port from 1 to {MAX_PORT}"
    return _range_problem(value) if exclusion_list.item is Item.RANGE else _interface_problem(value)


def _range_problem(value: str) -> str:
    if not is_cidr(value):
        return f"{value!r} is not an IPv4 range such as 10.0.0.0/8"
    if ":" in value:
        return f"{value!r} is IPv6; the rules are IPv4's, and IPv6 is not touched by the mesh at all"
    mask = value.partition("/")[2]
    return "" if mask == str(_length(mask)) else f"{value!r} has a prefix length that iptables reads as octal"


def _interface_problem(value: str) -> str:
    if not _INTERFACE.fullmatch(value):
        return f"{value!r} is not the name of a network interface"
    long = len(value) > MAX_INTERFACE_NAME
    return f"{value!r} is longer than the {MAX_INTERFACE_NAME} characters of an interface's name" if long else ""


def parse_ports(words: Iterable[str]) -> Sequence[str]:
    """Ports as people write them: `6379`, `8000-8003`, commas or spaces between. Raises `UsageError`."""
    ports: dict[str, None] = {}
    for word in split(words):
        span = _span(word)
        if not 0 < span.start < span.stop <= MAX_PORT + 1:
            raise UsageError(f"{word!r} is not a port from 1 to {MAX_PORT}, nor a span of ports such as 8000-8003")
        if len(span) > MAX_PORTS:
            raise UsageError(f"{word!r} is {len(span)} ports, and iptables takes {MAX_PORTS} in one match")
        ports |= dict.fromkeys(str(port) for port in span)
    return list(ports)


def port_names(words: Iterable[str]) -> Sequence[str]:
    """Ports to be taken out of a list: as `parse_ports`, but also whatever else somebody may have put there."""
    return [str(port) for word in split(words) for port in (_span(word) or [word])]


def split(words: Iterable[str]) -> Sequence[str]:
    """Values with commas or white space between. Raises `UsageError` where there is none: an unset variable, maybe."""
    found = [part for word in words for part in re.split(r"[\s,]+", word) if part]
    if not found:
        raise UsageError("the values given are empty", "name at least one")
    return found


def _span(word: str) -> range:
    """`8000-8003` or one port as a range of numbers; empty for anything else."""
    found = _PORTS.fullmatch(word)
    return range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)


def parse_range(word: str) -> str:
    """An IPv4 range as people write it; a bare address becomes a /32. Raises `UsageError`."""
    text = f"{word}/32" if is_ipv4(word) else word
    if wrong := value_problem(EXCLUDED_RANGES, text):
        raise UsageError(wrong)
    return text


def parse_interface(word: str) -> str:
    """The name of a network interface, or of all that start with it (`veth+`). Raises `UsageError`."""
    if wrong := value_problem(INTERFACES, word):
        raise UsageError(wrong, "write a name such as eth1, or veth+ for every interface that starts with veth")
    return word


def address_share(value: str) -> float:
    """How much of all IPv4 addresses a range is, from 0 to 1; 0 for what is no IPv4 range."""
    return 2.0 ** -_length(value.partition("/")[2]) if is_cidr(value) and ":" not in value else 0.0


def covers(outer: str, inner: str) -> bool:
    """Whether one IPv4 range holds all of another; what is no range holds just itself."""
    if outer == inner:
        return True
    length = outer.partition("/")[2]
    wider = address_share(outer) >= address_share(inner) > 0
    return wider and network(f"{inner.partition('/')[0]}/{length}") == network(outer)
