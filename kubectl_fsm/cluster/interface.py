"""What the rest of the program asks of a cluster, be it an API server or a folder of manifests."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from kubectl_fsm.errors import ManifestError
from kubectl_fsm.fields import Object, Step

FIELD_MANAGER = "fsm-plugin"
"""Who wrote it, in managedFields. Flux takes back what managers named `kubectl…` wrote, so the name is not one of these."""

LOG_BYTES = 16_000
"""The most of a container's log that is handed on."""

PAGE = 250
"""Objects in one answer of a listing: half of what kubectl asks for takes half of the memory, and no more time."""


class Resource(NamedTuple):
    """A kind of API object and where the API server keeps it.

    `group` is empty for the core group, `short_names` are those that kubectl accepts.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`deployments.apps`, as error messages and RBAC name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def named(self) -> str:
        """`deployment.apps`, as kubectl names an object's kind in its output."""
        return f"{self.kind.lower()}.{self.group}" if self.group else self.kind.lower()

    @property
    def label(self) -> str:
        """What people type before the slash: `deploy`, `rollout`; with the group where a built-in kind has that name."""
        if self in BUILT_IN:
            return self.short_names[0]
        name = self.kind.lower()
        taken = {known.kind.lower() for known in BUILT_IN}
        return self.named if name in taken else name


PODS = Resource("", "v1", "Pod", "pods", True, ("pod", "po"))
NAMESPACES = Resource("", "v1", "Namespace", "namespaces", False, ("namespace", "ns"))
SERVICES = Resource("", "v1", "Service", "services", True, ("svc",))
DEPLOYMENTS = Resource("apps", "v1", "Deployment", "deployments", True, ("deploy",))
REPLICASETS = Resource("apps", "v1", "ReplicaSet", "replicasets", True, ("rs",))
STATEFULSETS = Resource("apps", "v1", "StatefulSet", "statefulsets", True, ("sts",))
DAEMONSETS = Resource("apps", "v1", "DaemonSet", "daemonsets", True, ("ds",))
JOBS = Resource("batch", "v1", "Job", "jobs", True, ("job",))
CRONJOBS = Resource("batch", "v1", "CronJob", "cronjobs", True, ("cj",))
EVENTS = Resource("", "v1", "Event", "events", True, ("ev",))
BUDGETS = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, ("pdb",))
AUTOSCALERS = Resource("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True, ("hpa",))
CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", True, ("cm",))
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False, ("crd",)
)
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")

BUILT_IN = (PODS, NAMESPACES, SERVICES, DEPLOYMENTS, REPLICASETS, STATEFULSETS, DAEMONSETS, JOBS, CRONJOBS)
"""Kinds that need no discovery."""


CUSTOM_WORKLOADS = frozenset({
    ("argoproj.io", "Rollout"), ("apps.kruise.io", "CloneSet"), ("apps.kruise.io", "StatefulSet"),
    ("apps.kruise.io", "DaemonSet"),
})  # fmt: skip
"""Group and kind of well-known custom resources that have a pod template: Argo Rollouts, OpenKruise."""


class View(NamedTuple):
    """Objects to keep in view: the one of that name, or those of a namespace whose labels match."""

    resource: Resource
    namespace: str
    selector: str = ""
    name: str = ""


class Position(NamedTuple):
    """Where something is written: the file as it was named (`-` for standard input), line and column from 1."""

    file: str
    line: int
    column: int


