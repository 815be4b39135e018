"""What `rules` finds out about pods of a cluster, and how reports read."""

import pytest

from kubectl_fsm import reports
from kubectl_fsm.errors import NotFound, UsageError
from kubectl_fsm.generator import render
from kubectl_fsm.output import grid, structured, table
from kubectl_fsm.reports import EntryState, ListChange, PodRules, SettingState, Writer
from tests.unit.test_guards_offline import IN, NAMESPACE, OUT, PREFIX, deployment, meshconfig, pod
from tests.unit.test_held_edits import OLD, Remote, carry_out, cron_job, running

PLAIN, COLOUR, WIDE = grid.Style(), grid.Style(colour=True), grid.Style(wide=True)


class Files(Remote):
    remote = False


def rules(*objects, words=("-n", "shop")):
    return carry_out(Remote(*objects), "rules", *words)[0]


def one(*objects, words=("web-1", "-n", "shop")):
    (item,) = rules(*objects, words=words).items
    return item


def test_the_summary_of_a_namespace():
    objects = [
        meshconfig(outboundPortExclusionList=[80]),
        NAMESPACE,
        deployment(annotations={OUT: "22"}),
        cron_job(),
        running("web-1", script=render("fsm-1.5", {}, {"traffic": {"outboundPortExclusionList": [80, 7]}})),
        pod("alone", uid="alone"),
    ]
    assert table.as_table(rules(*objects), PLAIN) == (
        "POD    WORKLOAD    STATE         ENTRIES  CHANGES\n"
        "web-1  deploy/web  outdated      2        -7 outbound-port, +22 outbound-port\n"
        "alone  -           not-injected  1        -\n"
    )
    other = {**pod("other", uid="other"), "metadata": {"name": "other", "namespace": "cart"}}
    assert table.as_table(rules(*objects, other, words=["-A"]), WIDE).split()[:10] == [
        *("NAMESPACE", "POD", "WORKLOAD", "STATE", "ENTRIES", "CHANGES", "MESH", "INJECTOR", "SIDECAR", "REASON")
    ]


def test_pods_that_say_the_same_are_shown_together():
    objects = [
        meshconfig(outboundPortExclusionList=[80]),
        NAMESPACE,
        deployment(replicas=4),
        *(running(f"web-{number}") for number in range(1, 5)),
    ]
    title, head, entry, *_, apply = table.as_table(
        rules(*objects, words=("deploy/web", "-n", "shop")), PLAIN
    ).splitlines()
    assert title == "pod/web-1, pod/web-2, pod/web-3 and 1 more · deploy/web · mesh fsm (fsm-system) · OUTDATED"
    assert head.split() == ["LIST", "VALUE", "STATE", "SOURCE"]
    assert entry.split() == ["outbound-port", "80", "pending", "MeshConfig"]
    assert apply == "Apply: kubectl fsm restart deploy/web -n shop   # 4 pods"


def test_a_target_that_is_named_twice_is_shown_once():
    report = rules(meshconfig(), NAMESPACE, deployment(), running("web-1"), words=("web-1", "web-1", "-n", "shop"))
    assert [item.pod for item in report.items] == ["web-1"]


def test_a_pod_that_is_named_is_shown_alone_and_all_are_in_order():
    def at(namespace, name):
        item = running(name)
        item["metadata"]["namespace"] = namespace
        return item

    objects = [meshconfig(), at("shop", "a-1"), at("cart", "z-1"), deployment(), running("web-1"), running("web-2")]
    assert [item.pod for item in rules(*objects, words=("web-1", "-n", "shop")).items] == ["web-1"]
    assert [item.namespace for item in rules(*objects, words=["-A"]).items] == ["cart", "shop", "shop", "shop"]


