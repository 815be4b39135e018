"""commands.md: each verb with its options, from the usage texts that docopt reads."""

from collections.abc import Iterable, Iterator, Sequence

from kubectl_fsm import cli, commands
from kubectl_fsm.usage import Option, Usage, read

GLOBAL = "Global options"
_HEAD = """# Commands

<!-- Written by `make docs` from the usage texts of the verbs. -->

| verb | does |
| --- | --- |
"""


def page(_: str) -> str:
    """The whole page; nothing of what is there counts."""
    verbs = {verb: read(commands.load(verb).USAGE) for verb in commands.VERBS}
    rows = [f"| [{verb}](#{verb}) | {text} |" for verb, text in commands.VERBS.items()]
    shared = read(cli.usage()).sections[GLOBAL]
    parts = [part for verb, usage in verbs.items() for part in _verb(verb, usage)]
    return "\n\n".join([_HEAD + "\n".join(rows), *parts, f"## {GLOBAL}", "Every verb has them.", _table(shared)]) + "\n"


def _verb(verb: str, usage: Usage) -> Iterator[str]:
    yield f"## {verb}"
    yield _text(usage.description)
    yield f"```text\n{usage.synopsis}\n```"
    width = max(len(example.command) for example in usage.examples)
    lines = [
        f"{example.command:{width}}  # {example.text}" if example.text else example.command
        for example in usage.examples
    ]
    yield "```sh\n" + "\n".join(lines) + "\n```"
    for title, options in usage.sections.items():
        if title != GLOBAL:
            yield f"### {title} of {verb}"
            yield _table(options)
    yield f"Output formats (`-o`): {', '.join(commands.load(verb).FORMATS)}."
    if usage.notes:
        yield _text(usage.notes)


def _table(options: Iterable[Option]) -> str:
    rows = [f"| {', '.join(_names(option))} | {_text(option.text)} |" for option in options]
    return "\n".join(["| option | meaning |", "| --- | --- |", *rows])


def _names(option: Option) -> Sequence[str]:
    value = f"={option.value}" if option.value else ""
    return [f"`{option.short}`"] * bool(option.short) + [f"`{option.name}{value}`".replace("|", "\\|")]


def _text(text: str) -> str:
    """As Markdown takes it: nothing but plain words."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("[", "\\[")
