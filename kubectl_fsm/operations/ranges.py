"""IP ranges by name: a Service, the Kubernetes API, the cloud's metadata."""

import re
from collections.abc import Sequence

from kubectl_fsm import fields
from kubectl_fsm.cluster.interface import SERVICES, Cluster
from kubectl_fsm.errors import Refused
from kubectl_fsm.exclusions import is_ipv4, parse_range

KUBERNETES_API = "kubernetes-api"
CLOUD_METADATA = "cloud-metadata"
_METADATA_RANGE = "169.254.169.254/32"
_SERVICE = re.compile(r"(?:svc|services?)/([a-z0-9-]+)(?:\.([a-z0-9-]+))?")


def check(words: Sequence[str]) -> Sequence[str]:
    """The words, each a name or a good range (a bare address as /32). Raises `UsageError`."""
    parts = [part for word in words for part in word.replace(",", " ").split()]
    return [part if _named(part) else parse_range(part) for part in parts]


def resolve(words: Sequence[str], namespace: str, cluster: Cluster) -> Sequence[str]:
    """Ranges for checked words; a Service without a namespace is in `namespace`, else in the cluster's default one.

    Raises `NotFound`, and `Refused` for a Service that has no IPv4 ClusterIP.
    """
    return [_resolve(word, namespace or cluster.namespace, cluster) for word in words]


def _named(word: str) -> bool:
    return word in (KUBERNETES_API, CLOUD_METADATA) or _SERVICE.fullmatch(word) is not None


def _resolve(word: str, namespace: str, cluster: Cluster) -> str:
    if word == CLOUD_METADATA:
        return _METADATA_RANGE
    if word == KUBERNETES_API:
        return _cluster_ip("kubernetes", "default", cluster)
    found = _SERVICE.fullmatch(word)
    return _cluster_ip(found[1], found[2] or namespace, cluster) if found else word


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
