"""IP ranges by name, on manifests."""

import pytest

from kubectl_fsm.errors import FsmError, UsageError
from tests.unit.test_guards_offline import deployment, meshconfig
from tests.unit.test_held_edits import Remote, carry_out


def service(name, namespace="shop", **spec):
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


SERVICES = [
    service("db", clusterIP="10.0.0.7", clusterIPs=["10.0.0.7", "fd00::7"]),
    service("db", "cache", clusterIP="10.0.0.8"),
    service("web", "default", clusterIP="10.0.0.9"),
    service("kubernetes", "default", clusterIP="10.0.0.1"),
    service("dual", clusterIP="fd00::5", clusterIPs=["fd00::5", "10.0.0.5"]),
    service("six", clusterIP="fd00::6"),
    service("headless", clusterIP="None", clusterIPs=["None"]),
    service("out", type="ExternalName", externalName="x.example"),
    service("draft"),
]
WEB = "--workload=deploy/web"


@pytest.mark.parametrize(
    ("words", "ranges"),
    [
        (["svc/db.shop"], "10.0.0.7/32"),
        (["svc/db.cache", "service/db.cache.svc", "services/db.cache.svc.cluster.local"], "10.0.0.8/32"),
        (["svc/web"], "10.0.0.9/32"),
        (["svc/db", WEB, "-n", "shop"], "10.0.0.7/32"),
        (["svc/dual.shop"], "10.0.0.5/32"),
        (
            ["kubernetes-api,cloud-metadata", "192.0.2.1", "10.1.0.0/16"],
            "10.0.0.1/32 169.254.169.254/32 192.0.2.1/32 10.1.0.0/16",
        ),
    ],
)
def test_what_a_name_stands_for(words, ranges):
    report, _ = carry_out(Remote(meshconfig(), deployment(), *SERVICES), "exclude-ip", *words)
    assert report.changes == [("outbound-ip", [], ranges.split())]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("svc/six.shop", "Service six in shop has only an IPv6 address, and IPv6 is not intercepted at all"),
        ("svc/headless.shop", "Service headless in shop is headless: its clients dial the pods themselves"),
        ("svc/out.shop", "Service out in shop is an ExternalName: it has no address of its own"),
        ("svc/draft.shop", "Service draft in shop shows no ClusterIP"),
        ("svc/none.shop", 'services "none" not found'),
        ("svc/Web", "'svc/Web' is not an IPv4 range"),
        ("kubernetes", "'kubernetes' is not an IPv4 range"),
    ],
)
def test_a_name_that_stands_for_nothing(word, said):
    with pytest.raises(FsmError) as caught:
        carry_out(Remote(meshconfig(), *SERVICES), "exclude-ip", word)
    assert said in caught.value.message


@pytest.mark.parametrize("word", ["example.com", "kubernetes-apii", "svc/", "fd00::/8", "10.0.0.0/33"])
def test_what_a_range_may_be_is_said(word):
    with pytest.raises(UsageError) as caught:
        carry_out(Remote(meshconfig(), *SERVICES), "exclude-ip", word)
    hint = "write an IPv4 range or address, svc/NAME[.NAMESPACE], kubernetes-api or cloud-metadata"
    assert caught.value.hint == hint


def test_what_is_taken_out_may_be_anything():
    held = ["$(reboot)1.1.1.1/32", "10.0.0.7/32", "192.0.2.1/32", "10.9.0.0/16"]
    cluster = Remote(meshconfig(outboundIPRangeExclusionList=held), *SERVICES)
    report, _ = carry_out(cluster, "exclude-ip", "--remove", held[0], "svc/db.shop", "192.0.2.1")
    assert report.changes == [("outbound-ip", held, held[3:])]
