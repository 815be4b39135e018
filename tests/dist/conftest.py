"""The bundle, built and unpacked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import NO_BUNDLE
from tests.support import bundle


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in an unpacked bundle, beside whose folder the archive lies. Skipped where none can be built."""
    if lacking := bundle.missing():
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(f"{NO_BUNDLE}: {', '.join(lacking)} not found; as root `make packages` installs them")
    return bundle.unpack(tmp_path_factory.mktemp("bundle"))
