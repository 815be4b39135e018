"""After a conflict everything is read and checked again, also what another object says."""

import io

import pytest
import yaml

from kubectl_fsm import commands
from kubectl_fsm.arguments import order
from kubectl_fsm.cli import _match
from kubectl_fsm.cluster import manifests
from kubectl_fsm.errors import ApiError, Conflict, Forbidden, Refused, Unanswered, Unreachable
from kubectl_fsm.operations import edit
from kubectl_fsm.reports import EditReport
from kubectl_fsm.usage import options
from tests.unit.test_guards_offline import NAMESPACE, OUT, deployment, meshconfig


class Racing:
    """Manifests in which somebody else is faster `times` times: the patch conflicts, and `first` has happened."""

    def __init__(self, objects, first, times=1):
        text = yaml.safe_dump_all(objects).encode()
        self.files = manifests.read(["-"], None, io.BytesIO(text))
        self.first, self.times = first, times

    def __getattr__(self, name):
        return getattr(self.files, name)

    def patch(self, *args, **kwargs):
        if self.times:
            self.times -= 1
            self.first(self.files)
            raise Conflict(409, "Conflict", "somebody was faster")
        return self.files.patch(*args, **kwargs)


def edited(cluster, *argv) -> EditReport:
    verb, *words = argv
    module = commands.load(verb)
    canonical = order([*words, "--local", "-f", "-"], options(module.USAGE)).canonical()
    work = module.parse(_match(verb, module.USAGE, canonical)).run(lambda: cluster)
    try:
        while True:
            next(work)
    except StopIteration as end:
        return end.value


def global_ports(files):
    resource = files.resource_named("meshconfig")
    return resource, files.get(resource, "fsm-mesh-config", "fsm-system")["spec"]["traffic"][
        "outboundPortExclusionList"
    ]


def add_to_meshconfig(*ports):
    def add(files):
        resource, held = global_ports(files)
        merge = {"spec": {"traffic": {"outboundPortExclusionList": [*held, *ports]}}}
        files.patch(resource, "fsm-mesh-config", "fsm-system", merge)

    return add


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(edit, "_FIRST_PAUSE", 0.001)


def test_the_other_entry_is_kept():
    cluster = Racing([meshconfig()], add_to_meshconfig(7070))
    report = edited(cluster, "exclude-port", "6379")
    assert (report.changes[0].before, report.changes[0].after) == (["7070"], ["7070", "6379"])
    assert global_ports(cluster.files)[1] == [7070, 6379]


def test_the_limit_is_checked_again():
    cluster = Racing([meshconfig()], add_to_meshconfig(*range(1, 16)))
    with pytest.raises(Refused, match=r"16 outbound ports"):
        edited(cluster, "exclude-port", "6379")
    assert global_ports(cluster.files)[1] == list(range(1, 16))


def test_what_another_object_says_by_then_counts():
    objects = [meshconfig(), NAMESPACE, deployment(annotations={OUT: "1,2,3"})]
    cluster = Racing(objects, add_to_meshconfig(*range(100, 112)))
    with pytest.raises(Refused, match=r"16 outbound ports"):
        edited(cluster, "exclude-port", "80", "--workload=deploy/web")


def test_a_conflict_that_never_ends_is_an_error(monkeypatch):
    monkeypatch.setattr(edit, "_PATIENCE", 0.01)
    cluster = Racing([meshconfig()], lambda _: None, times=1_000_000)
    with pytest.raises(Conflict):
        edited(cluster, "exclude-port", "6379")


class Failing(Racing):
    """Manifests as a cluster whose first patch fails with `error`."""

    remote = True

    def __init__(self, objects, error):
        super().__init__(objects, lambda _: None)
        self.error = error

    def patch(self, *args, **kwargs):
        raise self.error


UNKNOWN = "the edit may have been carried out, or not"


@pytest.mark.parametrize(
    ("error", "unknown"),
    [
        (Unanswered("closed", "try again"), True),
        (Unreachable("refused", "try again"), False),
        (ApiError(500, "InternalError", "etcd: timed out", "try again"), True),
        (ApiError(504, "Timeout", "too late", "try again"), True),
        (ApiError(429, "TooManyRequests", "busy", "try again"), False),
        (Forbidden(403, "Forbidden", "no", "try again"), False),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_write_whose_end_is_not_known(error, unknown, dry_run):
    """It is said, with what to do; of a dry run nothing is ever carried out."""
    unknown = unknown and not dry_run
    words = ["--dry-run=server"] if dry_run else []
    with pytest.raises(type(error)) as raised:
        edited(Failing([meshconfig()], error), "exclude-port", "6379", *words)
    assert raised.value.message == (f"{error.message}; {UNKNOWN}" if unknown else error.message)
    assert raised.value.hint.startswith("repeat the command: that is safe" if unknown else "try again")
