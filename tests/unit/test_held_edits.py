"""Edits of a cluster, with manifests in the place of the API server: what is said, asked, refused, and done next."""

import io

import pytest
import yaml

from kubectl_fsm import commands
from kubectl_fsm.arguments import order
from kubectl_fsm.cli import _match
from kubectl_fsm.cluster import manifests
from kubectl_fsm.errors import ApiError, Conflict, Declined, Refused, UsageError
from kubectl_fsm.generator import render
from kubectl_fsm.meshes import EXCLUDED_RANGES, INTERFACES, OUTBOUND_PORTS
from kubectl_fsm.operations import edit
from kubectl_fsm.operations.guards import reserved
from kubectl_fsm.operations.places import Action, Change
from kubectl_fsm.reports import Question, Warned
from kubectl_fsm.usage import options
from tests.unit.test_guards_offline import IN, NAMESPACE, OUT, deployment, meshconfig, pod, template

OLD = render("fsm-1.5", {}, {})
WEB = ["--workload=deploy/web", "-n", "shop"]


class Remote:
    """Manifests that count as an API server; `patches` are what was sent, `failures` are raised instead of writing."""

    remote, origin = True, "context test"

    def __init__(self, *objects, failures=(), words=()):
        text = yaml.safe_dump_all(objects).encode()
        self.files = manifests.read(["-"], None, io.BytesIO(text))
        self.patches, self.failures, self.kinds = [], list(failures), lambda: ()
        self.words = words

    def __getattr__(self, name):
        return getattr(self.files, name)

    def patch(self, resource, name, namespace, merge, *, dry_run=False):
        self.patches.append((merge, dry_run))
        if self.failures:
            raise self.failures.pop(0)
        return self.files.patch(resource, name, namespace, merge, dry_run=dry_run)

    def position(self, *_):
        return None


def carry_out(cluster, verb, *words, answer=True):
    """The report of a command, and what it said and asked."""
    module = commands.load(verb)
    work = module.parse(_match(verb, module.USAGE, order(words, options(module.USAGE)).canonical())).run(
        lambda: cluster
    )
    events = []
    try:
        event = next(work)
        while True:
            events.append(event)
            event = work.send(answer)
    except StopIteration as end:
        return end.value, events


def texts(events, kind):
    return [event.text for event in events if isinstance(event, kind)]


def running(name, kind="Deployment", owner="web", script=OLD):
    return pod(name, script, (kind, owner), uid=name)


def cron_job(name="nightly"):
    jobs = {"jobTemplate": {"spec": {"template": template()}}}
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": jobs}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(edit, "_FIRST_PAUSE", 0.001)


def test_what_a_global_edit_makes_outdated_and_what_to_do_next():
    objects = [
        meshconfig(),
        NAMESPACE,
        deployment(),
        deployment("api"),
        deployment("idle"),
        running("web-1"),
        running("web-2"),
        running("api-1", owner="api"),
        pod("alone", OLD, uid="alone"),
        running("new", owner="fresh", script=render("fsm-1.5", {OUT: "6379"}, {})),
        deployment("fresh", {OUT: "6379"}),
    ]
    cluster = Remote(*objects, words=["--context=prod", "--as=ann"])
    report, events = carry_out(cluster, "exclude-port", "6379", "-N", "fsm-system")
    assert events == []
    assert (report.result, report.pods, report.outdated) == ("edited", 5, 4)
    assert report.apply == [
        "kubectl fsm restart deploy/api deploy/web -n shop --context=prod --as=ann",
        "pod/alone in shop: delete the pod and apply its first manifest; its live one keeps the old rules",
    ]
    assert report.undo == ("kubectl fsm exclude-port --remove 6379 --fsm-namespace=fsm-system --context=prod --as=ann")
    assert report.consequence == (
        "every new pod gets it from now on; running pods keep their rules until they are recreated"
    )
    assert (report.object, report.origin, report.mesh) == (
        "meshconfig.config.flomesh.io/fsm-mesh-config",
        "context test",
        "fsm (fsm-system)",
    )


