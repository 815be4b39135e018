"""Pictures: what is drawn, and that no text in one is ever more than text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_fsm import cli, reports
from kubectl_fsm.output import picture
from kubectl_fsm.output.visible import visible
from kubectl_fsm.reports import RuleLine
from kubectl_fsm.tracing import Course, Decision, Result, Way
from tests.unit.test_every_combination import ENDPOINT, STEP, TRACE, WAY
from tests.unit.test_held_reports import ITEM, hostile

STATES = (
    *("current", "outdated", "not-injected", "failed", "no-interception", "external", "template", "refused", "unknown"),
)
RULES = [
    RuleLine("OUTBOUND", "OUT", "-j X", "all", "go on in X", "a jump", [], decides=False),
    RuleLine("OUTBOUND", "X", "-d 10.0.0.0/8 -j DROP", "to 10.0.0.0/8", "drop", "unwanted", [], decides=True),
    RuleLine("OUTBOUND", "X", "-j Y", "lo, not uid 1500", "direct", "its own", ["a", "b"], True, "-A X -d 10.0.0.0/8"),
    RuleLine("OUTBOUND", "X", "-j Z", "everything else", "sidecar outbound", "the rest", [], decides=True),
    RuleLine("INBOUND", "IN", "-j W", "port 80", "rewritten to 127.0.0.1:81", "odd", [], decides=True),
]
POD = ITEM._replace(rules=RULES)


def drawn(*items):
    return picture.as_mermaid(reports.RulesReport(items, "context x"))


def plainly(text):
    """A picture without what its classes look like."""
    return re.sub("^  classDef .*\n", "", text, flags=re.MULTILINE)


def test_the_rules_of_a_pod():
    assert plainly(drawn(POD, POD._replace(pod="web-2"))) == (
        """\
flowchart TB
  subgraph n1["pod/web-1, pod/web-2 #183; deploy/web #183; mesh fsm 1.5.1 #40;fsm-system#41; #183; sidecar ready #183; OUTDATED"]
    direction LR
    subgraph n2["OUTBOUND"]
      direction TB
      n3(["a process of the pod"])
      subgraph n4[" "]
        direction LR
        n5["to 10.0.0.0/8<br/>unwanted"]
        n6(["drop"]):::dropped
        n5 --> n6
      end
      n3 --> n4
      subgraph n7[" "]
        direction LR
        n8["lo, not uid 1500<br/>its own#58; a, b<br/>never matches because of #45;A X #45;d 10.0.0.0/8"]:::never
        n9(["direct"]):::direct
        n8 -.-> n9
      end
      n4 --> n7
      subgraph n10[" "]
        direction LR
        n11["everything else<br/>the rest"]
        n12(["sidecar outbound"]):::sidecar
        n11 --> n12
      end
      n7 --> n10
    end
    subgraph n13["INBOUND"]
      direction TB
      n14(["the network"])
      subgraph n15[" "]
        direction LR
        n16["port 80<br/>odd"]
        n17(["rewritten to 127.0.0.1#58;81"])
        n16 --> n17
      end
      n14 --> n15
      subgraph n18[" "]
        direction LR
        n19["everything else<br/>no rule takes it"]
        n20(["direct"]):::direct
        n19 --> n20
      end
      n15 --> n18
    end
    n21["why<br/>after a restart#58; #43;80 outbound-port, #45;net1 interface, #43;two, #45;three"]:::note
    n2 ~~~ n13
    n13 ~~~ n21
  end
"""
        "  class n4,n7,n10,n15,n18 rule\n  class n2,n13,n1 frame\n"
    )


def test_pods_without_rules():
    bare = ITEM._replace(rules=[], exclusions=[], settings=[], workload="", sidecar="", mesh_version="")
    late = bare._replace(state="not-injected", reason="it was made before")
    failed = bare._replace(pod="web-2", state="failed", reason="exit code 1", script="")
    assert plainly(drawn(late, failed)) == (
        """\
