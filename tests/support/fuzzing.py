"""How many examples the fuzzers of input try, and where chance begins: `make fuzz-input N=… SEED=…`.

In an ordinary run they are few and the same each time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("KUBECTL_FSM_EXAMPLES", "1500"))
"""In all; each fuzzer tries its share."""
SEED = os.environ.get("KUBECTL_FSM_EXAMPLES_SEED", "")

Test = TypeVar("Test", bound=Callable[..., None])

NASTY = (
    *(
        "",
        " ",
        "x",
        "\x1b[2J\x1b]0;owned\x07",
        "\u202eevil\u2066",
        "a\nb",
        "\r",
        "\x9b2J",
        "\x85\u2028",
        "\ufeff\ufffe",
    ),
    *(
        "\U0001f680",
        "é",
        "\u0661\u0662",
        "\uff18\uff10",
        "\u200b",
        "\x7f",
        "../../etc/passwd",
        "a/b/c",
        "-",
        "--",
        "-o",
    ),
    *("$(reboot)", "`id`", "; rm -rf /", "a && b", "| sh", "> /etc/passwd", "EOF", "'", '"', "\\", "{{ .Values.x }}"),
    *("yes", "null", "~", "0x10", "1e3", "007", "-1", "0", "65536", "9" * 30, "10.0.0.0/8", "::/0", "%s%n", "x" * 300),
)
"""Texts that something somewhere may take for more than a text."""
TEXTS = st.sampled_from(NASTY) | st.text(max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70000) | st.sampled_from([10**30, -(10**30), 2.5, 1e300, -0.0]) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.sampled_from(["name", "kind", "items"]), inner, max_size=3)
    ),
    max_leaves=4,
)
"""Anything that JSON can hold."""


def fuzzing(share: float) -> Callable[[Test], Test]:
    """Makes a hypothesis test a fuzzer that tries this share of all examples."""
    limits = settings(
        max_examples=max(10, int(EXAMPLES * share)),
        deadline=None,
        database=None,
        derandomize=not SEED,
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: limits(seed(int(SEED))(test) if SEED else test)
