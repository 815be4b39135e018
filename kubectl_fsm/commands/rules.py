"""`kubectl fsm rules`."""

from collections.abc import Generator
from typing import NamedTuple

from kubectl_fsm.arguments import Arguments
from kubectl_fsm.cluster.interface import Cluster, Connect
from kubectl_fsm.commands.options import FILES, general
from kubectl_fsm.errors import InvalidExclusion, InvalidObject, RulesSyntaxError
from kubectl_fsm.operations import meshes, targets
from kubectl_fsm.operations.inspect import pod_rules
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.targets import Selection
from kubectl_fsm.reports import Event, Note, RulesReport, Warned

FORMATS = ("wide", "json", "yaml", "name", "iptables", "mermaid")
USAGE = f"""Show the effective rules of pods: what each runs now, what it will run after a restart, and where it comes from.

TARGET is NAME (a pod) or KIND/NAME (a workload: deploy/web, sts/db, rollout/api). Without one, the pods of the
namespace are summed up, a line each. programmed: in the pod's rules, and stays. pending: comes with the next pod.
leaving: in the pod's rules until it is recreated.

Usage:
  kubectl fsm rules [options] [--] [TARGET...]

Examples:
  kubectl fsm rules web-58d4f8ff58-wtz4f -n shop
  kubectl fsm rules deploy/web -n shop -o iptables               the script itself
  kubectl fsm rules deploy/web -n shop -o mermaid                a picture, as GitHub draws it
  kubectl fsm rules -A -o json
  kubectl fsm rules deploy/web -f examples/shop                  from manifests, without a cluster

Options:
  -l, --selector=SELECTOR          pods with these labels
      --exit-code                  exit with 3 where a pod runs outdated rules
{FILES}{general(*FORMATS)}"""


class Rules(NamedTuple):
    """The pods to look at; `summary` where the rules themselves will not be shown."""

    selection: Selection
    control_plane: str = ""
    exit_code: bool = False
    summary: bool = False

    def run(self, connect: Connect) -> Generator[Event, bool, RulesReport]:
        cluster = connect()
        owners = Owners(cluster, readable_only=True)
        installations, subjects, namespaces = cluster.gather(
            lambda: meshes.find(cluster, self.control_plane),
            lambda: targets.select(cluster, owners, self.selection),
            lambda: meshes.namespaces(cluster, self.selection.scope(cluster) if cluster.remote else ""),
        )
        items = []
        for subject in subjects:
            for pod in subject.pods or (None,):
                namespace = namespaces.get(subject.workload.namespace)
                installation = meshes.of_pod(installations, namespace, *subject.pods) or installations[0]
                try:
                    found = pod_rules(subject, pod, namespace, installation, cluster.words, shadows=not self.summary)
                except (InvalidObject, InvalidExclusion, RulesSyntaxError) as error:
                    if self.selection.names:
                        raise
                    yield Warned(f"{subject}: {error.message}")
                    continue
                if pod is not None or not cluster.remote or self.selection.names or found.state == "refused":
                    items.append(found)
        if not items:
            yield Note(f"no pods found in {self._where(cluster)}")
        return RulesReport(items, cluster.origin, detailed=bool(self.selection.names), exit_code=self.exit_code)

    def _where(self, cluster: Cluster) -> str:
        labelled = f" with labels {self.selection.selector}" if self.selection.selector else ""
        scope = self.selection.scope(cluster)
        return (f"namespace {scope}" if scope else "any namespace") + labelled


def parse(arguments: Arguments) -> Rules:
    names, namespace = arguments.words("TARGET"), arguments.text("--namespace")
    offline = bool(arguments.many("--filename"))
    everywhere = arguments.flag("--all-namespaces") or (offline and not names and not namespace)
    selection = Selection(names, namespace, everywhere, arguments.text("--selector"))
    summary = not names and arguments.text("--output") not in ("json", "yaml", "mermaid")
    return Rules(selection, arguments.text("--fsm-namespace"), arguments.flag("--exit-code"), summary)
