"""What the injector would make of the next pod, beside the prediction: scripts of every generation, and pods without any."""

import copy
import json

import pytest

from kubectl_fsm import fields
from kubectl_fsm.errors import ApiError, Forbidden, Unreachable, UsageError
from kubectl_fsm.generator import render
from kubectl_fsm.meshes import INJECTED_VOLUME, INJECTORS
from kubectl_fsm.operations import applied
from kubectl_fsm.output import grid, structured, table
from kubectl_fsm.reports import Warned
from tests.unit.test_every_combination import RELEASES
from tests.unit.test_guards_offline import NAMESPACE, OUT, PREFIX, deployment, meshconfig, pod
from tests.unit.test_held_edits import Remote, carry_out, running, texts

CONFIG = meshconfig(outboundPortExclusionList=[6379])
STALE, GOOD = render("fsm-1.5", {}, {}), render("fsm-1.5", {}, CONFIG["spec"])
INJECTION = f"{PREFIX}sidecar-injection"
OFF = {INJECTION: "disabled"}
SAID = 'admission webhook "fsm-inject.k8s.io" denied the request: no'
REFUSED = ApiError(400, "BadRequest", SAID)
DOWN = ApiError(500, "InternalError", 'failed calling webhook "fsm-inject.k8s.io": connection refused')
MAY_NOT = Forbidden(403, "Forbidden", 'pods is forbidden: User "ann" cannot create resource "pods"')
BEHIND = (
    "the injector seems to work with an older MeshConfig than fsm-mesh-config as it is stored: ask again, and if it "
    "stays so: kubectl rollout restart deploy/fsm-injector -n fsm-system --context=test"
)
AS_PREDICTED, ANOTHER = "the next pod gets fsm-init, as predicted", "the next pod gets another fsm-init than predicted"
NOT_ASKED = (
    "the injector was not asked, or did not want it: kubectl get mutatingwebhookconfigurations --context=test has to "
    "show fsm-inject.k8s.io"
)


class Asked(Remote):
    """An API server: `answer` is the script that the injector writes, an exception, or what makes the pod of the one sent."""

    def __init__(self, answer, *objects):
        super().__init__(*objects, words=["--context=test"])
        self.answer, self.sent = answer, []

    def try_create(self, resource, namespace, obj):
        self.sent.append(copy.deepcopy(obj))
        if isinstance(self.answer, Exception):
            raise self.answer
        made = copy.deepcopy(obj)
        return self.answer(made) if callable(self.answer) else injected(made, self.answer)


def injected(made, script, name="fsm-init", uuid="fsm-proxy-uuid"):
    made["metadata"].setdefault("labels", {})[uuid] = "x"
    made["spec"]["initContainers"] = [{"name": name, "command": ["sh"], "args": ["-c", script]}]
    return made


def rules(cluster, *words):
    return carry_out(cluster, "rules", *(words or ("deploy/web",)), "-n", "shop", "--from-injector")


def opinion(answer, *objects):
    ((item,), *_), _ = rules(Asked(answer, *(objects or (CONFIG, NAMESPACE, deployment()))))
    return item.from_injector


def shown(found):
    return found.state, found.same, found.reason, list(found.differences), list(found.notes)


def podip():
    return render("fsm-1.5", {}, {**CONFIG["spec"], "sidecar": {"localProxyMode": "PodIP"}})


def test_the_same_script():
    found = opinion(GOOD)
    assert shown(found) == ("injected", True, AS_PREDICTED, [], [])
    assert found.script == GOOD


def test_another_text_with_the_same_rules():
    other = GOOD.replace("--match multiport", "-m multiport")
    assert other != GOOD
    notes = ["its script is written otherwise, and leads to the same rules"]
    assert shown(opinion(other)) == ("injected", True, AS_PREDICTED, [], notes)


@pytest.mark.parametrize(
    "config", [meshconfig(outboundPortExclusionList=[70000]), meshconfig(outboundIPRangeExclusionList=["fd00::/8"])]
)
def test_a_script_that_iptables_refuses_is_as_predicted_all_the_same(config):
    found = opinion(render("fsm-1.5", {}, config["spec"]), config, NAMESPACE, deployment())
    assert shown(found) == ("injected", True, AS_PREDICTED, [], [])
    assert opinion(GOOD, config, NAMESPACE, deployment()).same is False