def test_where_each_entry_comes_from_and_what_becomes_of_it():
    spec = {"traffic": {"outboundPortExclusionList": [80, 443], "outboundIPRangeExclusionList": ["2.2.2.2/24"]}}
    config = meshconfig(outboundPortExclusionList=[80, 22], outboundIPRangeExclusionList=["2.2.2.0/24"])
    item = one(
        config, NAMESPACE, deployment(annotations={OUT: "22"}), running("web-1", script=render("fsm-1.5", {}, spec))
    )
    assert item.exclusions == [
        ("outbound-port", "80", ("MeshConfig",), "programmed"),
        ("outbound-port", "443", (), "leaving"),
        ("outbound-port", "22", ("MeshConfig", "deploy/web template"), "pending"),
        ("outbound-ip", "2.2.2.2/24", ("MeshConfig",), "programmed"),
    ]
    shown = {line.rule: line.sources for line in item.rules}
    assert shown["-p tcp --match multiport --dports 80,443 -j RETURN"] == ["MeshConfig"]
    assert shown["-d 2.2.2.2/24 -j RETURN"] == ["MeshConfig"]
    assert item.apply == "kubectl fsm restart deploy/web -n shop"
    assert item.script == render("fsm-1.5", {}, spec)
    assert item.next_script == render("fsm-1.5", {OUT: "22"}, config["spec"])


def test_rules_that_can_never_match():
    spec = {"traffic": {"outboundIPRangeExclusionList": ["10.0.0.0/8", "10.1.0.0/16"]}}
    twice = render("fsm-1.5", {}, spec).replace("COMMIT", "-I FSM_PROXY_OUTBOUND -d 10.0.0.0/8 -j RETURN\nCOMMIT")
    cluster = [meshconfig(), NAMESPACE, deployment(), running("web-1", script=twice), running("web-2")]
    first, second = rules(*cluster, words=("web-1", "web-2", "-n", "shop")).items
    admin = ("FSM_PROXY_OUT_REDIRECT", "-p tcp --dport 15000 -j ACCEPT")
    listener = "-A FSM_PROXY_OUT_REDIRECT -p tcp -j REDIRECT --to-port 15001"
    wide, narrow = "-d 10.0.0.0/8 -j RETURN", "-d 10.1.0.0/16 -j RETURN"
    by = f"-A FSM_PROXY_OUTBOUND {wide}"
    assert [(line.chain, line.rule, line.shadowed_by) for line in first.rules if line.shadowed_by] == [
        ("FSM_PROXY_OUTBOUND", wide, by),
        ("FSM_PROXY_OUTBOUND", narrow, by),
        (*admin, listener),
    ]
    assert [line.shadowed_by for line in first.rules if line.rule == wide] == ["", by]
    assert [(line.chain, line.rule, line.shadowed_by) for line in second.rules if line.shadowed_by] == [
        (*admin, listener)
    ]
    shown = structured.document(rules(*cluster, words=("web-2", "-n", "shop")))["items"][0]["rules"]
    assert {line["rule"]: line["shadowedBy"] for line in shown if line["chain"] == admin[0]} == {
        "-p tcp -j REDIRECT --to-port 15001": None,
        admin[1]: listener,
    }


@pytest.mark.parametrize(
    ("words", "looked_for"),
    [
        ([], False),
        (["-o", "wide"], False),
        (["-o", "json"], True),
        (["-o", "yaml"], True),
        (["-o", "mermaid"], True),
        (["web-1"], True),
    ],
)
def test_what_never_matches_is_looked_for_where_it_is_shown(words, looked_for):
    cluster = [meshconfig(), NAMESPACE, deployment(), running("web-1")]
    (item,) = rules(*cluster, words=[*words, "-n", "shop"]).items
    assert any(line.shadowed_by for line in item.rules) is looked_for


def test_settings_that_change_the_rules():
    config = meshconfig()
    config["spec"]["sidecar"] = {"localProxyMode": "PodIP"}
    item = one(config, NAMESPACE, deployment(), running("web-1"))
    assert item.settings == [("local-proxy-mode PodIP", False, True)]
    assert item.state == "outdated"
    now = one(meshconfig(), NAMESPACE, deployment(), running("web-1", script=render("fsm-1.5", {}, config["spec"])))
    assert now.settings == [("local-proxy-mode PodIP", True, False)]
    assert one(config, NAMESPACE, deployment(), running("web-1", script=now.script)).state == "current"
    config["spec"]["sidecar"] = {"localDNSProxy": {"enable": True}}
    dns = running("web-1", script=render("fsm-1.2", {}, config["spec"]))
    assert one(meshconfig(), NAMESPACE, deployment(), dns).settings == [("local-dns-proxy", True, False)]


def injected(labels=None, **spec):
    item = running("web-1", script=None)
    item["metadata"]["labels"] = {"fsm-proxy-uuid": "x"} if labels is None else labels
    item["spec"] |= spec
    return item


