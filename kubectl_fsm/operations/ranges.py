"""IP ranges by name: a Service, the Kubernetes API, the cloud's metadata."""

import re
from collections.abc import Callable, Iterator, Sequence

from kubectl_fsm import fields
from kubectl_fsm.cluster.interface import SERVICES, Cluster
from kubectl_fsm.errors import Refused, UsageError
from kubectl_fsm.exclusions import is_ipv4, parse_range, split

KUBERNETES_API = "kubernetes-api"
CLOUD_METADATA = "cloud-metadata"
_API = "kubernetes", "default"
_METADATA_RANGE = "169.254.169.254/32"
SERVICE = re.compile(r"(?:svc|services?)/([a-z0-9-]+)(?:\.([a-z0-9-]+)(?:\.svc(?:\.[a-z0-9.-]+)?)?)?")
"""A Service as a person writes it: `svc/redis`, `svc/redis.cache`, `svc/redis.cache.svc.cluster.local`; name and namespace."""


def values(words: Sequence[str], *, removing: bool, namespace: str) -> Callable[[Cluster], Sequence[str]]:
    """What asks a cluster for the ranges that words stand for: a name, an address (as /32) or a range.

    A Service without a namespace is in `namespace`, else in the cluster's default one. To be taken out of a list, a
    word may also be whatever else somebody may have put there. Raises `UsageError` at once; what is returned raises
    `NotFound`, and `Refused` for a Service that has no IPv4 ClusterIP.
    """
    parts = [word if is_name(word) else _range(word, removing=removing) for word in split(words)]
    return lambda cluster: [_resolve(part, namespace or cluster.namespace, cluster) for part in parts]


def is_name(word: str) -> bool:
    """Whether a word stands for a range that only a cluster knows, or that everybody does."""
    return word in (KUBERNETES_API, CLOUD_METADATA) or SERVICE.fullmatch(word) is not None


def _range(word: str, *, removing: bool) -> str:
    try:
        return word if removing and not is_ipv4(word) else parse_range(word)
    except UsageError as error:
        error.hint = f"write an IPv4 range or address, svc/NAME[.NAMESPACE], {KUBERNETES_API} or {CLOUD_METADATA}"
        raise


def services(words: Sequence[str], namespace: str) -> Iterator[tuple[str, str]]:
    """Name and namespace of each Service that has to be asked for its address."""
    for word in split(words):
        if word == KUBERNETES_API:
            yield _API
        elif found := SERVICE.fullmatch(word):
            yield found[1], found[2] or namespace


def _resolve(word: str, namespace: str, cluster: Cluster) -> str:
    if word == CLOUD_METADATA:
        return _METADATA_RANGE
    service = next(services([word], namespace), None)
    return _cluster_ip(*service, cluster) if service else word


def _cluster_ip(name: str, namespace: str, cluster: Cluster) -> str:
    service = cluster.get(SERVICES, name, namespace)
    title = f"Service {name} in {namespace}"
    if fields.text(service, "spec", "type") == "ExternalName":
        raise Refused(
            f"{title} is an ExternalName: it has no address of its own", "exclude the addresses that the name has"
        )
    single = fields.text(service, "spec", "clusterIP")
    addresses = [str(address) for address in fields.sequence(service, "spec", "clusterIPs")] or [single]
    if single == "None":
        raise Refused(
            f"{title} is headless: its clients dial the pods themselves", "exclude the pods' range or the port"
        )
    for address in addresses:
        if is_ipv4(address):
            return f"{address}/32"
    if any(addresses):
        raise Refused(f"{title} has only an IPv6 address, and IPv6 is not intercepted at all")
    raise Refused(f"{title} shows no ClusterIP", "a manifest has one only where it was written down")