ROLLOUT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "canary", "namespace": "shop"},
    "spec": {"template": template()},
}
CLONE_SET = {**ROLLOUT, "apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet"}


@pytest.mark.parametrize(
    ("owner", "api_version", "said"),
    [
        (cron_job("canary"), "batch/v1", "cj/canary in shop: its next run has them"),
        (ROLLOUT, "argoproj.io/v1alpha1", "kubectl fsm restart rollout/canary -n shop"),
        (
            CLONE_SET,
            "apps.kruise.io/v1alpha1",
            "kubectl fsm restart cloneset/canary -n shop --evict",
        ),
        (
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": "canary", "namespace": "shop"},
                "spec": {"template": template()},
            },
            "batch/v1",
            "job/canary in shop: create the Job anew",
        ),
        (None, "apps/v1", "rs/canary in shop: restart ReplicaSet canary, which is not shown"),
    ],
)
def test_what_makes_the_pods_of_other_kinds_anew(owner, api_version, said):
    one = running("canary-1", owner["kind"] if owner else "ReplicaSet", "canary")
    one["metadata"]["ownerReferences"][0]["apiVersion"] = api_version
    objects = [meshconfig(), NAMESPACE, one, *([owner] if owner else [])]
    assert carry_out(Remote(*objects), "exclude-port", "6379")[0].apply == [said]


@pytest.mark.parametrize(
    ("words", "undo"),
    [
        (["exclude-port", "--remove", "443"], "kubectl fsm exclude-port 443"),
        (
            ["exclude-port", "--replace", "80"],
            "kubectl fsm exclude-port --remove 80 && kubectl fsm exclude-port 443 22",
        ),
        (["exclude-port", "--clear"], "kubectl fsm exclude-port 443 22"),
        (["exclude-port", "--inbound", "8"], "kubectl fsm exclude-port --inbound --remove 8"),
        (["exclude-ip", "--clear"], "kubectl fsm exclude-ip 10.0.0.0/8"),
        (["include-ip", "--yes", "9.9.9.9"], "kubectl fsm include-ip --remove 9.9.9.9/32"),
        (["exclude-interface", "veth+"], "kubectl fsm exclude-interface --remove veth+"),
        (["exclude-port", "443"], ""),
    ],
)
def test_undo(words, undo):
    lists = {"outboundPortExclusionList": [443, 22, 70000], "outboundIPRangeExclusionList": ["10.0.0.0/8", "fd00::/8"]}
    report, _ = carry_out(Remote(meshconfig(**lists)), *words)
    assert report.undo == undo, "what iptables refuses is not written again"


@pytest.mark.parametrize(
    ("obj", "scope", "first", "consequence"),
    [
        (
            deployment(replicas=2),
            "--workload=deploy/web",
            "deploy/web in shop (2 replicas): an edit of its pod template starts its rollout at once",
            "its rollout has started; follow it: kubectl rollout status deploy/web -n shop --context=prod",
        ),
        (
            deployment(replicas=1, paused=True),
            "--workload=deploy/web",
            "deploy/web in shop (1 replica): its rollout is paused: no pod is replaced until it is resumed",
            "its rollout is paused: no pod is replaced until it is resumed",
        ),
        (cron_job(), "--workload=cj/nightly", "cj/nightly in shop: its next runs have it", "its next runs have it"),
        (
            ROLLOUT,
            "--workload=rollout/canary",
            "rollout/canary in shop: an edit of its pod template starts its rollout at once",
            "its rollout has started",
        ),
        (
            {**deployment("set"), "kind": "ReplicaSet"},
            "--workload=rs/set",
            "rs/set in shop: a ReplicaSet replaces no pods: those it makes from now on have it",
            "a ReplicaSet replaces no pods: those it makes from now on have it",
        ),
        (
            pod("alone"),
            "--pod=alone",
            "pod/alone has no owner: the annotation is written to the pod itself",
            "rules are made with the pod: only a new pod will have it",
        ),
    ],
)
def test_what_an_edit_of_one_workload_does(obj, scope, first, consequence):
    cluster = Remote(meshconfig(), NAMESPACE, obj, words=["--context=prod"])
    report, events = carry_out(cluster, "exclude-port", "80", scope, "-n", "shop")
    assert [event.text for event in events] == [first]
    assert report.consequence == consequence
    assert report.apply == ()
    assert report.undo == f"kubectl fsm exclude-port --remove 80 {scope} -n shop --context=prod"