OFF = deployment(annotations={f"{PREFIX}sidecar-injection": "no"})


@pytest.mark.parametrize(
    ("config", "web", "item", "state", "reason"),
    [
        (meshconfig(), deployment(), injected(), "external", "it is injected but has no init container"),
        (meshconfig("NodeLevel"), deployment(), injected(), "no-interception", "interceptionMode NodeLevel"),
        (meshconfig(""), deployment(), injected(), "no-interception", "interceptionMode (none)"),
        (
            meshconfig(),
            deployment(),
            injected(nodeSelector={"kubernetes.io/os": "windows"}),
            "no-interception",
            "Windows pods get no init container",
        ),
        (meshconfig(), deployment(), injected({}), "not-injected", "it was made before it could be injected"),
        (meshconfig(), OFF, injected({}), "not-injected", "the pod is annotated"),
        (meshconfig(), OFF, running("web-1"), "outdated", "the next pod will have no such rules: the pod is annotated"),
        (
            meshconfig(),
            deployment(annotations={OUT: "x"}),
            running("web-1"),
            "outdated",
            "the next pod will have no such rules: the injector refuses the next pod: Invalid port value 'x'",
        ),
    ],
)
def test_states_of_pods(config, web, item, state, reason):
    found = one(config, NAMESPACE, web, item)
    assert found.state == state
    assert found.reason.startswith(reason)
    assert found.apply == "", "what would not come back with rules is not restarted"


def test_a_pod_whose_next_one_will_not_start_is_not_restarted():
    item = one(meshconfig(inboundPortExclusionList=[70000]), NAMESPACE, deployment(), running("web-1"))
    assert (item.state, item.apply) == ("outdated", "")
    assert item.notes[0] == "the next pod will not start: '70000' is not a port from 1 to 65535"
    template = one(
        meshconfig(inboundPortExclusionList=[70000]), NAMESPACE, deployment(), words=("deploy/web", "-n", "shop")
    )
    assert (template.state, template.rules) == ("template", ())


def test_the_injector_that_wrote_the_rules_is_named():
    config = meshconfig() | {"apiVersion": "config.openservicemesh.io/v1alpha2"}
    config["metadata"] = {"name": "osm-mesh-config", "namespace": "osm-system"}
    del config["spec"]["traffic"]["interceptionMode"]
    injector = deployment("osm-injector")
    labels = {"app": "osm-injector", "app.kubernetes.io/version": "v1.2.4"}
    injector["metadata"] |= {"namespace": "osm-system", "labels": labels}

    def written_by(name):
        item = running("web-1", script=render(name, {}, {}))
        item["spec"]["initContainers"][0]["name"] = "osm-init"
        return one(config, injector, deployment(), item).injector

    assert written_by("osm-1.0") == "osm-1.0"
    assert written_by("osm-1.2") == "osm-1.2"


def test_annotations_that_do_nothing_are_named():
    wrong = "openservicemesh.io/outbound-port-exclusion-list"
    item = running("web-1")
    item["metadata"]["annotations"] = {IN: "7", OUT: "80"}
    notes = one(meshconfig(), NAMESPACE, deployment(annotations={wrong: "1", OUT: "81"}), item).notes
    assert notes[1:] == [
        f"annotation {IN}: 7 is on the pod but not on its template; it goes with the pod",
        f"annotation {wrong} does nothing under FSM; its key is {OUT}",
    ]


def test_annotations_for_a_mesh_that_is_not_looked_at_are_its_own():
    theirs = {"name": "shop", "labels": {"openservicemesh.io/monitored-by": "osm"}}
    web = deployment(annotations={"openservicemesh.io/outbound-port-exclusion-list": "1"})
    item = one(meshconfig(), {**NAMESPACE, "metadata": theirs}, web, words=("deploy/web", "-n", "shop"))
    assert (item.state, [note for note in item.notes if "annotation" in note]) == ("not-injected", [])


def test_a_namespace_that_refuses_pods():
    namespace = {
        **NAMESPACE,
        "metadata": {**NAMESPACE["metadata"], "annotations": {f"{PREFIX}sidecar-injection": "on"}},
    }
    item = one(meshconfig(), namespace, deployment(), words=("deploy/web", "-n", "shop"))
    assert (item.state, item.next_script) == ("refused", "")
    assert item.reason == f"the namespace's annotation {PREFIX}sidecar-injection is 'on': the injector refuses the pod"