flowchart TB
  subgraph n1["pod/web-1 #183; mesh fsm #40;fsm-system#41; #183; NOT-INJECTED"]
    direction LR
    subgraph n2["OUTBOUND"]
      direction TB
      n3(["a process of the pod"])
      subgraph n4[" "]
        direction LR
        n5["everything<br/>no rule takes it"]
        n6(["direct"]):::direct
        n5 --> n6
      end
      n3 --> n4
    end
    subgraph n7["INBOUND"]
      direction TB
      n8(["the network"])
      subgraph n9[" "]
        direction LR
        n10["everything<br/>no rule takes it"]
        n11(["direct"]):::direct
        n10 --> n11
      end
      n8 --> n9
    end
    n12["it was made before"]:::note
    n2 ~~~ n7
    n7 ~~~ n12
  end
  subgraph n13["pod/web-2 #183; mesh fsm #40;fsm-system#41; #183; FAILED"]
    direction LR
    n14["exit code 1"]:::note
  end
  n1 ~~~ n13
"""
        "  class n4,n9 rule\n  class n2,n7,n1,n13 frame\n"
    )
    assert plainly(drawn()) == "flowchart TB\n"


NAME, LABEL = "n[1-9][0-9]*", r'"((?:[0-9A-Za-z ,./-]|#[0-9]+;|<br/>)+)"'
GRAMMAR = {
    "frame": rf"subgraph ({NAME})\[{LABEL}\]",
    "direction": r"direction (TB|LR)",
    "end": r"end",
    "box": rf"({NAME})\[{LABEL}\](?::::([a-z]+))?",
    "round": rf"({NAME})\(\[{LABEL}\]\)(?::::([a-z]+))?",
    "edge": rf"({NAME}) (-->|-\.->|~~~)(?:\|{LABEL}\|)? ({NAME})",
    "classDef": r"classDef ([a-z]+) ([a-z]+[a-z0-9:#,-]*)",
    "class": rf"class ({NAME}(?:,{NAME})*) ([a-z]+)",
}


class Chart:
    """A picture, read by the grammar of what is drawn: every name defined once, and before it is used."""

    def __init__(self, text):
        first, *lines = text.splitlines()
        assert first == "flowchart TB"
        self.labels, self.kinds, self.inside, self.edges, self.rounded = {}, {}, {}, [], set()
        self.shares = {}
        self.styles, self.used, frames = {}, set(), []
        expected = None
        for line in lines:
            depth = 1 + len(frames) - (line.strip() == "end")
            assert line.startswith("  " * depth), line
            ((kind, found),) = [
                (kind, match) for kind, rule in GRAMMAR.items() if (match := re.fullmatch(rule, line[2 * depth :]))
            ]
            assert (kind == "direction") is (expected == "direction")
            expected = "direction" if kind == "frame" else None
            if kind in ("frame", "box", "round"):
                assert found[1] not in self.labels
                self.labels[found[1]] = [decoded(part) for part in found[2].split("<br/>")]
                self.inside[found[1]] = frames[-1] if frames else ""
            if kind in ("box", "round") and found[3]:
                self.used.add(found[3])
                self.kinds[found[1]] = found[3]
            if kind == "round":
                self.rounded.add(found[1])
            if kind == "frame":
                frames.append(found[1])
            elif kind == "end":
                frames.pop()
            elif kind == "edge":
                assert {found[1], found[4]} <= self.labels.keys()
                self.edges.append((found[1], found[2], found[4]))
                self.shares[found[1], found[4]] = found[3] and decoded(found[3])
            elif kind == "classDef":
                assert found[1] not in self.styles
                self.styles[found[1]] = dict(one.split(":") for one in found[2].split(","))
            elif kind == "class":
                self.used.add(found[2])
                assert set(found[1].split(",")) <= self.labels.keys()
        assert not frames
        assert self.used <= self.styles.keys()

    def ladders(self):
        """`(title, hook) -> rungs`, each what the boxes of one rule say, followed from the start down."""
        found = {}
        for start in self.rounded:
            hook = self.inside[start]
            if self.labels[hook] in (["OUTBOUND"], ["INBOUND"]):
                rungs, place = [], start
                while following := [end for begin, arrow, end in self.edges if begin == place and arrow == "-->"]:
                    (place,) = following
                    assert self.inside[place] == hook
                    ((rule, taker),) = [(one, other) for one, _, other in self.edges if self.inside[one] == place]
                    assert self.inside[taker] == place
                    rungs.append((*self.labels[rule][:2], *self.labels[taker]))
                found[self.labels[self.inside[hook]][0], self.labels[hook][0]] = rungs
        return found


def decoded(label):
    return re.sub("#([0-9]+);", lambda found: chr(int(found[1])), label).removeprefix("\u2060")


def narrow(text):
    """Text without what differs between a label and what it was made from."""
    wide = {0xFF01 + place: 0x21 + place for place in range(94)}
    return text.translate({**wide, ord("ﬂ"): "?", ord("¶"): "?"})


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_a_pod(state):
    runs = state in ("current", "outdated", "template", "unknown")
    chart = Chart(drawn(POD._replace(state=state, rules=RULES if runs else [])))
    hooks = {hook for _, hook in chart.ladders()}
    assert hooks == ({"OUTBOUND", "INBOUND"} if runs or state == "not-injected" else set())
    (note,) = [chart.labels[name] for name, kind in chart.kinds.items() if kind == "note"]
    assert note == ["why", "after a restart: +80 outbound-port, -net1 interface, +two, -three"]
    assert ("next pod" if state == "template" else state.upper()) in chart.labels["n1"][0]


def test_a_pod_that_stays_as_it_is_has_no_note():
    text = drawn(POD._replace(reason="", exclusions=[], settings=[]))
    assert ":::note" not in text
    assert "~~~" in text


def printed(capsys, *argv):
    assert cli.main(["rules", *argv, "-f", "examples/shop"]) == 0
    return capsys.readouterr().out


def test_a_picture_says_what_the_table_says(capsys):
    ladders = Chart(printed(capsys, "-o", "mermaid")).ladders()
    names = printed(capsys, "-o", "name").splitlines()
    assert "deploy/web" in names
    titles = [f"{name} · mesh fsm (fsm-system) · next pod" for name in names]
    assert set(ladders) == {(title, hook) for title in titles for hook in ("OUTBOUND", "INBOUND")}
    lines = printed(capsys, "deploy/web").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("OUTBOUND"))
    table = [re.split(" {2,}", line) for line in lines[start:-1]]
    drawn = [
        [hook, "RULE", "TO", "WHY"] if number == 0 else [str(number), rung[0], rung[2], rung[1]]
        for hook in ("OUTBOUND", "INBOUND")
        for number, rung in enumerate([None, *ladders[titles[names.index("deploy/web")], hook]])
    ]
    assert drawn == table


CORPUS = [
    '"]; click n1 "javascript:alert(1)"; n9["',
    'click n1 call alert("x")',
    '"):::direct',
    "`**bold**` _em_ ~~gone~~ [link](https://example.com) ![x](y)",
    "1. a list",
    "- a list",
    "1) a list",
    "# heading",
    "    code",
    "> quoted",
    "www.example.com me@example.com https://example.com",
    "<b>x</b><script>alert(1)</script><br/><img src=x onerror=alert(1)>",
    "&lt;b&gt; &#60; #60; #quot; #lt;",
    "%%{init: {'theme': 'dark', 'securityLevel': 'loose'}}%%",
    "%% a comment",
    "---\ntitle: x\n---",
    "end\nsubgraph x",
    "style n1 fill:#f00; classDef direct fill:#f00;",
    "style: #35;",
    "n1 --> n2 -.-> n3 ~~~ n4 === n5 x--x o--o |text|",
    "@{ shape: circle } {a} {{b}} [/c/] [\\d\\] ((e)) >f]",
    "$$x^2$$ fa:fa-camera :::direct",
    "\\n \\t a\tb\r\nc\u2028d\u2029e\x00f\x85",
    "\u202ereversed \u200bhidden ﬂ°°60¶ß ﬂ°lt¶ß ä 日本 😀",
    "  two  blanks  ",
    "..", "--", "//", "-", ".", "/", ",", "10.0.0.0/8", "x#", "graph", "default", "end", "o", "x",
]  # fmt: skip


@pytest.mark.parametrize("text", CORPUS)
def test_no_text_is_more_than_text(monkeypatch, text):
    monkeypatch.setattr("tests.unit.test_held_reports.HOSTILE", text)
    ladders = Chart(drawn(hostile(POD)._replace(state="outdated"))).ladders()
    assert sorted(hook for _, hook in ladders) == ["INBOUND", "OUTBOUND"]
    for (title, hook), (*rungs, rest) in ladders.items():
        assert narrow(title).count(narrow(visible(text))) >= 3
        seen = [(narrow(rung[0]), narrow(rung[-1])) for rung in rungs]
        assert seen == [(narrow(visible(text)),) * 2] * (3 if hook == "OUTBOUND" else 1)
        assert rest == ("everything else", "no rule takes it", "direct")


def test_no_text_at_all(monkeypatch):
    monkeypatch.setattr("tests.unit.test_held_reports.HOSTILE", "")
    Chart(drawn(hostile(POD)))


@given(
    st.text() | st.lists(st.sampled_from([*'ab1 .,-/#;:"`<>&%[](){}|~*_\\$@\n', "www.", "style", "#35;"])).map("".join)
)
def test_a_label_reads_as_what_it_was_made_from(text):
    label = picture.escape(text)
    assert narrow(decoded(label)) == narrow(visible(text))
    assert re.fullmatch("(?:[0-9A-Za-z ,./-]|#[0-9]+;)*", label)
    assert not re.search(r"^ | $|  |[^0-9A-Za-z][-/]|[-/][^0-9A-Za-z]|^[-/]|[-/]$|[^0-9]\.|\.[^0-9]|^\.|\.$", label)
    assert not re.search(
        r"[*`~\[\]\\@ﬂ¶]|\$\$|:[A-Za-z/]|(?i:www\.)|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])", decoded(label)
    )


@pytest.mark.parametrize("text", ["1. x", "- x", "+", "# x", "> x", "=", "日本"])
def test_a_label_begins_with_a_letter_or_what_is_not_seen(text):
    chart = picture.Flowchart()
    chart.node(text)
    assert '"#8288;' in str(chart)


@pytest.mark.parametrize(
    "text",
    [
        "flomesh.io/sidecar-injection: no",
        "excluded IP range: MeshConfig",
        "rewritten to $POD_IP",
        "-A FSM_PROXY_OUTBOUND",
    ],
)
def test_what_the_mesh_itself_says_is_shown_as_it_is(text):
    assert decoded(picture.escape(text)) == text


def test_wide_forms():
    assert decoded(picture.escape("*a* `b` c:d ﬂ°60¶ß")) == "＊a＊ ｀b｀ c：d ?°60?ß"


def traced(*ways):
    """A trace to a Service whose connections go these ways, now and, all of the first way, after a restart."""
    moments = [reports.Moment("now", Course(ways)), reports.Moment("after-restart", Course(ways[:1]))]
    return picture.as_mermaid(TRACE._replace(moments=moments))


def test_a_trace_parts_where_its_ways_do():
    taken = STEP._replace(decision=Decision.SIDECAR, port=15001, entry="", sources=())
    own = taken._replace(by="sidecar", uid=1500, decision=Decision.DIRECT, why="its own")
    server = STEP._replace(pod="pod/redis-0", hook="PREROUTING", decision=Decision.SIDECAR, entry="")
    both = Way(
        2 / 3,
        (ENDPOINT, ENDPOINT._replace(address="10.244.0.6")),
        taken,
        own,
        server,
        None,
        Result.INTERCEPTED,
        "intercepted, mTLS",
    )
    plain = both._replace(
        inbound=server._replace(pod="pod/redis-1", decision=Decision.DIRECT, why="excluded"),
        share=1 / 3,
        endpoints=(ENDPOINT._replace(address="10.244.0.7"),),
        result=Result.SIDECAR_TO_PLAIN,
        text="expected to fail",
    )
    assert plainly(traced(both, plain)) == (
        """\
