"""What the last words of an init container mean, and what mends it: iptables', the kernel's and the kubelet's."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from kubectl_fsm import fields
from kubectl_fsm.checks import mending
from kubectl_fsm.checks.views import Group, MeshView, WorkloadView
from kubectl_fsm.exclusions import MAX_PORTS, problems
from kubectl_fsm.meshes import Item

_MODULES = "ip_tables iptable_nat nf_tables nft_compat xt_multiport xt_owner xt_REDIRECT"


class Case(NamedTuple):
    """Pods whose init container has failed. Of rules that iptables refuses only the next pods' lists can be told."""

    view: WorkloadView
    group: Group

    @property
    def where(self) -> str:
        """What shows where each entry is; nothing of files, whose own findings name their lines."""
        words = "fsm", "exclusions", "-n", self.view.workload.namespace
        return mending.told(self.view.scene, "", *words)


class Diagnosis(NamedTuple):
    """What it means, and what mends it."""

    means: str
    mend: str


Explain = Callable[[Case, "re.Match[str]"], Diagnosis]


def too_many_ports(case: Case, _: object) -> Diagnosis:
    found = [one.text for one in problems(case.view.wanted) if one.size > MAX_PORTS]
    if not found:
        return Diagnosis(
            "more ports than iptables takes in one match; the next pods have fewer", mending.anew(case.view)
        )
    how = f" with kubectl fsm exclude-port --remove; where each is: {case.where}" if case.where else ""
    return Diagnosis(found[0], f"take some out{how}")


def bad_value(case: Case, found: "re.Match[str]") -> Diagnosis:
    """A port, range or interface by the name that iptables complains of."""
    value, mesh = found[1], MeshView(case.view.scene, case.view.installation)
    named = [
        entry
        for entry in case.view.wanted.entries
        if value in (entry.value, entry.value.partition("/")[0] if entry.list.item is Item.RANGE else "")
    ]
    commands = {}
    for entry in named:
        for source in entry.sources:
            holder = mesh if source == mesh.source else case.view
            command = mending.removal(holder, entry.list, [entry.value])
            commands[command] = f"{entry.list.name} {entry.value} ({source})"
    if commands:
        return Diagnosis(
            f"iptables does not take {', '.join(commands.values())}", mending.together(mesh.scene, commands)
        )
    return Diagnosis(f"iptables does not take {value}; the next pods do not have it", mending.anew(case.view))


def no_right(case: Case, _: object) -> Diagnosis:
    means = "the init container has no right to change rules: it lacks NET_ADMIN"
    config = case.view.installation.config
    if fields.mapping(config, "spec", "sidecar").get("enablePrivilegedInitContainer") is True:
        return Diagnosis(f"{means}, though it is privileged", "let the node's admin look: SELinux, user namespaces")
    field = "spec.sidecar.enablePrivilegedInitContainer"
    if not config or not case.view.scene.cluster.remote:
        return Diagnosis(means, f"write true in {field} of the MeshConfig, and make the pods anew")
    patch = '{"spec":{"sidecar":{"enablePrivilegedInitContainer":true}}}'
    found = case.view.installation
    where = ["-n", found.namespace, "--type=merge", "-p", patch]
    command = mending.kubectl(case.view.scene, "patch", f"MeshConfig/{found.config_name}", *where)
    anew = mending.anew(case.view, "--all-pods")
    return Diagnosis(means, f"{command} && {anew}" if mending.is_command(anew) else f"{command}; then: {anew}")


def no_module(*_: object) -> Diagnosis:
    return Diagnosis("the node's kernel lacks a module that the rules need", f"on the node: modprobe -a {_MODULES}")


def no_right_or_module(case: Case, found: "re.Match[str]") -> Diagnosis:
    right, module = no_right(case, found), no_module()
    return Diagnosis(f"{right.means}, or {module.means}", f"{right.mend}; or {module.mend}")


def twice(case: Case, _: object) -> Diagnosis:
    means = "the rules of an earlier run are still in the pod's network, and the script cannot run twice"
    pod = fields.name(case.group.pods[0])
    words = "delete", "pod", pod, "-n", case.view.workload.namespace
    return Diagnosis(means, mending.told(case.view.scene, f"make pod {pod} anew", *words))


def no_image(*_: object) -> Diagnosis:
    return Diagnosis(
        "its image cannot be pulled",
        "name an image that the nodes can pull (spec.image of FSM's MeshConfig, the injector's environment), or give the pods an imagePullSecret",
    )


def no_root(*_: object) -> Diagnosis:
    return Diagnosis(
        "the pod's security context lets no container run as root",
        "move runAsNonRoot from the pod template's securityContext to its own containers",
    )


def another_architecture(*_: object) -> Diagnosis:
    return Diagnosis("its image is made for another architecture", "name an image for the nodes' architecture")


def no_memory(*_: object) -> Diagnosis:
    return Diagnosis("it has run out of memory", "raise the memory limit of the mesh's init container")


def no_program(*_: object) -> Diagnosis:
    return Diagnosis("its image has no iptables", "name the mesh's own init image of this release")


def locked(*_: object) -> Diagnosis:
    return Diagnosis(
        "another program held the lock of iptables", "wait for the next try; if it stays, look what runs on the node"
    )


TABLE: Sequence[tuple[str, Explain]] = (
    (r"too many ports specified", too_many_ports),
    (r"invalid port/service [`']([^']*)' specified", bad_value),
    (r"host/network [`']([^']*)' not found", bad_value),
    (r"interface name [`']([^']*)' must be shorter than IFNAMSIZ", bad_value),
    (r"you must be root|Operation not permitted|can't open lock file .*: Permission denied", no_right),
    (r"holding the xtables lock", locked),
    (r"Chain already exists", twice),
    (r"unable to initialize table", no_right_or_module),
    (r"can't initialize iptables table|Table does not exist|modprobe|insmod|kernel module", no_module),
    (r"No chain/target/match by that name|Couldn't load (?:match|target)|Protocol not supported", no_module),
    (r"iptables(?:-restore)?: (?:command )?not found", no_program),
    (r"ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull", no_image),
    (r"runAsNonRoot", no_root),
    (r"(?i)exec format error", another_architecture),
    (r"OOMKilled", no_memory),
)
"""What is said, and what it means; what iptables says is as 1.8 has it, nf_tables and legacy."""


def diagnose(case: Case, words: str) -> Diagnosis | None:
    """The first diagnosis that fits the words; None where nothing is known of them and the lists are right."""
    for pattern, explain in TABLE:
        if found := re.search(pattern, words):
            return explain(case, found)
    wrong = problems(case.view.wanted)
    if not wrong:
        return None
    where = f"; where it is: {case.where}" if case.where else ""
    return Diagnosis(wrong[0].text, f"take it out of its list{where}")
