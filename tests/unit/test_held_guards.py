"""What is asked and what is refused, and whose pods it names."""

import pytest

from kubectl_fsm.arguments import order
from kubectl_fsm.errors import NotFound, Refused
from kubectl_fsm.meshes import FSM, FSM_1_5
from kubectl_fsm.operations import guards, survey
from kubectl_fsm.reports import Question, Warned
from kubectl_fsm.usage import options
from tests.unit.test_guards_offline import FULL, IN, NAMESPACE, OUT, PREFIX, deployment, meshconfig, pod, template
from tests.unit.test_held_edits import WEB, Remote, carry_out, cron_job, running, texts


def asked(*objects, words):
    """The questions of an edit, without their heading and the pods they name."""
    _, events = carry_out(Remote(*objects), *words)
    lines = [line for text in texts(events, Question) for line in text.splitlines()[1:]]
    return [line.rpartition(": every pod")[0] or line for line in lines]


LOOPBACK = "what the pod sends to itself, and through which it reaches itself by a Service"
DEFAULT = "a pod's default route: all its traffic bypasses the sidecar"


@pytest.mark.parametrize(
    ("words", "questions"),
    [
        (["exclude-interface", "eth0"], [f"eth0 is the interface of {DEFAULT}"]),
        (["exclude-interface", "eth+"], [f"eth+ is the interface of {DEFAULT}"]),
        (["exclude-interface", "lo"], [f"lo is the interface of {LOOPBACK}"]),
        (["exclude-interface", "l+"], [f"l+ is the interface of {LOOPBACK}"]),
        (["exclude-interface", "eth1", "eth", "veth+", "eth0.1"], []),
        (["exclude-ip", "16.0.0.0/4"], []),
        (["exclude-ip", "16.0.0.0/4", "10.0.0.0/32"], ["the new ranges exclude 6% of all addresses"]),
        (["exclude-ip", "10.0.0.7/24", "10.0.1.7", "10.0.2.0/24"], ["10.0.0.7/24 is all of 10.0.0.0/24 to iptables"]),
        (["exclude-ip", "32.0.0.0/3"], ["the new ranges exclude 12% of all addresses"]),
        (["exclude-ip", "0.0.0.0/0", "10.0.0.0/8"], ["the new ranges exclude 100% of all addresses"]),
        (
            ["include-ip", "10.0.0.0/8"],
            ["the first included range: everything outside it bypasses the sidecar from then on"],
        ),
    ],
)
def test_what_takes_much_of_the_mesh_away_is_asked(words, questions):
    assert asked(meshconfig(), words=words) == questions


def test_what_was_so_before_is_not_asked_again():
    held = meshconfig(
        networkInterfaceExclusionList=["eth0"],
        outboundIPRangeExclusionList=["0.0.0.0/0"],
        outboundIPRangeInclusionList=["10.0.0.0/8", "9.0.0.0/8"],
    )
    for words in (["exclude-interface", "net1"], ["exclude-ip", "10.0.0.0/8"], ["include-ip", "11.0.0.0/8"]):
        assert asked(held, words=words) == []
    assert asked(held, words=["include-ip", "--remove", "9.0.0.0/8"]) == [
        "9.0.0.0/8 is no longer included: traffic to it bypasses the sidecar from then on"
    ]


PORTS = "no port of the containers is intercepted any more, so no inbound traffic reaches the sidecar: "


def test_the_last_intercepted_port_of_the_containers():
    words = ["exclude-port", "--inbound", "8080", *WEB]
    two = deployment()
    two["spec"]["template"]["spec"]["containers"][0]["ports"].append({"containerPort": 9090})
    none = deployment()
    del none["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert asked(meshconfig(), NAMESPACE, deployment(), words=words) == [f"{PORTS}the next pods of deploy/web in shop"]
    for web in (two, none):
        assert asked(meshconfig(), NAMESPACE, web, words=words) == []
    more = ["exclude-port", "--inbound", "9090", *WEB]
    assert asked(meshconfig(), NAMESPACE, deployment(annotations={IN: "8080"}), words=more) == []
    assert len(asked(meshconfig(inboundPortExclusionList=[8080]), NAMESPACE, two, words=more)) == 1


def pods(owner, count):
    return [running(f"{owner}-{number}", owner=owner) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ({"web": 1}, "1 pod (shop/web-1)"),
        ({"web": 3}, "3 pods (shop/web-1, shop/web-2, shop/web-3)"),
        ({"web": 5}, "5 pods (shop/web-1, shop/web-2, shop/web-3 and 2 more)"),
        ({"web": 1, "api": 0}, "1 pod (shop/web-1), the next pods of deploy/api in shop"),
        (
            dict.fromkeys("abcde", 0),
            "the next pods of deploy/a in shop, deploy/b in shop, deploy/c in shop and 2 more",
        ),
    ],
)
def test_whose_pods_could_not_start(made, named):
    objects = [
        found for owner, count in made.items() for found in (deployment(owner, {OUT: FULL}), *pods(owner, count))
    ]
    with pytest.raises(Refused) as caught:
        carry_out(Remote(meshconfig(), NAMESPACE, *objects), "exclude-port", "6379")
    assert caught.value.message.endswith(f"takes 15 in one match: {named}")
    assert caught.value.hint == "nothing was written"