REDIS = meshconfig(outboundPortExclusionList=[6379])
WITH_REDIS = render("fsm-1.5", {}, REDIS["spec"])


@pytest.mark.parametrize(
    ("objects", "words", "pending"),
    [
        ([REDIS, deployment(), running("web-1")], WEB, "+6379 outbound-port"),
        ([REDIS, deployment(), running("web-1"), running("web-2", script=WITH_REDIS)], WEB, "+6379 outbound-port"),
        ([meshconfig(), deployment(annotations={IN: "22"}), running("web-1", script=WITH_REDIS)], WEB,
         "-6379 outbound-port, +22 inbound-port"),
        ([REDIS, deployment(), running("web-1", script=WITH_REDIS)], WEB, ""),
        ([REDIS, deployment(), running("web-1", script="who knows")], WEB, ""),
        ([meshconfig(), deployment(), running("web-1", script=render("fsm-1.5", {OUT: "80"}, {}))], WEB, ""),
        ([REDIS, deployment(), deployment("api"), running("api-1", owner="api")], WEB, ""),
        ([REDIS, pod("alone", OLD, uid="alone")], ["--pod=alone", "-n", "shop"], ""),
        ([REDIS, deployment(), running("web-1")], [], ""),
    ],
)  # fmt: skip
def test_what_the_rollout_of_an_edit_brings_besides_is_said_before_it(objects, words, pending):
    _, events = carry_out(Remote(NAMESPACE, *objects), "exclude-port", "80", *words)
    expected = [f"new pods of deploy/web also get what is pending already: {pending}"] if pending else []
    assert [text for text in texts(events, Warned) if "pending" in text] == expected


def test_a_dry_run_writes_nothing():
    cluster = Remote(meshconfig(), NAMESPACE, deployment())
    assert carry_out(cluster, "exclude-port", "80", *WEB, "--dry-run=client")[0].result == "edited"
    assert cluster.patches == []
    assert carry_out(cluster, "exclude-port", "80", *WEB, "--dry-run=server")[0].result == "edited"
    carry_out(cluster, "exclude-port", "81", *WEB, "--dry-run=none")
    assert [dry_run for _, dry_run in cluster.patches] == [True, False]
    held = cluster.files.get(cluster.resource_named("deploy"), "web", "shop")
    assert held["spec"]["template"]["metadata"]["annotations"] == {OUT: "81"}


def test_a_write_carries_the_version_that_was_read():
    config = meshconfig()
    config["metadata"]["resourceVersion"] = "17"
    web = deployment()
    web["metadata"]["resourceVersion"] = "18"
    cluster = Remote(config, NAMESPACE, web)
    carry_out(cluster, "exclude-port", "80")
    carry_out(cluster, "exclude-port", "80", *WEB)
    carry_out(cluster, "exclude-port", "--remove", "80", *WEB)
    annotations = [{OUT: "80"}, {OUT: None}]
    assert [patch for patch, _ in cluster.patches] == [
        {"spec": {"traffic": {"outboundPortExclusionList": [80]}}, "metadata": {"resourceVersion": "17"}},
        *(
            {"spec": {"template": {"metadata": {"annotations": own}}}, "metadata": {"resourceVersion": "18"}}
            for own in annotations
        ),
    ]
    alone = pod("alone", resourceVersion="19")
    cluster = Remote(config, NAMESPACE, alone)
    carry_out(cluster, "exclude-port", "80", "--pod=alone", "-n", "shop")
    assert cluster.patches[0][0] == {"metadata": {"annotations": {OUT: "80"}, "resourceVersion": "19"}}