def test_what_a_script_and_an_owner_are_warned_of():
    job = {**deployment("once"), "apiVersion": "batch/v1", "kind": "Job"}
    item = running("once-1", "Job", "once", OLD.replace("FSM_PROXY", "fsm_PROXY"))
    item["metadata"]["ownerReferences"][0]["apiVersion"] = "batch/v1"
    notes = one(meshconfig(), NAMESPACE, job, item, words=("once-1", "-n", "shop")).notes
    assert [note.partition(" ")[0] for note in notes] == ["FSM's", "chain", "a"]
    assert notes[2].startswith("a Job's pod template is immutable")


def test_an_init_container_that_failed_says_so_in_the_kubelets_words():
    item = running("web-1", script="reboot")
    item["status"]["initContainerStatuses"][0]["state"] = {"terminated": {"exitCode": 4, "message": "no such command"}}
    found = one(meshconfig(), NAMESPACE, deployment(), item)
    assert (found.state, found.reason, found.rules) == ("failed", "Error, exit code 4: no such command", ())


def test_a_bare_pods_own_annotation_is_the_source():
    alone = pod("alone", render("fsm-1.5", {OUT: "80"}, {}), uid="alone")
    alone["metadata"]["annotations"] = {OUT: "80"}
    item = one(meshconfig(), NAMESPACE, alone, words=("alone", "-n", "shop"))
    assert (item.state, item.workload) == ("current", "")
    assert item.exclusions == [("outbound-port", "80", ("pod annotation",), "programmed")]
    assert item.notes[1:] == [], "no annotation of a bare pod is a stray one"


def test_without_a_meshconfig_nothing_is_pending_or_leaving():
    item = running("web-1", script=render("fsm-1.5", {OUT: "80"}, {"sidecar": {"localProxyMode": "PodIP"}}))
    (found,) = carry_out(Files(NAMESPACE, deployment(annotations={OUT: "81"}), item), "rules", "web-1", "-n", "shop")[
        0
    ].items
    assert found.state == "unknown"
    assert [(entry.value, entry.state) for entry in found.exclusions] == [("80", "programmed")]
    assert found.settings == [("local-proxy-mode PodIP", True, True)]


def test_readiness_of_the_sidecar():
    item = running("web-1")
    item["status"]["containerStatuses"] = [{"name": "sidecar", "ready": True}]
    found = rules(meshconfig(), NAMESPACE, deployment(), item, words=("web-1", "-n", "shop"))
    assert found.items[0].sidecar == "ready"
    assert table.as_table(found, COLOUR).splitlines()[0] == (
        "pod/web-1 · deploy/web · mesh fsm (fsm-system) · sidecar ready · \x1b[32mCURRENT\x1b[0m"
    )


def test_finished_pods_are_no_pods_and_workloads_without_pods_are_not_summed_up():
    ended = {**running("web-1"), "status": {"phase": "Succeeded"}}
    objects = [meshconfig(), NAMESPACE, deployment(), ended]
    report, events = carry_out(Remote(*objects), "rules", "-n", "shop")
    assert (report.items, [event.text for event in events]) == ([], ["no pods found in namespace shop"])
    assert table.as_table(report, PLAIN) == ""
    refused = rules(meshconfig(), NAMESPACE, deployment(annotations={OUT: "x"}))
    assert [item.state for item in refused.items] == ["refused"], "but where the injector refuses pods it is said"


def test_a_target_is_looked_for_where_it_is_meant():
    def at(*namespaces, words=()):
        places = [{"name": "web", "namespace": namespace} for namespace in namespaces]
        cluster = Files(meshconfig(), *({**deployment(), "metadata": place} for place in places))
        return [item.namespace for item in carry_out(cluster, "rules", "deploy/web", *words)[0].items]

    assert at("cart") == ["cart"], "files without a namespace given: wherever it is"
    with pytest.raises(UsageError, match=r"deploy/web is in several namespaces: cart, shop"):
        at("cart", "shop")
    assert at("cart", "shop", words=["-n", "shop"]) == ["shop"]
    with pytest.raises(NotFound):
        at("cart", words=["-n", "shop"])


