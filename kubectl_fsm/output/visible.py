"""Text from a cluster or a file, made safe to show: what a terminal would act on is written out instead."""


def visible(text: str) -> str:
    """One line of text without controls, marks that turn or hide text, and all else that Unicode has no shape for."""
    return text if text.isprintable() else "".join(map(_shown, text))


def visible_text(text: str) -> str:
    """As `visible`, but line breaks and tabs stay."""
    return text if text.isprintable() else "".join(char if char in "\n\t" else _shown(char) for char in text)


def _shown(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()
