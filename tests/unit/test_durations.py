"""Lengths of time as options take them."""

import pytest

from kubectl_fsm import durations
from kubectl_fsm.durations import seconds
from kubectl_fsm.errors import UsageError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0", 0),
        ("0s", 0),
        ("5", 5),
        ("90", 90),
        ("90s", 90),
        ("1m30s", 90),
        ("1m", 60),
        ("1.5m", 90),
        (".5s", 0.5),
        ("5.s", 5),
        ("1h", 3600),
        ("1h1m1s", 3661),
        ("1m1m", 120),
        ("250ms", 0.25),
        ("2us", 2e-6),
        ("2µs", 2e-6),
        ("3ns", 3e-9),
        ("1s500ms", 1.5),
        ("24h", 86400),
        ("86400", 86400),
        ("007", 7),
    ],
)
def test_what_a_duration_means(text, found):
    assert seconds("--timeout", text) == pytest.approx(found)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "s", ".", ".s", "5 s", " 5s", "5s ", "5S", "5M", "-1", "-1s", "+1s", "1.5", "1,5s", "1e3s", "1d", "1w",
        "m30s", "1m30", "30sec", "soon", "inf", "nan", "0x10", "1..5s", "1.2.3s", "½", "²", "1\n",
        "٣", "٣s",
    ],
)  # fmt: skip
@pytest.mark.parametrize("option", ["--timeout", "--request-timeout"])
def test_what_is_no_duration_names_the_option_and_what_to_write(option, text):
    with pytest.raises(UsageError) as caught:
        seconds(option, text)
    assert caught.value.exit_code == 2
    assert caught.value.message == f"{option}={text}: not a duration"
    assert caught.value.hint == "write 30 or 30s, 2m, 1h; 0 for no limit"


@pytest.mark.parametrize("text", ["24h1ns", "86401", "25h", "9" * 30])
def test_more_than_a_day_is_no_limit_that_anybody_means(text):
    with pytest.raises(UsageError, match=f"^--timeout={text}: more than a day$"):
        seconds("--timeout", text)


@pytest.mark.parametrize(
    ("length", "said"),
    [(0, "0s"), (0.4, "0s"), (0.6, "1s"), (45, "45s"), (59.7, "1m"), (60, "1m"), (61, "1m1s"), (600, "10m"), (3600, "1h"), (3601, "1h1s"), (5400, "1h30m"), (86400, "24h")],
)  # fmt: skip
def test_how_a_length_of_time_is_written(length, said):
    assert durations.text(length) == said
    assert seconds("--bake", said) == round(length), "and it is read back"