def test_a_pod_that_is_not_there_may_be_a_workload():
    cluster = Remote(meshconfig(), NAMESPACE, deployment())
    with pytest.raises(NotFound) as caught:
        carry_out(cluster, "rules", "web", "-n", "shop")
    assert caught.value.hint == "a workload is named KIND/NAME, such as deploy/web"
    with pytest.raises(NotFound) as caught:
        carry_out(cluster, "rules", "deploy/api", "-n", "shop")
    assert caught.value.hint == ""


@pytest.mark.parametrize("target", ["/web", "deploy/", "a/b/c", "pod//x"])
def test_what_is_no_target(target):
    with pytest.raises(UsageError, match=r"is not a target"):
        carry_out(Remote(meshconfig()), "rules", target)


ITEM = PodRules(
    *("web-1", "shop", "deploy/web", "fsm", "1.5.1", "fsm-system", "fsm-1.5", "outdated", "why", "ready"),
    exclusions=[
        EntryState("outbound-port", "80", ["a", "b"], "pending"),
        EntryState("interface", "net1", [], "leaving"),
    ],
    settings=[
        SettingState("one", running=True, configured=True),
        SettingState("two", running=False, configured=True),
        SettingState("three", running=True, configured=False),
    ],
    rules=[
        reports.RuleLine("OUTBOUND", "OUT", "-j X", "all", "direct", "because", ["a", "b"], decides=True),
        reports.RuleLine("OUTBOUND", "OUT", "-j Y", "tcp", "go on", "jump", [], decides=False),
        reports.RuleLine("INBOUND", "IN", "-j Z", "udp", "sidecar", "wherefore", [], decides=True),
    ],
    notes=["a note", "a note"],
    apply="do it",
    replicas=1,
    script="script\n",
    next_script="next\n",
)


def rendered(*items, style=PLAIN, detailed=True):
    return table.as_table(reports.RulesReport(items, "context x", detailed), style)


def test_a_pod_in_full():
    assert rendered(ITEM) == (
        "pod/web-1 · deploy/web · mesh fsm 1.5.1 (fsm-system) · sidecar ready · OUTDATED\n"
        "why\n"
        "LIST           VALUE  STATE       SOURCE\n"
        "outbound-port  80     pending     a, b\n"
        "interface      net1   leaving     no longer configured\n"
        "setting        one    programmed  MeshConfig\n"
        "setting        two    pending     MeshConfig\n"
        "setting        three  leaving     MeshConfig\n"
        "OUTBOUND  RULE  TO      WHY\n"
        "1         all   direct  because: a, b\n"
        "INBOUND  RULE  TO       WHY\n"
        "1        udp   sidecar  wherefore\n"
        "Note: a note\n"
        "Apply: do it   # 1 pod\n"
    )
    wide = rendered(ITEM, style=WIDE)
    assert (
        "1         all   direct  because: a, b  -A OUT -j X\n2         tcp   go on   jump           -A OUT -j Y\n"
        in wide
    )
    assert "NEVER" not in wide
    hidden = [line._replace(shadowed_by="-A OUT -j X" if "Y" in line.rule else "") for line in ITEM.rules]
    assert (
        "OUTBOUND  RULE  TO      WHY            IPTABLES     NEVER MATCHES BECAUSE OF\n"
        "1         all   direct  because: a, b  -A OUT -j X  -\n"
        "2         tcp   go on   jump           -A OUT -j Y  -A OUT -j X\n"
        "INBOUND  RULE  TO       WHY        IPTABLES\n"
        "1        udp   sidecar  wherefore  -A IN -j Z\n"
    ) in rendered(ITEM._replace(rules=hidden), style=WIDE)
    everywhere = [line._replace(shadowed_by="-A OUT -j X") for line in ITEM.rules]
    assert rendered(ITEM._replace(rules=everywhere)) == rendered(ITEM), "but only where it is asked for"
    nothing = ITEM._replace(exclusions=[], settings=[], rules=[], reason="", notes=[], replicas=None)
    assert rendered(nothing).splitlines()[1:] == ["no exclusions", "Apply: do it"]
    assert "net1   leaving     not known\n" in rendered(ITEM._replace(state="unknown"))
    assert rendered(ITEM._replace(pod="", state="template")).startswith("deploy/web · mesh fsm 1.5.1 (fsm-system) · ")
    assert rendered(ITEM._replace(workload="", mesh_version="", sidecar="")).startswith("pod/web-1 · mesh fsm (fsm-sys")