@pytest.mark.parametrize(
    ("script", "differences"),
    [
        (STALE, ["-6379 outbound-port"]),
        (render("fsm-1.5", {OUT: "7"}, CONFIG["spec"]), ["+7 outbound-port"]),
        (
            render("fsm-1.5", {}, {"traffic": {"inboundPortExclusionList": [6379]}}),
            ["-6379 outbound-port", "+6379 inbound-port"],
        ),
        (podip(), ["+local-proxy-mode PodIP"]),
    ],
)
def test_entries_that_the_meshconfig_does_not_explain(script, differences):
    assert shown(opinion(script)) == ("injected", False, ANOTHER, differences, [BEHIND])


def test_a_rule_that_no_release_writes():
    own = "-A FSM_PROXY_OUTBOUND -m owner --gid-owner 1500 -j RETURN"
    found = opinion(
        GOOD.replace("COMMIT", f"{own}\nCOMMIT").replace("-A FSM_PROXY_INBOUND -p tcp --dport 15010 -j RETURN\n", "")
    )
    differences = [
        "+rule -A FSM_PROXY_OUTBOUND -m owner --gid-owner 1500 -j RETURN",
        "-rule -A FSM_PROXY_INBOUND -p tcp -m tcp --dport 15010 -j RETURN",
    ]
    assert shown(found) == ("injected", False, ANOTHER, differences, ["no release of FSM writes such rules"])


@pytest.mark.parametrize("script", ["reboot", ""])
def test_a_script_that_is_none(script):
    found = opinion(script)
    assert (found.state, found.same, found.script) == ("injected", False, script)
    assert found.reason.startswith("the next pod gets fsm-init with a script that cannot be read: ")


def control_plane(injector, **traffic):
    """A mesh whose injector's Deployment is labelled as a release of that generation, and a workload of it."""
    mesh, version = RELEASES[injector]
    mode = {"interceptionMode": found} if (found := mesh.release(version).mode) else {}
    labels = {"app": mesh.injector_app, "meshName": "main", "app.kubernetes.io/version": version}
    image = "flomesh/osm-edge-injector" if mesh.name == "osm-edge" else "openservicemesh/osm-injector"
    deployed = deployment(mesh.injector_app)
    deployed["metadata"] |= {"namespace": mesh.system_namespace, "labels": labels}
    deployed["spec"]["template"]["spec"]["containers"][0]["image"] = image
    config = {
        "apiVersion": f"{mesh.group}/v1alpha2",
        "kind": "MeshConfig",
        "metadata": {"name": mesh.meshconfig, "namespace": mesh.system_namespace},
        "spec": {"traffic": {"outboundPortExclusionList": [6379], **traffic, **mode}},
    }
    metadata = {
        "name": "shop",
        "labels": {mesh.monitored_label: "main"},
        "annotations": {f"{mesh.prefix}sidecar-injection": "enabled"},
    }
    return mesh, [config, deployed, {**NAMESPACE, "metadata": metadata}], config["spec"]


def answering(injector, mesh, spec):
    def answer(made):
        script = render(injector, fields.annotations(made), spec)
        return injected(made, script, mesh.init_container, mesh.uuid_label)

    return answer


@pytest.mark.parametrize("injector", INJECTORS)
def test_every_generation_agrees_with_itself(injector):
    mesh, objects, spec = control_plane(injector)
    found = opinion(answering(injector, mesh, spec), *objects, deployment())
    assert (found.same, list(found.differences), list(found.notes)) == (True, [], [])


@pytest.mark.parametrize(
    ("labelled", "runs", "note"),
    [
        (
            "osm-1.2",
            "osm-1.0",
            "these are the rules of osm-1.0; it was taken for osm-1.2, since its Deployment is labelled 1.2.4",
        ),
        (
            "osm-1.0",
            "osm-1.2",
            "these are the rules of osm-1.1 or osm-1.2; it was taken for osm-1.0, since its Deployment is labelled 1.0.0",
        ),
        (
            "osm-1.2",
            "osm-0.11",
            "these are the rules of osm-0.11; it was taken for osm-1.2, since its Deployment is labelled 1.2.4",
        ),
    ],
)
def test_the_generation_that_writes_the_rules_is_named_though_the_entries_are_the_same(labelled, runs, note):
    mesh, objects, spec = control_plane(labelled)
    found = opinion(answering(runs, mesh, spec), *objects, deployment())
    reason = "the next pod gets another osm-init than predicted"
    assert shown(found) == ("injected", False, reason, [], [note])