WIDE = ["exclude-ip", "0.0.0.0/1"]
ASKED = "context test, MeshConfig fsm-mesh-config: outbound-ip [] → [0.0.0.0/1]\nthe new ranges exclude 50%"


def test_what_takes_much_away_is_asked_for():
    cluster = Remote(meshconfig())
    with pytest.raises(Declined, match=r"nothing was written"):
        carry_out(cluster, *WIDE, answer=False)
    assert cluster.patches == []
    events = carry_out(cluster, *WIDE)[1]
    assert [type(event) for event in events] == [Question]
    assert events[0].text.startswith(ASKED)


@pytest.mark.parametrize("option", ["--yes", "--dry-run=client"])
def test_what_is_not_asked_is_said(option):
    events = carry_out(Remote(meshconfig()), *WIDE, option, answer=False)[1]
    assert [type(event) for event in events] == [Warned]


def test_nothing_is_said_or_asked_twice_after_a_conflict():
    conflicts = [Conflict(409, "Conflict", "somebody was faster")] * 3
    cluster = Remote(meshconfig(), NAMESPACE, deployment(annotations={IN: "70000"}), failures=conflicts)
    _, events = carry_out(cluster, "exclude-ip", "0.0.0.0/1", *WEB)
    assert [event.text.partition(":")[0] for event in events] == [
        "deploy/web in shop",
        "already there, and new pods cannot start with it",
        "context test, deploy/web",
    ]
    assert len(cluster.patches) == 4


def test_what_pods_cannot_start_with_is_not_rolled_out():
    objects = [meshconfig(inboundPortExclusionList=[70000]), NAMESPACE, deployment(), running("web-1")]
    report, events = carry_out(Remote(*objects), "exclude-port", "80")
    assert "'70000' is not a port" in texts(events, Warned)[0]
    assert (report.outdated, report.apply) == (1, ())


@pytest.mark.parametrize(
    ("mode", "words", "said"),
    [
        ("NodeLevel", [], "interceptionMode NodeLevel: its pods get no init container, and this list is not used"),
        ("", [], "interceptionMode (none): its pods get no init container, and this list is not used"),
        ("ebpf", [], "interceptionMode ebpf: its pods get no init container, and this list is not used"),
        ("ebpf", WEB, "its pods get no init container; pod annotations count there, but not as iptables rules"),
        ("NodeLevel", WEB, "its pods get no init container, and this list is not used"),
    ],
)
def test_modes_in_which_a_list_does_nothing(mode, words, said):
    report, events = carry_out(
        Remote(meshconfig(mode), NAMESPACE, deployment(), running("web-1")), "exclude-port", "80", *words
    )
    (warned,) = texts(events, Warned)
    assert warned.endswith(said)
    assert report.apply == ()


def test_ports_of_the_mesh_are_not_excluded_but_can_be_taken_out():
    for words in (["15001"], ["--inbound", "6060"], ["--replace", "15904"]):
        with pytest.raises(Refused, match=rf"port {words[-1]} is the (sidecar|mesh)"):
            carry_out(Remote(meshconfig()), "exclude-port", *words)
    assert carry_out(Remote(meshconfig()), "exclude-port", "6060")[0].result == "edited"
    held = Remote(meshconfig(outboundPortExclusionList=[15001]))
    assert carry_out(held, "exclude-port", "--remove", "15001")[0].result == "edited"


@pytest.mark.parametrize("missing", ["null", "absent"])
def test_clear_writes_the_empty_list_that_the_crd_requires(missing):
    config = meshconfig(outboundPortExclusionList=None)
    if missing == "absent":
        del config["spec"]["traffic"]["outboundPortExclusionList"]
    cluster = Remote(config)
    assert carry_out(cluster, "exclude-port", "--clear")[0].result == "edited"
    assert cluster.patches == [({"spec": {"traffic": {"outboundPortExclusionList": []}}}, False)]
    assert carry_out(cluster, "exclude-port", "--clear")[0].result == "unchanged"