@pytest.mark.parametrize(
    "other",
    [
        {"namespace": "cart"},
        {"workload": "deploy/api"},
        {"state": "failed"},
        {"reason": "x"},
        {"script": "x"},
        {"sidecar": ""},
    ],
)
def test_pods_that_differ_are_shown_apart(other):
    second = ITEM._replace(pod="web-2")
    assert rendered(ITEM, second).startswith("pod/web-1, pod/web-2 · ")
    assert rendered(ITEM, second._replace(**other)).count(" · mesh fsm") == 2


def test_changes_in_a_line():
    rows = rendered(ITEM, ITEM._replace(script=""), detailed=False).splitlines()[1:]
    assert [row.split(maxsplit=3)[3] for row in rows] == [
        "1        +80 outbound-port, -net1 interface, +two, -three",
        "1        -",
    ]
    assert "\x1b[33moutdated\x1b[0m" in rendered(ITEM, style=COLOUR, detailed=False)
    for state, colour in (("pending", 33), ("leaving", 33), ("programmed", 32)):
        assert f"\x1b[{colour}m{state}\x1b[0m" in rendered(ITEM, style=COLOUR)


def test_scripts_of_several_pods_have_a_heading_each():
    def scripts(*items):
        return table.as_iptables(reports.RulesReport(items, "context x"))

    assert scripts(ITEM) == "script\n"
    template = ITEM._replace(pod="", state="template", script="")
    assert scripts(template) == "next\n"
    assert scripts(ITEM, template, ITEM._replace(script="")) == (
        "# pod/web-1 in shop\nscript\n# deploy/web in shop\nnext\n"
    )


HOSTILE = "x\n\x1b[2J\u202ey"
OWN = {"list", "state", "result", "dry_run", "hook", "by", "mesh", "injector", "sidecar", "scope", "client", "script"}
"""Fields in which the program writes nothing but words of its own, or what is not part of a table."""


def hostile(value, name=""):
    """The same report with all that a cluster or a file may say made hostile."""
    if name in OWN or isinstance(value, SettingState):
        return value
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return type(value)(**{field: hostile(item, field) for field, item in value._asdict().items()})
    return type(value)(map(hostile, value)) if isinstance(value, list | tuple) else value


def every_report():
    hidden = [line._replace(shadowed_by="-A OUT -j X") for line in ITEM.rules]
    items = [
        ITEM._replace(rules=hidden, workload="", state="external", sidecar=""),
        ITEM._replace(pod="", state="template"),
        ITEM._replace(from_injector=reports.Opinion("refused", False, "no", ["+80 outbound-port"], ["a note"])),
    ]
    entry = reports.Configured("outbound-port", "80", "odd")
    item = reports.ConfiguredObject("global", "MeshConfig/x", "ns", [entry], {"outbound-port": Writer("a", "b")}, "why")
    change = ListChange("outbound-port", ["80"], ["80", "443"])
    before, after = {"metadata": {"name": "x"}, "a": "b"}, {"metadata": {"name": "x"}, "a": "b", "c": "d"}
    edit = reports.EditReport(
        *("x", "ns", "context x", "fsm", "edited", ""), [change], 3, 2, ["do"], "undo", "c", before, after
    )
    return [
        *(reports.RulesReport(items, "context x", detailed) for detailed in (True, False)),
        reports.ExclusionsReport([item, item._replace(namespace="y")], "context x"),
        edit,
        edit._replace(diff=True),
        reports.VersionReport("0.1", "context x", [reports.MeshVersion("fsm", "1.5.1", "a", "fsm-1.5")]),
    ]


@pytest.mark.parametrize("style", [PLAIN, WIDE], ids=["plain", "wide"])
@pytest.mark.parametrize("report", every_report(), ids=lambda report: type(report).__name__)
def test_no_text_forges_a_line_or_reaches_the_terminal(report, style):
    shown = table.as_table(hostile(report), style)
    assert "x\\n\\x1b[2J\\u202ey" in shown
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert not [line for line in shown.splitlines() if line.startswith(("y", "\\x1b"))]
    if not getattr(report, "diff", False):
        assert len(shown.splitlines()) == len(table.as_table(report, style).splitlines())