flowchart TB
  subgraph n1["NOW"]
    direction LR
    n2(["application of pod/web-1<br/>calls svc/redis#58;6379"])
    n3["rules of pod/web-1#58; OUTPUT<br/>sidecar<br/>#45;A FSM#95;PROXY#95;OUTBOUND #45;j RETURN"]:::sidecar
    n2 --> n3
    n4["redis svc<br/>sidecar picks 1 of 3"]:::sidecar
    n3 --> n4
    n5["rules of pod/redis-0 and 1 more#58; PREROUTING<br/>sidecar<br/>#45;A FSM#95;PROXY#95;OUTBOUND #45;j RETURN"]:::sidecar
    n4 -->|"#8288;67 #37;"| n5
    n6(["intercepted, mTLS"]):::sidecar
    n5 --> n6
    n7["rules of pod/redis-1#58; PREROUTING<br/>direct#58; excluded<br/>#45;A FSM#95;PROXY#95;OUTBOUND #45;j RETURN"]:::direct
    n4 -->|"#8288;33 #37;"| n7
    n8(["expected to fail"]):::dropped
    n7 --> n8
  end
  subgraph n9["AFTER RESTART"]
    direction LR
    n10(["application of pod/web-1<br/>calls svc/redis#58;6379"])
    n11["rules of pod/web-1#58; OUTPUT<br/>sidecar<br/>#45;A FSM#95;PROXY#95;OUTBOUND #45;j RETURN"]:::sidecar
    n10 --> n11
    n12["redis svc<br/>sidecar picks 1 of 2"]:::sidecar
    n11 --> n12
    n13["rules of pod/redis-0 and 1 more#58; PREROUTING<br/>sidecar<br/>#45;A FSM#95;PROXY#95;OUTBOUND #45;j RETURN"]:::sidecar
    n12 --> n13
    n14(["intercepted, mTLS"]):::sidecar
    n13 --> n14
  end
  n1 ~~~ n9