def test_what_another_generation_does_not_read_is_no_matter_of_the_meshconfig():
    mesh, objects, spec = control_plane("osm-1.2")
    web = deployment(annotations={f"{mesh.prefix}outbound-ip-range-exclusion-list": "10.0.0.0/8"})
    found = opinion(answering("osm-1.0", mesh, spec), *objects, web)
    assert found.differences == ["-10.0.0.0/8 outbound-ip"]
    assert [note.partition(";")[0] for note in found.notes] == ["these are the rules of osm-1.0"]
    older = opinion(answering("osm-1.0", mesh, {"traffic": {}}), *objects, web)
    assert older.differences == ["-6379 outbound-port", "-10.0.0.0/8 outbound-ip"]
    assert older.notes[0].partition(";")[0] == "these are the rules of osm-1.0"
    assert older.notes[1].startswith("the injector seems to work with an older MeshConfig than osm-mesh-config")


def test_a_version_that_is_not_shown():
    spec = {**CONFIG["spec"], "sidecar": {"localDNSProxy": {"enable": True}}}
    found = opinion(render("fsm-1.2", {}, spec), {**CONFIG, "spec": spec}, NAMESPACE, deployment())
    assert found.differences == ["+local-dns-proxy"]
    assert found.notes == ["these are the rules of fsm-1.2; it was taken for fsm-1.5, since no version is shown"]


def as_sent(made):
    return made


def without_init(made):
    made["metadata"]["labels"] = {"fsm-proxy-uuid": "x"}
    return made


def web(annotations=None, **spec):
    found = deployment(annotations=annotations)
    found["spec"]["template"]["spec"] |= spec
    return found


VOLUME = {
    "volumes": [{"name": INJECTED_VOLUME}],
    "initContainers": [{"name": "fsm-init", "command": ["sh"], "args": ["-c", STALE]}],
}


@pytest.mark.parametrize(
    ("answer", "objects", "expected"),
    [
        (
            as_sent,
            (CONFIG, NAMESPACE, web(OFF)),
            (
                "not-injected",
                True,
                f"the next pod gets no sidecar, as predicted: the pod is annotated {INJECTION}: disabled",
                [],
            ),
        ),
        (
            without_init,
            (meshconfig("NodeLevel"), NAMESPACE, web()),
            (
                "no-interception",
                True,
                "the next pod gets the label fsm-proxy-uuid and no fsm-init, as predicted: interceptionMode NodeLevel",
                [],
            ),
        ),
        (
            REFUSED,
            (CONFIG, NAMESPACE, web({OUT: "x"})),
            ("refused", True, f"it refuses the next pod, as predicted: {SAID}", []),
        ),
        (
            REFUSED,
            (CONFIG, NAMESPACE, web()),
            ("refused", False, f"it refuses the next pod, which was not predicted: {SAID}", []),
        ),
        (
            as_sent,
            (CONFIG, NAMESPACE, web()),
            ("not-injected", False, "the next pod gets no sidecar, and fsm-init was predicted", [NOT_ASKED]),
        ),
        (
            as_sent,
            (CONFIG, web()),
            (
                "not-injected",
                False,
                "the next pod gets no sidecar, and fsm-init was predicted",
                ["its Namespace could not be read, and was taken as part of the mesh"],
            ),
        ),
        (
            without_init,
            (CONFIG, NAMESPACE, web()),
            (
                "no-interception",
                False,
                "the next pod gets a sidecar and no fsm-init, and fsm-init was predicted",
                [BEHIND],
            ),
        ),
        (
            without_init,
            (CONFIG, NAMESPACE, web(nodeSelector={"kubernetes.io/os": "windows"})),
            (
                "no-interception",
                False,
                "the next pod gets a sidecar and no fsm-init, and fsm-init was predicted",
                ["Windows pods get no init container"],
            ),
        ),
        (
            GOOD,
            (CONFIG, NAMESPACE, web(OFF)),
            (
                "injected",
                False,
                f"the next pod gets fsm-init, and no sidecar was predicted: the pod is annotated {INJECTION}: disabled",
                [],
            ),
        ),
        (
            GOOD,
            (CONFIG, NAMESPACE, web({OUT: "x"})),
            (
                "injected",
                False,
                f"the next pod gets fsm-init, and a refusal was predicted: the injector refuses the next pod: Invalid port value 'x' specified for annotation '{OUT}'",
                [],
            ),
        ),
        (
            as_sent,
            (CONFIG, NAMESPACE, web(**VOLUME)),
            (
                "injected",
                False,
                ANOTHER,
                [f"its template holds the volume {INJECTED_VOLUME}, so the injector leaves the pod as it is"],
            ),
        ),
        (DOWN, (CONFIG, NAMESPACE, web()), ("down", None, f"it gives no answer: {DOWN.message}", [])),
        (MAY_NOT, (CONFIG, NAMESPACE, web()), ("not-asked", None, f"it could not be asked: {MAY_NOT.message}", [])),
        (
            Unreachable("x did not answer in time"),
            (CONFIG, NAMESPACE, web()),
            ("not-asked", None, "it could not be asked: x did not answer in time", []),
        ),
    ],
)
def test_answers(answer, objects, expected):
    found = opinion(answer, *objects)
    assert (found.state, found.same, found.reason, list(found.notes)) == expected