def test_what_a_list_holds_stays_as_it_is_when_a_value_is_added():
    cluster = Remote(meshconfig(outboundPortExclusionList=["x", 8080.5, 22]))
    carry_out(cluster, "exclude-port", "--remove", "22", "8")
    assert cluster.patches[0][0] == {"spec": {"traffic": {"outboundPortExclusionList": ["x", 8080.5]}}}


MEND = "kubectl edit meshconfigs.config.flomesh.io fsm-mesh-config -n fsm-system --context=prod"


def invalid(*names):
    causes = [{"field": name} for name in names]
    return ApiError(422, "Invalid", "is invalid", "as the server says", {"causes": causes})


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (
            invalid("spec.traffic.interceptionMode", "spec.sidecar.image", "spec.traffic.outboundPortExclusionList[0]"),
            f"it was invalid before this edit; mend spec.traffic.interceptionMode, spec.sidecar.image first: {MEND}",
        ),
        (invalid("spec.traffic.outboundPortExclusionList[0]", ""), "as the server says"),
        (ApiError(422, "Invalid", "is invalid", "as the server says", {"causes": ["x", {}]}), "as the server says"),
        (ApiError(422, "Invalid", "is invalid", "as the server says"), "as the server says"),
        (
            ApiError(500, "InternalError", "x", "as the server says", invalid("spec.a").details),
            "repeat the command: that is safe, and writes only what is not there yet",
        ),
    ],
)
def test_a_refusal_about_a_field_that_the_edit_does_not_touch_names_it(error, hint):
    with pytest.raises(ApiError) as caught:
        carry_out(Remote(meshconfig(), failures=[error], words=["--context=prod"]), "exclude-port", "80")
    assert (caught.value.status, caught.value.reason, caught.value.hint) == (error.status, error.reason, hint)


FLUX = {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}
ANNOTATIONS = {"f:metadata": {"f:annotations": {f"f:{OUT}": {}}}}


def kept(owned):
    web = deployment(annotations={OUT: "22", "other": "x"})
    fields = {"f:spec": {"f:template": ANNOTATIONS if owned else {}}}
    web["metadata"] |= {**FLUX, "managedFields": [{"manager": "kustomize-controller", "fieldsV1": fields}]}
    return Remote(meshconfig(), NAMESPACE, web)


def test_what_a_keeper_would_take_back_is_refused_with_the_patch_for_git():
    cluster = kept(owned=True)
    with pytest.raises(Refused, match=r"deploy/web is not edited: Flux \(apps\) owns this very field") as caught:
        carry_out(cluster, "exclude-port", "80", *WEB)
    assert cluster.patches == []
    assert yaml.safe_load(caught.value.hint.partition("nothing was written\n")[2]) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": {"metadata": {"annotations": {OUT: "22,80"}}}},
    }
    report, events = carry_out(cluster, "exclude-port", "80", *WEB, "--force")
    assert (report.result, texts(events, Warned)) == (
        "edited",
        ["deploy/web: Flux (apps) owns this very field and would take the edit back"],
    )


def test_a_keeper_that_does_not_write_the_field_is_only_named():
    report, events = carry_out(kept(owned=False), "exclude-port", "80", *WEB)
    assert (report.result, texts(events, Warned)) == (
        "edited",
        ["deploy/web: Flux (apps) keeps this object, without this field"],
    )


def test_a_workload_that_is_not_injected_is_named():
    off = deployment(annotations={"flomesh.io/sidecar-injection": "disabled"})
    _, events = carry_out(Remote(meshconfig(), NAMESPACE, off), "exclude-port", "80", *WEB)
    (said,) = texts(events, Warned)
    assert said.startswith("deploy/web is not injected, so this does nothing yet: the pod is annotated")


