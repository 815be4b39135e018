"""The bundle, built and unpacked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import give_up
from tests.support import bundle


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in an unpacked bundle, beside whose folder the archive lies. Skipped where none can be built."""
    if lacking := bundle.missing():
        give_up(f"no bundle: {', '.join(lacking)} not found; as root `make packages` installs them")
    return bundle.unpack(tmp_path_factory.mktemp("bundle"))