@pytest.mark.parametrize(
    ("change", "differences", "note"),
    [
        ({OUT: "7"}, ["+7 outbound-port"], f"another admission step gave the pod {OUT}: 7"),
        ({}, ["-22 outbound-port"], f"another admission step took {OUT} from the pod"),
    ],
)
def test_a_pod_that_others_have_changed_on_the_way(change, differences, note):
    def answer(made):
        made["metadata"]["annotations"] = change
        return injected(made, render("fsm-1.5", change, CONFIG["spec"]))

    found = opinion(answer, CONFIG, NAMESPACE, web({OUT: "22"} if not change else {}))
    assert shown(found) == ("injected", False, ANOTHER, differences, [note])


def test_a_pod_that_others_have_taken_out_of_the_mesh():
    def answer(made):
        made["metadata"]["annotations"] = OFF
        return made

    found = opinion(answer)
    assert (found.state, found.same) == ("not-injected", False)
    assert found.notes == [f"another admission step gave the pod {INJECTION}: disabled"]


def test_a_pod_that_others_have_changed_for_an_injector_that_is_behind():
    def answer(made):
        made["metadata"]["annotations"] = {OUT: "7"}
        return injected(made, render("fsm-1.5", {OUT: "7"}, {}))

    found = opinion(answer)
    assert found.differences == ["+7 outbound-port", "-6379 outbound-port"]
    assert found.notes == [f"another admission step gave the pod {OUT}: 7", BEHIND]


MANIFEST = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "alone", "namespace": "shop", "annotations": {OUT: "80"}},
    "spec": {"containers": [{"name": "app", "image": "x"}]},
}


def bare(manifest):
    found = pod("alone", STALE, uid="alone")
    found["metadata"]["annotations"] = {OUT: "80"}
    if manifest:
        found["metadata"]["annotations"][applied.ANNOTATION] = json.dumps(manifest)
    return found


def test_a_bare_pod_is_asked_about_by_the_manifest_that_it_was_applied_from():
    cluster = Asked(render("fsm-1.5", {OUT: "80"}, CONFIG["spec"]), CONFIG, NAMESPACE, bare(MANIFEST))
    ((item,), *_), events = rules(cluster, "alone")
    assert shown(item.from_injector) == ("injected", True, AS_PREDICTED, [], [])
    (sent,) = cluster.sent
    assert (sent["spec"], sent["metadata"]["annotations"]) == (MANIFEST["spec"], {OUT: "80"})
    assert texts(events, Warned) == []


@pytest.mark.parametrize(
    ("objects", "target", "why"),
    [
        (
            [bare(None)],
            "alone",
            f"a bare pod is made anew from the manifest that it was applied from: it has no annotation {applied.ANNOTATION}",
        ),
        ([running("web-1", "ReplicaSet", "web-7")], "web-1", "its owner ReplicaSet web-7 is gone or cannot be read"),
    ],
)
def test_what_cannot_be_asked_about(objects, target, why):
    cluster = Asked(GOOD, CONFIG, NAMESPACE, *objects)
    ((item,), *_), events = rules(cluster, target)
    assert cluster.sent == []
    assert shown(item.from_injector) == ("not-asked", None, f"it could not be asked: {why}", [], [])
    (warning,) = texts(events, Warned)
    assert warning.endswith(
        f"what the next pod will run is only predicted; of the injector: it could not be asked: {why}"
    )