"""
        "  class n1,n9 frame\n"
    )


def test_each_branch_has_its_share_where_that_is_known():
    def shares(*shares):
        ways = [
            WAY._replace(share=share, inbound=STEP._replace(pod=f"pod/{number}")) for number, share in enumerate(shares)
        ]
        return list(
            Chart(picture.as_mermaid(TRACE._replace(moments=[reports.Moment("now", Course(ways))]))).shares.values()
        )

    assert shares(1.0) == [None] * 4
    assert shares(0.25, 0.7, 0.005) == [None, None, "25 %", None, "70 %", None, "< 1 %", None]
    assert shares(None, 0.25) == [None, None, None, None, "25 %", None]


def test_ways_that_are_drawn_as_one_have_one_share():
    aside = WAY._replace(share=0.25, inbound=STEP._replace(pod="pod/aside"))
    ways = [WAY._replace(share=0.25), aside, WAY._replace(share=0.5), aside._replace(share=0.0)]
    chart = Chart(picture.as_mermaid(TRACE._replace(moments=[reports.Moment("now", Course(ways))])))
    assert [share for share in chart.shares.values() if share] == ["75 %", "25 %"]


def light(colour):
    """The relative luminance that WCAG 2 defines."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_what_classes_look_like():
    """None is defined in vain, those of different meaning differ, and text on a colour can be read, also in dark mode."""
    dropped = WAY._replace(result=Result.REFUSED)
    charts = [Chart(drawn(POD)), Chart(traced(WAY, dropped))]
    styles = charts[0].styles
    assert styles == charts[1].styles
    assert set().union(*(chart.used for chart in charts)) == styles.keys()
    filled = {name: look for name, look in styles.items() if look.get("fill", "none") != "none"}
    assert set(filled) == {"direct", "sidecar", "dropped"}
    assert len({look["fill"] for look in filled.values()}) == len({look["stroke"] for look in filled.values()}) == 3
    for look in filled.values():
        assert (light(look["fill"]) + 0.05) / (light(look["color"]) + 0.05) > 7