def test_several_workloads_are_asked_about_by_name_and_none_is_refused():
    objects = [deployment(f"web{number}") for number in range(1, 23)]
    pods = [running(f"web{number}-1", owner=f"web{number}") for number in range(1, 23)]
    cluster = Remote(meshconfig(), NAMESPACE, *objects, *pods)
    with pytest.raises(Declined, match="nothing was written") as declined:
        carry_out(cluster, "exclude-port", "80", "--all", "-n", "shop", answer=False)
    assert declined.value.exit_code == 1
    report, events = carry_out(cluster, "exclude-port", "80", "--all", "-n", "shop", "--dry-run")
    assert [item.result for item in report.rolled.items] == ["planned"] * 22
    assert not any(isinstance(event, Question) for event in events)
    assert cluster.patches == []
    with pytest.raises(Refused, match=r"no workloads and no pods found in namespace shop with labels app=none"):
        carry_out(cluster, "exclude-port", "80", "-l", "app=none", "-n", "shop")
    again = ["--pod=web1-1", "--workload=deploy/web1", "-n", "shop"]
    assert carry_out(cluster, "exclude-port", "80", *again)[0].result == "edited", "one workload by two names"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["80", "--remove", "--replace"], "--remove, --replace and --clear exclude each other"),
        (["--remove", "--clear"], "--remove, --replace and --clear exclude each other"),
        (["80", "--clear"], "--clear takes no values"),
        ([], "no value given"),
        (["80", "--local"], "--local and -f FILE go together"),
        (["80", "-f", "x.yaml"], "--local and -f FILE go together"),
        (["80", "--dry-run", "server"], "'server' is no value of the list"),
        (["80", "--dry-run=all"], "--dry-run takes client, server, none, not 'all'"),
        (["80", "--pod=web-1", "-l", "app=web"], "--pod or --workload and -l exclude each other"),
        (["80", "-l", "app=web", "--all"], "-l and --all exclude each other"),
        (["80", "--workload=deploy/web", "--global"], "--pod or --workload and --global exclude each other"),
        (["80", "--workload=web"], "--workload 'web' has no kind"),
        (["80", "--workload=deploy/"], "--workload 'deploy/' is no workload"),
        (["80", "--workload=deploy/web/x"], "--workload 'deploy/web/x' is no workload"),
        (["80", "--pod=deploy/web"], "--pod 'deploy/web' is not the name of a pod"),
        (["80", "-n", "shop"], "without --pod, --workload, -l or --all the whole mesh is edited"),
        (["80", "-A"], "without --pod, --workload, -l or --all the whole mesh is edited"),
        (["80", "--all"], "--all needs the namespace that is meant"),
        (["80", "-l", "app=web", "-A"], "an edit of pod templates stays in one namespace"),
    ],
)
def test_words_that_do_not_fit_together(words, said):
    with pytest.raises(UsageError) as caught:
        carry_out(Remote(meshconfig()), "exclude-port", *words)
    assert caught.value.message.startswith(said)


@pytest.mark.parametrize("words", [["--global"], ["--outbound"], ["--dry-run=none"], ["-N", "fsm-system"]])
def test_words_that_say_what_is_so_anyway(words):
    assert carry_out(Remote(meshconfig()), "exclude-port", "80", *words)[0].changes == [("outbound-port", [], ["80"])]


def test_both_directions_at_once():
    report, _ = carry_out(Remote(meshconfig()), "exclude-port", "80", "--inbound", "--outbound")
    assert [change.list for change in report.changes] == ["outbound-port", "inbound-port"]


SET = {**deployment("db"), "kind": "StatefulSet"}
OPERATOR = {"apiVersion": "x.example/v1", "kind": "Postgres", "metadata": {"name": "main", "namespace": "shop"}}
OWNED = {**SET, "metadata": {**SET["metadata"], "ownerReferences": [{**OPERATOR, "name": "main", "controller": True}]}}
LOOSE = {**ROLLOUT, "spec": {"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gone"}}}