def test_what_was_broken_before_is_said_and_can_be_made_better_but_not_worse():
    full = [*range(1, 18)]
    cluster = Remote(meshconfig(outboundPortExclusionList=full))
    with pytest.raises(Refused, match=r"18 outbound ports"):
        carry_out(cluster, "exclude-port", "6379")
    _, events = carry_out(cluster, "exclude-port", "--remove", "17")
    (said,) = texts(events, Warned)
    assert said.startswith("already there, and new pods cannot start with it: 16 outbound ports, and iptables takes 15")
    assert carry_out(cluster, "exclude-port", "--remove", "16")[1] == []


def test_only_pods_of_the_mesh_count():
    other = {**NAMESPACE, "metadata": {"name": "other", "labels": {f"{PREFIX}monitored-by": "fsm"}}}
    outside = {**NAMESPACE, "metadata": {"name": "outside"}}
    full = template({OUT: FULL})
    objects = [
        {**deployment("quiet"), "metadata": {"name": "quiet", "namespace": "other"}, "spec": {"template": full}},
        {
            **deployment("far"),
            "metadata": {"name": "far", "namespace": "outside"},
            "spec": {"template": template({OUT: FULL})},
        },
        deployment("off", {OUT: FULL, f"{PREFIX}sidecar-injection": "no"}),
        {**pod("ended"), "status": {"phase": "Failed"}},
    ]
    cluster = Remote(meshconfig(), NAMESPACE, other, outside, *objects)
    assert carry_out(cluster, "exclude-port", "6379")[0].result == "edited"
    late = running("old-1", owner="off")
    with pytest.raises(Refused, match=r"shop/old-1"):
        carry_out(Remote(meshconfig(), NAMESPACE, *objects, late), "exclude-port", "6379")


def test_pods_of_another_mesh_and_outside_of_any_do_not_count(monkeypatch):
    labels = {"app": "fsm-injector", "meshName": "fsm", "app.kubernetes.io/version": "1.5.1"}
    injector = deployment("fsm-injector")
    injector["metadata"] = {"name": "fsm-injector", "namespace": "fsm-system", "labels": labels}
    objects = [meshconfig(), injector, NAMESPACE, deployment(), *pods("web", 1)]
    for name, own in (("other", {f"{PREFIX}monitored-by": "other"}), ("outside", {})):
        objects.append({**NAMESPACE, "metadata": {"name": name, "labels": own}})
        moved = running(f"{name}-1")
        moved["metadata"]["namespace"] = name
        objects.append(moved)
    for few in (8, 0):
        monkeypatch.setattr(survey, "_FEW", few)
        assert carry_out(Remote(*objects), "exclude-port", "6379")[0].pods == 1


@pytest.mark.parametrize("few", [8, 0])
def test_namespaces_of_the_mesh_are_listed_one_by_one_or_all_together(monkeypatch, few):
    monkeypatch.setattr(survey, "_FEW", few)
    cluster = Remote(meshconfig(), NAMESPACE, deployment(), *pods("web", 2))
    report, _ = carry_out(cluster, "exclude-port", "6379")
    assert (report.pods, report.outdated) == (2, 2)


@pytest.mark.parametrize("ended", ["Complete", "Failed"])
def test_jobs_that_have_ended_make_no_more_pods(ended):
    cron = cron_job()
    cron["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["annotations"] = {OUT: FULL}
    job = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": template({OUT: FULL})}}
    job["metadata"] = {"name": "once", "namespace": "shop"}
    with pytest.raises(Refused, match=r": the next pods of cj/nightly in shop, job/once in shop$"):
        carry_out(Remote(meshconfig(), NAMESPACE, cron, job), "exclude-port", "6379")
    job["status"] = {"conditions": [{"type": ended, "status": "True"}]}
    with pytest.raises(Refused, match=r": the next pods of cj/nightly in shop$"):
        carry_out(Remote(meshconfig(), NAMESPACE, cron, job), "exclude-port", "6379")


def test_a_workload_that_is_not_there():
    with pytest.raises(NotFound):
        carry_out(Remote(meshconfig(), NAMESPACE), "exclude-port", "80", *WEB)


KNOWN = options("Try.\n\nOptions:\n      --yes   a flag\n  -a, --all   another\n  -o, --output=X   a value\n")


@pytest.mark.parametrize("word", ["true", "t", "1", "TRUE"])
def test_words_for_yes(word):
    assert order([f"--yes={word}", f"-a={word}"], KNOWN).values == {"--yes": [], "--all": []}


@pytest.mark.parametrize("word", ["false", "f", "0", "False"])
def test_words_for_no(word):
    assert order(["--yes", f"--yes={word}", "-a", f"-a={word}"], KNOWN).values == {}


def test_many_included_ranges_are_compared_only_where_one_is_gone(monkeypatch):
    compared = []
    monkeypatch.setattr(guards, "covers", lambda *ranges: bool(compared.append(ranges)))
    ranges = [f"10.{number}.0.0/16" for number in range(200)]
    before, after = ({"traffic": {"outboundIPRangeInclusionList": some}} for some in (ranges, ranges[1:]))
    cases = [guards.Case(None, guards.Union({}, before), guards.Union({}, after))]
    assert guards.check(FSM, FSM_1_5, cases).questions == [
        "10.0.0.0/16 is no longer included: traffic to it bypasses the sidecar from then on: every pod from now on"
    ]
    assert len(compared) == 199
