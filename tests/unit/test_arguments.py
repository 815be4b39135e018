"""argv -> words, as a table."""

import re
import shlex

import pytest
from docopt import docopt

from kubectl_fsm import commands
from kubectl_fsm.arguments import Arguments, nearest, order, split_verb
from kubectl_fsm.commands.options import general
from kubectl_fsm.errors import UsageError
from kubectl_fsm.usage import options, read

USAGE = f"""Try.

Usage:
  kubectl fsm try [options] [--] [WORD...]

Options:
      --yes                        a flag
  -f, --filename=FILE              a file (repeatable)
      --dry-run=MODE               client or server (alone: client)
{general()}"""
KNOWN = options(USAGE)


@pytest.mark.parametrize(
    ("argv", "values", "positionals"),
    [
        ([], {}, []),
        (["web"], {}, ["web"]),
        (["-n", "shop", "web"], {"--namespace": ["shop"]}, ["web"]),
        (["web", "-n=shop"], {"--namespace": ["shop"]}, ["web"]),
        (["-nshop"], {"--namespace": ["shop"]}, []),
        (["--namespace=shop"], {"--namespace": ["shop"]}, []),
        (["--namespace", "shop"], {"--namespace": ["shop"]}, []),
        (["-n", "a", "-n", "b"], {"--namespace": ["b"]}, []),
        (["-o=yaml"], {"--output": ["yaml"]}, []),
        (["-oyaml"], {"--output": ["yaml"]}, []),
        (["-A"], {"--all-namespaces": []}, []),
        (["-Aojson"], {"--all-namespaces": [], "--output": ["json"]}, []),
        (["--yes=true"], {"--yes": []}, []),
        (["--yes", "--yes=false"], {}, []),
        (["-f", "a", "--filename=b"], {"--filename": ["a", "b"]}, []),
        (["-f", "-"], {"--filename": ["-"]}, []),
        (["--dry-run"], {"--dry-run": ["client"]}, []),
        (["--dry-run", "server"], {"--dry-run": ["client"]}, ["server"]),
        (["--dry-run=server"], {"--dry-run": ["server"]}, []),
        (["--", "-n", "--yes"], {}, ["-n", "--yes"]),
        (["-v", "8"], {"--v": ["8"]}, []),
        (["-v=8"], {"--v": ["8"]}, []),
        (["--v=8"], {"--v": ["8"]}, []),
        (["-"], {}, ["-"]),
    ],
)
def test_words_in_order(argv, values, positionals):
    words = order(argv, KNOWN)
    assert (words.values, words.positionals) == (values, positionals)
    parsed = Arguments(docopt(USAGE, ["fsm", "try", *words.canonical()], default_help=False))
    assert list(parsed.words("WORD")) == positionals
    for name, given in values.items():
        assert list(parsed.many(name)) == given if given else parsed.flag(name)


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["--namespce=x"], "unknown option --namespce", "did you mean --namespace?"),
        (["--name=x"], "unknown option --name", "did you mean --namespace?"),
        (["--output"], "--output needs a value", ""),
        (["-n"], "-n needs a value", ""),
        (["-n="], "--namespace needs a value", ""),
        (["--yes=maybe"], "--yes is true or false, not 'maybe'", ""),
        (["-x"], "unknown option -x", ""),
        (["-Ax"], "unknown option -x", ""),
        (["-f", "a\nb"], "a line break is no part of a value", ""),
    ],
)
def test_bad_words(argv, message, hint):
    with pytest.raises(UsageError) as caught:
        order(argv, KNOWN)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("restrat", commands.VERBS, "did you mean restart?"),
        ("chekc", commands.VERBS, "did you mean check?"),
        ("RULES", commands.VERBS, "did you mean rules?"),
        ("exclude", commands.VERBS, "did you mean exclude-port, exclude-ip, exclude-interface?"),
        ("options", commands.VERBS, ""),
        ("ex", commands.VERBS, ""),
        ("--dryrun", ["--dry-run", "--diff"], "did you mean --dry-run?"),
        ("--out", ["--outbound", "--output", "--all"], "did you mean --outbound, --output?"),
        ("--bogus", ["--inbound", "--user"], ""),
        ("--delete", ["--selector", "--remove"], ""),
        ("--quiet", ["--user"], ""),
        ("-x", ["--context"], ""),
        ("-", ["--context"], ""),
    ],
)
def test_what_is_meant_instead(word, known, said):
    assert nearest(word, [*known]) == said


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        ([], ([], "", ())),
        (["rules", "web"], ([], "rules", ["web"])),
        (["-n", "shop", "rules", "web"], (["--namespace=shop"], "rules", ["web"])),
        (["-n=shop", "-A", "rules"], (["--namespace=shop", "--all-namespaces=true"], "rules", [])),
        (["--context", "prod", "rules", "-A"], (["--context=prod"], "rules", ["-A"])),
        (["-Ao", "json", "rules"], (["--all-namespaces=true", "--output=json"], "rules", [])),
        (["--", "rules", "-A"], ([], "rules", ["-A"])),
        (["--help"], (["--help=true"], "", ())),
    ],
)
def test_the_verb_and_what_stands_before_it(argv, parts):
    before, verb, after = split_verb(argv, KNOWN)
    assert (list(before), verb, list(after)) == (list(parts[0]), parts[1], list(parts[2]))


@pytest.mark.parametrize("verb", commands.VERBS)
def test_every_usage_text_is_its_own_grammar(verb):
    usage = commands.load(verb).USAGE
    known = options(usage)
    text = read(usage)
    needed = [name.split("|")[0] for name in text.arguments if f"[{name}" not in text.synopsis]
    for option in set(known.values()):
        words = order([f"{option.name}=x" if option.takes_value else option.name, *needed], known).canonical()
        parsed = docopt(usage, ["fsm", verb, *words], default_help=False)
        assert parsed[option.name], option.name
    assert text.examples
    lines = usage.partition("\nExamples:\n")[2].partition("\n\n")[0].splitlines()
    for example, line in zip(text.examples, lines, strict=True):
        copied = shlex.shlex(line, posix=True, punctuation_chars=True)  # takes remarks for what they are to a shell
        assert list(copied) == list(shlex.shlex(example.command, posix=True, punctuation_chars=True))
        assert "  " not in example.command
        words = re.split(r" [>|] ", example.command)[0].split()
        assert words[:3] == ["kubectl", "fsm", verb]
        order(words[3:], known)
