"""Text from a cluster or a file, made safe to show: what a terminal would act on is written out instead."""


def visible(text: str) -> str:
    """One line of text without controls, marks that turn or hide text, and all else that Unicode has no shape for."""
    return text if text.isprintable() else text.translate(_LINE)


def visible_text(text: str) -> str:
    """As `visible`, but line breaks and tabs stay."""
    return text if text.isprintable() else text.translate(_TEXT)


class _Shown:
    """What is shown for a character, as `str.translate` asks for it: a text of any length takes no more than it needs."""

    def __init__(self, kept: str = "") -> None:
        self._kept = kept

    def __getitem__(self, code: int) -> str:
        char = chr(code)
        return char if char.isprintable() or char in self._kept else char.encode("unicode_escape").decode()


_LINE, _TEXT = _Shown(), _Shown("\n\t")