def edited(**other):
    changes = [ListChange("outbound-port", ["80"], ["80", "443"])]
    report = reports.EditReport(
        *("meshconfig/x", "ns", "context x", "fsm", "edited", "", changes),
        pods=3,
        outdated=2,
        apply=["one"],
        undo="back",
        consequence="later",
        previous={"metadata": {"name": "x"}},
        resource={"metadata": {"name": "x"}},
    )
    return table.as_table(report._replace(**other), PLAIN).splitlines()


HEAD = "meshconfig/x in ns edited (context x, mesh fsm)"
CHANGE = "outbound-port: [80] → [80 443]"


@pytest.mark.parametrize(
    ("other", "lines"),
    [
        ({}, [HEAD, CHANGE, "2 of 3 pods run outdated rules; later", "Apply: one", "Undo: back"]),
        (
            {"outdated": 1, "pods": 1},
            [HEAD, CHANGE, "1 of 1 pod runs outdated rules; later", "Apply: one", "Undo: back"],
        ),
        ({"outdated": 0, "apply": (), "undo": ""}, [HEAD, CHANGE, "later"]),
        (
            {"dry_run": "client"},
            [
                "meshconfig/x in ns edited (dry run) (context x, mesh fsm)",
                CHANGE,
                "2 of 3 pods would run outdated rules; nothing was written",
            ],
        ),
        (
            {"dry_run": "server", "outdated": 1},
            [
                "meshconfig/x in ns edited (server dry run) (context x, mesh fsm)",
                CHANGE,
                "1 of 3 pods would run outdated rules; nothing was written",
            ],
        ),
        ({"result": "unchanged"}, ["meshconfig/x in ns unchanged (context x, mesh fsm)", CHANGE]),
        (
            {"apply": list("abcdef")},
            [
                HEAD,
                CHANGE,
                "2 of 3 pods run outdated rules; later",
                *(f"Apply: {letter}" for letter in "abcde"),
                "       and 1 more; the verb rules with -A shows them",
                "Undo: back",
            ],
        ),
    ],
)
def test_an_edit(other, lines):
    assert edited(**other) == lines


def test_a_diff_is_without_what_the_server_keeps():
    kept = {"resourceVersion": "1", "generation": 1, "managedFields": []}
    before = {"metadata": {"name": "x", **kept}, "status": {"a": 1}, "spec": {"a": [1]}}
    after = {
        "metadata": {"name": "x", "resourceVersion": "2", "generation": 2},
        "status": {"a": 2},
        "spec": {"a": [1, 2]},
    }
    lines = edited(diff=True, previous=before, resource=after, apply=(), undo="", outdated=0)
    assert lines[2:] == [
        *("--- before", "+++ after", "@@ -3,3 +3,4 @@", " spec:", "   a:", "   - 1", "+  - 2", "later")
    ] or lines[2:4] == ["--- before", "+++ after"]
    assert [line for line in lines if line[0] in "+-"] == ["--- before", "+++ after", "+  - 2"]


def test_who_wrote_a_list_last():
    entry = reports.Configured("outbound-port", "80", "odd")
    item = reports.ConfiguredObject(
        "global", "MeshConfig/x", "", [entry], {"outbound-port": Writer("ann", "then")}, "why"
    )
    bare = item._replace(object="deploy/web", namespace="shop", writers={}, note="")
    report = reports.ExclusionsReport([item, bare], "context x")
    assert table.as_table(report, WIDE) == (
        "NAMESPACE  OBJECT        LIST           VALUE  LIST LAST WRITTEN BY  NOTE\n"
        "-          MeshConfig/x  outbound-port  80     ann then              odd\n"
        "shop       deploy/web    outbound-port  80     -                     odd\n"
        "MeshConfig/x in no namespace: why\n"
    )
    assert "WRITTEN" not in table.as_table(report, PLAIN)
    assert table.as_table(reports.ExclusionsReport([], "context x"), PLAIN) == "no exclusions\n"


def test_versions():
    meshes = [reports.MeshVersion("fsm", "1.5.1", "a", "fsm-1.5"), reports.MeshVersion("osm", "", "b", "osm-1.2")]
    assert table.as_table(reports.VersionReport("0.1", "context x", meshes), PLAIN) == (
        "Client: 0.1\n"
        "Mesh: fsm 1.5.1 in a, injector fsm-1.5 (context x)\n"
        "Mesh: osm (version not shown) in b, injector osm-1.2 (context x)\n"
    )
