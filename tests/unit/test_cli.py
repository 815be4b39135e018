"""The whole program offline: argv in, exit code and text out."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kubectl_fsm import __version__, cli, commands, reports
from kubectl_fsm.arguments import Arguments
from kubectl_fsm.errors import FsmError
from kubectl_fsm.output.progress import Events

PROGRAM = Path(sys.executable).parent / "kubectl-fsm"
SHOP = str(Path(__file__).parents[2] / "examples" / "shop")


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the program in this process: (exit code, stdout, stderr)."""

    def run(*argv, stdin=""):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = cli.main(argv)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_help_lists_every_verb(run):
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for verb in commands.VERBS:
        assert re.search(rf"^  {verb} ", out, re.MULTILINE)
    assert run()[1] == out == run("-h")[1]


@pytest.mark.parametrize("verb", commands.VERBS)
def test_help_of_a_verb(run, verb):
    code, out, err = run(verb, "--help")
    assert (code, out, err) == (0, commands.load(verb).USAGE, "")
    assert run("help", verb)[1] == out
    assert all(len(line) <= 120 for line in out.splitlines())


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["rule"], "unknown verb 'rule'\ndid you mean rules?"),
        (["xyzzy"], "unknown verb 'xyzzy'\nsee kubectl fsm --help"),
        (["rules", "--selctor=x"], "unknown option --selctor\ndid you mean --selector?"),
        (["--bogus"], "unknown option --bogus\nsee --help"),
        (["check", "--only=xyzzy", "-f", SHOP], "--only: there is no check 'xyzzy'\nsee check --list"),
        (
            ["check", "--skip=init-faild", "-f", SHOP],
            "--skip: there is no check 'init-faild'\ndid you mean init-failed?",
        ),
        (["version", "extra"], "version takes options only, not 'extra'\nkubectl fsm version [options]"),
        (["trace"], "trace needs FROM and TO\nkubectl fsm trace [options] [--] FROM TO"),
        (["trace", "deploy/web"], "trace takes FROM and TO, not 'deploy/web'\n"),
        (["trace", "web", "svc/api", "8080"], "trace takes FROM and TO, not 'web', 'svc/api', '8080'\n"),
        (["completion"], "completion needs install or print\n"),
        (["completion", "bash"], "completion takes install or print, not 'bash'\n"),
        (
            ["rules", "-o", "jsn", "-f", SHOP],
            "--output takes wide, json, yaml, name, iptables, mermaid, not 'jsn'\ndid you mean json?",
        ),
        (["rules", "web", "-l", "app=web", "-f", SHOP], "exclude each other"),
        (["rules", "web", "-A", "-f", SHOP], "needs its namespace"),
        (["rules", "a/b/c", "-f", SHOP], "'a/b/c' is not a target"),
        (["rules", "-v", "loud", "-f", SHOP], "-v takes a number, not 'loud'"),
        (["exclusions", "--export=toml", "-f", SHOP], "--export takes helm-set, values, patch"),
    ],
)
def test_usage_errors(run, argv, said):
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["rules", "deploy/web", "-n", "prod"], '"web" not found in files {}\nit is in namespace shop\n'),
        (["rules", "deploy/nope", "-n", "shop"], '"nope" not found in files {}\n'),
        (["trace", "deploy/web", "svc/redis.prod:6379"], '"redis" not found in files {}\nit is in namespace shop\n'),
    ],
)
def test_an_object_of_another_namespace_is_named_where_it_is(run, argv, said):
    assert run(*argv, "-f", SHOP)[2].endswith(said.format(SHOP))


def test_a_traceback_only_when_asked_for(run):
    assert "Traceback" not in run("rules", "nope", "-f", SHOP)[2]
    assert "Traceback" in run("rules", "nope", "-f", SHOP, "-v=8")[2]


def test_version_of_the_client(run):
    assert run("version", "--client")[1] == f"Client: {__version__}\n"
    assert json.loads(run("version", "--client", "-o", "json")[1]) == {
        "apiVersion": "kubectl-fsm/v1",
        "kind": "Version",
        "client": __version__,
    }