class Cluster(Protocol):
    """Reads and writes of Kubernetes objects.

    Every method may raise `ApiError` (`NotFound`, `Forbidden`, `Conflict`), `Unreachable` or `CredentialError`;
    a folder of manifests raises `ManifestError` and `NotFound`.
    """

    @property
    def origin(self) -> str:
        """What to call it in a message: `context prod`, `files deploy/`."""

    @property
    def namespace(self) -> str:
        """The namespace that a target without one is in."""

    @property
    def words(self) -> Sequence[str]:
        """The words of a command line, kubectl's as well, that lead it here as the same user."""

    @property
    def warnings(self) -> Sequence[str]:
        """What the API server warned of so far."""

    @property
    def unread(self) -> Sequence[ManifestError]:
        """What is wrong with files that were left out; an API server has none."""

    @property
    def denied(self) -> bool:
        """Whether the API server has denied a right so far, or whatever else it answers 403 to."""

    @property
    def remote(self) -> bool:
        """True for an API server: pods run, statuses and managedFields mean something, a missing object is an error."""

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """One object. Raises `NotFound`."""

    def list(
        self, resource: Resource, namespace: str = "", selector: str = "", field_selector: str = ""
    ) -> Iterable[Object]:
        """All objects of a kind in a namespace (all namespaces where it is empty), page by page.

        Only those whose labels match `selector` and whose fields match `field_selector`: `status.podIP=10.0.0.1`,
        `reason=FailedCreate,involvedObject.kind!=Pod`. An API server knows a few fields of each kind, and refuses others.
        """

    def patch(self, resource: Resource, name: str, namespace: str, merge: Object, *, dry_run: bool = False) -> Object:
        """Apply a JSON merge patch (RFC 7386) and return the object as it is then.

        A `metadata.resourceVersion` in the patch makes the write conditional: `Conflict` where somebody wrote first.
        With `dry_run` the server does everything but store it.
        """

    def try_create(self, resource: Resource, namespace: str, obj: Object) -> Object:
        """The object as the server would store it if it were created now: admission runs, nothing is kept.

        Files run nothing: there it is a `ManifestError`.
        """

    def create(self, resource: Resource, namespace: str, obj: Object) -> Object:
        """Create an object, and return it as it is stored. Raises `Conflict` where there is one of its name.

        This, `delete` and `evict` are a `ManifestError` on files.
        """

    def delete(self, resource: Resource, name: str, namespace: str, uid: str) -> None:
        """Begin to delete the object that has this uid; another of its name is a `Conflict`."""

    def evict(self, name: str, namespace: str, uid: str) -> None:
        """The same for a pod, where its PodDisruptionBudget has room; else it is an `ApiError` of status 429."""

    def log(self, name: str, namespace: str, container: str, lines: int) -> str:
        """The last lines, `LOG_BYTES` of them at the most, that a pod's container wrote: whatever it liked to write.

        Of the run before where this one has written nothing yet; empty where none has. `ApiError` of status 400 where the
        container has not started once, or the pod has none of that name. On files it is a `ManifestError`.
        """

    def observe(self, *views: View) -> Generator[Sequence[Sequence[Object]], None, None]:
        """The objects of each view, in the order of the views: as they are now, then after each change.

        The first comes when every view has been listed. Where nothing changes the same comes again after a second, so
        that the caller can look at the clock; what changes while the caller is busy comes as one. What may pass, of the
        network or the server, is borne for two minutes, then raised. Closing the generator ends the watches:
        `with contextlib.closing(cluster.observe(…)) as states`. Files do not change: there it is a `ManifestError`.
        """

    def preferred_version(self, group: str) -> str | None:
        """The version of an API group that the server prefers; None where the group is not served."""

    def resource(self, api_version: str, kind: str) -> Resource:
        """Where objects of this kind are. Raises `NotFound` where the server does not serve it."""

    def resource_named(self, text: str) -> Resource:
        """The kind that a person means by `deploy`, `Deployment`, `deployments.apps` or `rollout`. Raises `NotFound`."""

    def kinds(self) -> Sequence[Resource]:
        """Kinds to look for workloads in beside the built-in ones: those of the files, or `CUSTOM_WORKLOADS`.

        An API server serves too many to list them all; what others have made is found through the pods.
        """

    def position(self, obj: Object, *path: Step) -> Position | None:
        """Where the field at `path` of an object is written, or as much of the path as is: the object's begin at least.

        What an alias or a merge key brings in is where it is used. None on an API server, for an object that is in no
        file, and where the file is not as it was.
        """

    def gather(self, *calls: Callable[[], Any]) -> Sequence[Any]:
        """Results of independent reads, in order; side by side where that is faster. The first exception is raised."""


Connect = Callable[[], Cluster]
"""Gives the cluster when it is needed; commands that need none do not pay for one."""
