"""The page of checks is that of today's catalogue."""

from docs.generate import PAGE, page
from kubectl_fsm.checks.catalogue import CHECKS


def test_the_page_of_checks_is_up_to_date():
    text = PAGE.read_text()
    assert text == page(text), "docs/checks.md is not what the catalogue says: make docs"


def test_every_check_has_its_section_and_an_example():
    sections = {part.partition("\n")[0]: part for part in PAGE.read_text().split("\n### ")[1:]}
    assert list(sections) == [*CHECKS, "unreadable"]
    for identity, check in CHECKS.items():
        assert f"| [{identity}](#{identity}) | {check.severity} |" in PAGE.read_text()
        assert check.remote or f"{check.severity:7}  {identity}: " in sections[identity]