def test_each_workload_is_asked_about_once():
    pods = [running(f"web-{number}", script=GOOD) for number in (1, 2, 3)]
    cluster = Asked(GOOD, CONFIG, NAMESPACE, deployment(), deployment("api"), *pods)
    (items, *_), _ = rules(cluster, "web-1", "deploy/web", "deploy/api")
    assert [fields.text(sent, "metadata", "generateName") for sent in cluster.sent] == ["web-", "api-"]
    assert [(item.pod, item.from_injector.same) for item in items] == [
        *[(name, True) for name in ("web-1", "web-1", "web-2", "web-3")],
        ("", True),
    ]


def test_claims_of_a_stateful_set_below_an_operator_are_sent():
    owned = deployment("pg")
    owned |= {"kind": "StatefulSet"}
    owned["metadata"]["ownerReferences"] = [
        {"apiVersion": "example.com/v1", "kind": "Database", "name": "pg", "uid": "", "controller": True}
    ]
    owned["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}]
    database = {"apiVersion": "example.com/v1", "kind": "Database", "metadata": {"name": "pg", "namespace": "shop"}}
    cluster = Asked(GOOD, CONFIG, NAMESPACE, database, owned)
    rules(cluster, "sts/pg")
    (sent,) = cluster.sent
    assert sent["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from-injector"], "--from-injector is for targets by name"),
        (["--from-injector", "-l", "app=web"], "--from-injector is for targets by name"),
        (["--from-injector", "-A"], "--from-injector is for targets by name"),
        (
            ["deploy/web", "--from-injector", "-f", "x.yaml"],
            "--from-injector asks a cluster's injector, and files (-f) have none",
        ),
        (["deploy/web", "--from-injector", "-o", "name"], "-o name does not show what --from-injector asks for"),
        (["deploy/web", "--from-injector", "-o", "mermaid"], "-o mermaid does not show what --from-injector asks for"),
    ],
)
def test_usage(words, said):
    with pytest.raises(UsageError) as caught:
        carry_out(Asked(GOOD, CONFIG), "rules", *words)
    assert caught.value.message == said


def report(answer, *more):
    return rules(Asked(answer, CONFIG, NAMESPACE, deployment(), *more))[0]


def test_as_a_table():
    out = table.as_table(report(STALE, running("web-1", script=GOOD)), grid.Style())
    assert out.endswith(f"Injector: {ANOTHER}\n  -6379 outbound-port\n  {BEHIND}\n")
    hostile = ApiError(400, "BadRequest", f"{SAID}\x1b[2J\nroot")
    assert f"which was not predicted: {SAID}\\x1b[2J\\nroot\n" in table.as_table(report(hostile), grid.Style())


def test_as_iptables():
    """Its own script, once for a workload; the predicted one where it says nothing, and what it says where it writes none."""
    pods = [running(name, script=STALE) for name in ("web-1", "web-2")]
    assert table.as_iptables(report(GOOD.replace("--match", "-m"), *pods)) == GOOD.replace("--match", "-m")
    assert table.as_iptables(report(MAY_NOT, *pods)) == GOOD
    assert table.as_iptables(report(DOWN, *pods)) == GOOD
    hostile = ApiError(400, "BadRequest", f"{SAID}\nreboot")
    refused = f"# the injector: it refuses the next pod, which was not predicted: {SAID}\\nreboot\n"
    assert table.as_iptables(report(hostile, *pods)) == refused
    cluster = Asked(GOOD, CONFIG, NAMESPACE, deployment(), deployment("api"))
    both = table.as_iptables(rules(cluster, "deploy/web", "deploy/api")[0])
    assert both == f"# deploy/web in shop\n{GOOD}# deploy/api in shop\n{GOOD}"


def test_as_json():
    (item,) = structured.document(report(STALE))["items"]
    assert item["fromInjector"] == {
        "state": "injected",
        "same": False,
        "reason": ANOTHER,
        "differences": ["-6379 outbound-port"],
        "notes": [BEHIND],
        "script": STALE,
    }
    (item,) = structured.document(report(MAY_NOT))["items"]
    assert (item["fromInjector"]["same"], item["fromInjector"]["script"]) == (None, None)
    plain = carry_out(Asked(GOOD, CONFIG, NAMESPACE, deployment()), "rules", "deploy/web", "-n", "shop")[0]
    assert structured.document(plain)["items"][0]["fromInjector"] is None
