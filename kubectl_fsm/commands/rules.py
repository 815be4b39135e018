"""`kubectl fsm rules`."""

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from kubectl_fsm.arguments import Arguments
from kubectl_fsm.cluster.interface import Cluster, Connect
from kubectl_fsm.commands.options import FILES, general
from kubectl_fsm.errors import InvalidExclusion, InvalidObject, RulesSyntaxError, UsageError
from kubectl_fsm.fields import Object
from kubectl_fsm.meshes import Installation
from kubectl_fsm.operations import meshes, needs, second_opinion, targets
from kubectl_fsm.operations.inspect import pod_rules
from kubectl_fsm.operations.owners import Owners
from kubectl_fsm.operations.rights import ORACLE, READ, Rights
from kubectl_fsm.operations.survey import Subject
from kubectl_fsm.operations.targets import Selection
from kubectl_fsm.reports import Event, Note, Opinion, RulesReport, Warned

FORMATS = ("wide", "json", "yaml", "name", "iptables", "mermaid")
USAGE = f"""Show the effective rules of pods: what each runs now, what it will run after a restart, and where it comes from.

TARGET is NAME (a pod) or KIND/NAME (a workload: deploy/web, sts/db, rollout/api). Without one, the pods of the
namespace are summed up, a line each. programmed: in the pod's rules, and stays. pending: comes with the next pod.
leaving: in the pod's rules until it is recreated.

What the next pod will run is predicted from the MeshConfig and the pod template. --from-injector asks the cluster's
injector as well, by a pod that the API server admits and does not keep, and shows where its answer differs. It issues
a certificate for that, so this is for targets by name, and each template is asked about once.

Usage:
  kubectl fsm rules [options] [--] [TARGET...]

Examples:
  kubectl fsm rules web-58d4f8ff58-wtz4f -n shop
  kubectl fsm rules deploy/web -n shop -o iptables             # the script itself
  kubectl fsm rules deploy/web -n shop -o mermaid              # a picture, as GitHub draws it
  kubectl fsm rules deploy/web -n shop --from-injector         # what the injector makes of the next pod
  kubectl fsm rules -A -o json
  kubectl fsm rules deploy/web -f examples/shop                # from manifests, without a cluster

Options:
  -l, --selector=SELECTOR          pods with these labels
      --from-injector              ask the injector about the next pod (-o iptables: its own script)
      --exit-code                  exit with 3 where a pod runs outdated rules
{FILES}{general(*FORMATS)}"""


class Rules(NamedTuple):
    """The pods to look at; `summary` where the rules themselves will not be shown, `asks` the injector as well."""

    selection: Selection
    control_plane: str = ""
    exit_code: bool = False
    summary: bool = False
    asks: bool = False

    def run(self, connect: Connect) -> Generator[Event, bool, RulesReport]:
        cluster = connect()
        owners = Owners(cluster, readable_only=True)
        installations, subjects, namespaces = cluster.gather(
            lambda: meshes.find(cluster, self.control_plane),
            lambda: targets.select(cluster, owners, self.selection),
            lambda: meshes.namespaces(cluster, self.selection.scope(cluster) if cluster.remote else ""),
        )
        cases = []
        for subject in subjects:
            namespace = namespaces.get(subject.workload.namespace)
            installation = meshes.of_pod(installations, namespace, *subject.pods) or installations[0]
            cases.append((subject, namespace, installation))
        opinions = (yield from _asked(cluster, cases)) if self.asks else {}
        items = []
        for subject, namespace, installation in cases:
            for pod in subject.pods or (None,):
                try:
                    found = pod_rules(subject, pod, namespace, installation, cluster.words, shadows=not self.summary)
                except (InvalidObject, InvalidExclusion, RulesSyntaxError) as error:
                    if self.selection.names:
                        raise
                    yield Warned(f"{subject}: {error.message}")
                    continue
                if pod is not None or not cluster.remote or self.selection.names or found.state == "refused":
                    found = found._replace(from_injector=opinions.get(subject.workload.uid))
                    items.append(found._replace(rules=()) if self.summary else found)
        if not items:
            yield Note(f"no pods found in {self.selection.described(cluster)}")
        return RulesReport(items, cluster.origin, detailed=bool(self.selection.names), exit_code=self.exit_code)

    def rights(self, cluster: Cluster) -> Rights:
        looking = [*needs.of_looking(cluster, self.control_plane, self.selection)]
        if not self.asks:
            return Rights((READ,), looking)
        asking = needs.of_asking(self.selection.scope(cluster), "what the injector says is not known")
        return Rights((READ, ORACLE), [*looking, asking])


def _asked(
    cluster: Cluster, cases: Sequence[tuple[Subject, Object | None, Installation]]
) -> Generator[Event, bool, Mapping[str, Opinion]]:
    """What the injector says about each workload, by its uid; a warning where it says nothing."""
    distinct = {case[0].workload.uid: case for case in cases}
    answers = cluster.gather(*(partial(second_opinion.ask, cluster, *case) for case in distinct.values()))
    for (subject, *_), opinion in zip(distinct.values(), answers, strict=True):
        if opinion.same is None:
            yield Warned(f"{subject}: what the next pod will run is only predicted; of the injector: {opinion.reason}")
    return dict(zip(distinct, answers, strict=True))


def parse(arguments: Arguments) -> Rules:
    names, namespace = tuple(dict.fromkeys(arguments.words("TARGET"))), arguments.text("--namespace")
    offline = bool(arguments.many("--filename"))
    everywhere = arguments.flag("--all-namespaces") or (offline and not names and not namespace)
    selection = Selection(names, namespace, everywhere, arguments.text("--selector"))
    summary = not names and arguments.text("--output") not in ("json", "yaml", "mermaid")
    asks = arguments.flag("--from-injector")
    if asks:
        _check_asking(arguments)
    return Rules(selection, arguments.text("--fsm-namespace"), arguments.flag("--exit-code"), summary, asks)


def _check_asking(arguments: Arguments) -> None:
    """Raise `UsageError` where there is no injector to ask, too much to ask about, or no place for the answer."""
    if arguments.many("--filename"):
        raise UsageError("--from-injector asks a cluster's injector, and files (-f) have none")
    if not arguments.words("TARGET"):
        why = "it issues a certificate each time it is asked, so not for whole listings"
        raise UsageError("--from-injector is for targets by name", f"name them, such as deploy/web: {why}")
    if (output := arguments.text("--output")) in ("name", "mermaid"):
        raise UsageError(f"-o {output} does not show what --from-injector asks for")