def test_rules_of_manifests(run):
    code, out, err = run("rules", "-f", SHOP, "-o", "json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert (report["apiVersion"], report["kind"]) == ("kubectl-fsm/v1", "Rules")
    found = {item["workload"]: item for item in report["items"]}
    assert set(found) == {"cj/report", "deploy/api", "deploy/web", "sts/redis"}
    web = found["deploy/web"]
    assert (web["pod"], web["state"], web["injector"]) == (None, "template", "fsm-1.5")
    assert [(entry["list"], entry["value"], entry["sources"]) for entry in web["exclusions"]] == [
        ("outbound-port", "6379", ["MeshConfig"]),
        ("inbound-port", "9090", ["deploy/web template"]),
        ("outbound-ip", "169.254.169.254/32", ["MeshConfig"]),
    ]
    assert yaml.safe_load(run("rules", "-f", SHOP, "-o", "yaml")[1]) == report
    assert run("rules", "-f", SHOP, "-o", "name")[1] == "cj/report\ndeploy/api\ndeploy/web\nsts/redis\n"


def test_the_script_is_exact(run):
    out = run("rules", "deploy/web", "-n", "shop", "-f", SHOP, "-o", "iptables")[1]
    assert out.startswith("iptables-restore --noflush <<EOF\n# FSM sidecar interception rules\n*nat\n")
    assert "-I FSM_PROXY_INBOUND -p tcp --match multiport --dports 9090 -j RETURN\n" in out
    assert out.endswith("COMMIT\nEOF\n")


def test_the_table(run):
    out = run("rules", "deploy/web", "-n", "shop", "-f", SHOP)[1].splitlines()
    assert out[0] == "deploy/web · mesh fsm (fsm-system) · next pod"
    assert out[1].split() == ["LIST", "VALUE", "STATE", "SOURCE"]
    assert out[2].split() == ["outbound-port", "6379", "pending", "MeshConfig"]
    outbound = next(index for index, line in enumerate(out) if line.startswith("OUTBOUND"))
    assert out[outbound + 1].split(maxsplit=1)[1].startswith("lo, not 127.0.0.1, uid 1500  sidecar inbound")
    wide = run("rules", "deploy/web", "-n", "shop", "-f", SHOP, "-o", "wide")[1]
    assert "-A FSM_PROXY_OUT_REDIRECT -p tcp --dport 15000 -j ACCEPT" in wide


def test_an_edit_of_manifests_changes_one_value(run):
    code, out, err = run("exclude-port", "8081", "--workload=deploy/web", "-n", "shop", "--local", "-f", SHOP)
    assert code == 0
    before = (Path(SHOP) / "web.yaml").read_text().splitlines()
    added = [line for line in out.splitlines() if line not in before]
    assert added == ['        flomesh.io/outbound-port-exclusion-list: "8081"']
    assert [line for line in out.splitlines() if line not in added] == before
    assert "outbound-port: [] → [8081]" in err
    assert (Path(SHOP) / "web.yaml").read_text().splitlines() == before


def test_an_edit_of_a_meshconfig_on_stdin(run):
    text = (Path(SHOP) / "mesh.yaml").read_text()
    code, out, err = run("exclude-port", "7070", "--local", "-f", "-", stdin=text)
    assert code == 0, err
    assert out == text.replace("[6379]   # redis", "[6379, 7070]   # redis")
    assert run("exclude-port", "6379", "--local", "-f", "-", stdin=text)[1] == text, "unchanged, and printed"


def test_export(run):
    out = run("exclusions", "-f", SHOP, "--export=helm-set")
    assert out[1].splitlines()[0] == "'--set=fsm.outboundPortExclusionList={6379}'"
    assert "new installations" in out[2]
    assert yaml.safe_load(run("exclusions", "-f", SHOP, "--export=values")[1])["fsm"]["outboundPortExclusionList"] == [
        6379
    ]
    patch = yaml.safe_load(run("exclusions", "-f", SHOP, "--export=patch")[1])
    assert patch["spec"]["traffic"]["outboundIPRangeExclusionList"] == ["169.254.169.254/32"]


def test_stdout_that_is_closed_early():
    reader = subprocess.Popen([PROGRAM, "rules", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    reader.stdout.close()
    reader.wait(30)
    assert reader.stderr.read() == b""
    reader.stderr.close()


@pytest.mark.parametrize("argv", [["--help"], ["rules", "-f", SHOP], ["rules", "-f", SHOP, "-o", "iptables"]])
def test_stdout_without_room(argv):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([PROGRAM, *argv], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: cannot write the output: No space left on device\n")


def test_stderr_without_room():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([PROGRAM, "rule"], stdout=subprocess.PIPE, stderr=full, check=False)
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize(("closed", "argv", "code"), [("1", ["rules", "-f", SHOP], 0), ("2", ["rule"], 2)])
def test_a_stream_that_is_closed(closed, argv, code):
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}>&-', "sh", PROGRAM, *argv], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_nothing_from_a_file_reaches_the_terminal_raw(run, tmp_path):
    evil = "evil\x1b[31m\u202e\x9b2J"
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": evil, "namespace": evil},
        "spec": {
            "template": {
                "metadata": {"annotations": {"flomesh.io/outbound-ip-range-exclusion-list": evil}},
                "spec": {"containers": [{"name": evil, "image": evil}]},
            }
        },
    }
    path = tmp_path / "evil.json"
    path.write_text(json.dumps(manifest))
    for argv in (
        ["rules"],
        ["exclusions"],
        ["exclusions", "-o", "wide"],
        ["rules", "-o", "json"],
        ["rules", "-o", "yaml"],
        ["rules", "-o", "name"],
    ):
        code, out, err = run(*argv, "-f", str(path))
        assert code == 0, err
        assert "evil" in out + err
        for unsafe in ("\x1b", "\u202e", "\x9b"):
            assert unsafe not in out + err, argv


def test_events_without_room():
    """A restart tells its events on stdout as they come."""

    def work():
        yield reports.Turn("deploy/web", "shop", "begun", "deploy/web in shop begins")

    with Path("/dev/full").open("w") as full:
        streams = cli.Streams(io.StringIO(), full, io.StringIO())
        with pytest.raises(FsmError, match="cannot write the output: No space left on device") as caught:
            cli._drive(work(), Events(streams.say, full), Arguments({}), streams)
        assert caught.value.hint == "what was begun goes on by itself"
