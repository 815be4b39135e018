"""The words that may stand at the cursor of a shell, as `kubectl __complete` asks a plugin for them.

kubectl runs `kubectl_complete-fsm` with the words after `kubectl fsm`, the last of them unfinished. The answer is a line for
each word, what it is after a tab, and a last line `:N` with the directives of Cobra, kubectl's own library:
https://github.com/spf13/cobra/blob/main/site/content/completions/_index.md .
"""

from collections.abc import Sequence
from typing import NamedTuple

from kubectl_fsm.completion.candidates import Candidate, Door, fitting
from kubectl_fsm.completion.cursor import find

__all__ = ["Answer", "Candidate", "Door", "answer"]

NO_FILES = 4
"""The directive by which the shell offers no files of its own."""
PATHS = {"FILE": 0, "FOLDER": 16}
"""Directives where the shell has to offer its own files or folders."""


class Answer(NamedTuple):
    """The words that may stand at the cursor, and what the shell is to do."""

    candidates: Sequence[Candidate] = ()
    directive: int = NO_FILES

    def __str__(self) -> str:
        lines = ["\t".join(filter(None, one)) for one in self.candidates]
        return "".join(f"{line}\n" for line in [*lines, f":{self.directive}"])


def answer(words: Sequence[str], top: str, door: Door) -> Answer:
    """What may stand in the place of the last word; `top` is the usage text above the verbs'. Raises `UsageError`."""
    cursor = find(words, top)
    if cursor.wanted in PATHS:
        return Answer(directive=PATHS[cursor.wanted])
    return Answer(list(dict.fromkeys(fitting(cursor, door))))