def test_a_trace_to_nobody_ends_with_the_rules():
    direct = Way(1.0, (), STEP, None, None, None, Result.BYPASSED, "bypassed: straight to the outside")
    text = picture.as_mermaid(TRACE._replace(moments=[reports.Moment("next-pod", Course([direct]))], service=None))
    assert text.startswith(
        """\
flowchart TB
  subgraph n1["NEXT POD"]
    direction LR
    n2(["application of pod/web-1<br/>calls svc/redis#58;6379"])
    n3["rules of pod/web-1#58; OUTPUT<br/>direct#58; port 6379, MeshConfig<br/>#45;A FSM#95;PROXY#95;OUTBOUND #45;j RETURN"]:::direct
    n2 --> n3
    n4(["bypassed#58; straight to the outside"]):::direct
    n3 --> n4
  end
"""
    )


def test_a_sidecar_that_takes_its_own_connection_is_drawn():
    taken = STEP._replace(decision=Decision.SIDECAR, port=15001, entry="")
    own = taken._replace(by="sidecar", decision=Decision.REJECTED, why="a rule of its own")
    way = Way(1.0, (ENDPOINT,), taken, own, None, None, Result.REFUSED, "refused by the client's rules")
    text = picture.as_mermaid(TRACE._replace(moments=[reports.Moment("now", Course([way]))], service=None))
    for line in (
        '["sidecar of pod/web-1"]:::sidecar',
        '["rules of pod/web-1#58; OUTPUT, its sidecar<br/>rejected#58; a rule of its own<br/>#45;A FSM#95;PROXY#95;OUTBOUND #45;j RETURN"]:::dropped',
        '(["refused by the client#39;s rules"]):::dropped',
    ):
        assert line in text


@pytest.mark.parametrize("result", Result)
def test_every_result_of_a_trace_is_drawn(result):
    way = Way(1.0, (ENDPOINT,), STEP, None, STEP, None, result, "and so it ends")
    kind = {
        "intercepted": ":::sidecar",
        "leaves": ":::sidecar",
        "bypassed": ":::direct",
        **dict.fromkeys(("refused", "no-answer", "loops"), ":::dropped"),
    }
    assert f'(["and so it ends"]){kind.get(result.value, "")}\n' in traced(way)
    failing = way._replace(text="expected to fail")
    assert '(["expected to fail"]):::dropped\n' in traced(failing)


@pytest.mark.parametrize("text", CORPUS)
def test_no_text_of_a_trace_is_more_than_text(text):
    step = STEP._replace(pod=text, entry=text, why=text, sources=(text,), rule=text)
    way = WAY._replace(outbound=step, onward=None, inbound=step, text=text)
    moments = [reports.Moment("now", Course([way]))]
    chart = Chart(picture.as_mermaid(TRACE._replace(target=text, moments=moments)))
    shown = [narrow(line) for lines in chart.labels.values() for line in lines]
    assert narrow(visible(f"calls {text}")) in shown
    assert narrow(visible(text)) in shown