@pytest.mark.parametrize(
    ("objects", "scope", "said"),
    [
        ([{**deployment("once"), "apiVersion": "batch/v1", "kind": "Job"}], "--workload=job/once", "is immutable"),
        (
            [OPERATOR, OWNED],
            "--workload=sts/db",
            "it belongs to Postgres main, which has no pod template and would revert",
        ),
        (
            [OPERATOR],
            "--workload=postgres/main",
            "^postgres/main in shop is not edited: Postgres main has no pod template",
        ),
        ([], "--workload=ns/shop", "^namespace/shop is not edited: Namespace shop has no pod template"),
        ([LOOSE], "--workload=rollout/canary", "its workloadRef names Deployment gone, which is not there"),
        ([running("web-1")], "--pod=web-1", "its owner Deployment web is gone or cannot be read"),
    ],
)
def test_workloads_whose_template_is_not_edited(objects, scope, said):
    cluster = Remote(meshconfig(), NAMESPACE, *objects)
    with pytest.raises(Refused, match=said):
        carry_out(cluster, "exclude-port", "80", scope, "-n", "shop")
    assert cluster.patches == []


def test_an_annotation_that_is_not_there_needs_no_clearing():
    cluster = Remote(meshconfig(), NAMESPACE, deployment())
    assert carry_out(cluster, "exclude-port", "--clear", *WEB)[0].result == "unchanged"
    assert cluster.patches == []


def test_an_edit_of_manifests_is_undone_by_version_control():
    class Files(Remote):
        remote = False

    report, _ = carry_out(Files(meshconfig()), "exclude-port", "80", "--diff")
    assert (report.undo, report.diff) == ("", True)


def test_only_ports_can_be_the_meshs_own():
    assert reserved(OUTBOUND_PORTS, "15001") == "the sidecar's outbound listener"
    assert reserved(INTERFACES, "15001") == ""


@pytest.mark.parametrize(
    ("exclusion_list", "held", "value"),
    [
        (OUTBOUND_PORTS, [80], "80"),
        (OUTBOUND_PORTS, ["+80"], "80"),
        (OUTBOUND_PORTS, ["00080"], "80"),
        (EXCLUDED_RANGES, ["10.1.2.3"], "10.1.2.3/32"),
        (EXCLUDED_RANGES, ["2.2.2.2/24"], "2.2.2.0/24"),
        (INTERFACES, ["eth1"], "eth1"),
    ],
)
def test_items_that_mean_the_same(exclusion_list, held, value):
    assert Change(exclusion_list, Action.ADD, [value])(held) == held
    assert Change(exclusion_list, Action.REPLACE, [value])([*held, "x"]) == held
    assert Change(exclusion_list, Action.REMOVE, [value])([*held, "x"]) == ["x"]
    for other in ("81", "10.1.2.4/32", "2.2.0.0/16", "eth10"):
        assert Change(exclusion_list, Action.REMOVE, [other])(held) == held


@pytest.mark.parametrize("verb", commands.VERBS)
def test_formats(verb):
    more = {
        "rules": ["wide", "iptables", "mermaid"],
        "exclusions": ["wide"],
        "check": ["wide", "short", "junit", "sarif"],
        "restart": ["wide"],
        "status": ["wide"],
        "trace": ["wide", "mermaid"],
    }.get(verb, [])
    assert sorted(commands.load(verb).FORMATS) == sorted(
        ["json", "yaml", *more, *(["name"] if verb not in ("version", "trace", "completion") else [])]
    )


@pytest.mark.parametrize(
    ("words", "stored"),
    [
        (["exclude-port", "443"], {"outboundPortExclusionList": ["８０", 443]}),
        (["exclude-interface", "15"], {"networkInterfaceExclusionList": ["15"]}),
    ],
)
def test_only_new_ports_become_numbers(words, stored):
    cluster = Remote(meshconfig(outboundPortExclusionList=["８０"]))
    carry_out(cluster, *words)
    assert cluster.patches == [({"spec": {"traffic": stored}}, False)]


def test_a_workload_with_an_owner_that_is_not_shown_is_not_restarted_by_name():
    owned = deployment()
    owned["metadata"]["ownerReferences"] = [
        {"apiVersion": "x.example/v1", "kind": "Shop", "name": "main", "uid": "u", "controller": True}
    ]
    report, _ = carry_out(Remote(meshconfig(), NAMESPACE, owned, running("web-1")), "exclude-port", "6379")
    assert report.apply == ["deploy/web in shop: restart Shop main, which is not shown"]
