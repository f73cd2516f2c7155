"""Logs say what they are about, and nothing that is secret."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.logs import JsonLines, about, redacted, set_up_logs, what_about

TOKEN = "pt_0123456789abcdef_AbC-_" + "x" * 38
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where logs go during a test; pytest's own handlers stay."""
    root, written = logging.getLogger(), io.StringIO()
    handlers, level = list(root.handlers), root.level
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    """What was logged, as JSON."""
    set_up_logs(True, stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_who_what_and_about_which_trial(lines: Lines) -> None:
    with about(job="night-1", trial=7), about(request="r1"):
        logging.getLogger("paretrack.queue").info("%s taken", "lease", extra={"seconds": 0.5})
    (line,) = lines()
    assert datetime.fromisoformat(line.pop("time")).tzinfo == UTC
    assert line == {
        "level": "INFO",
        "logger": "paretrack.queue",
        "message": "lease taken",
        "job": "night-1",
        "trial": 7,
        "request": "r1",
        "seconds": 0.5,
    }


def test_what_is_said_ends_with_its_block_and_nests() -> None:
    with about(job="a"):
        with about(job="b", trial=0):
            assert what_about() == {"job": "b", "trial": 0}
        assert what_about() == {"job": "a"}
    assert what_about() == {}


def test_an_exception_is_text_in_the_same_line(lines: Lines) -> None:
    try:
        raise ValueError(f"no such token {TOKEN}")
    except ValueError:
        logging.getLogger("paretrack").exception("broken")
    (line,) = lines()
    assert "Traceback" in line["exception"]
    assert "ValueError: no such token pt_0123456789abcdef_***" in line["exception"]


def test_whatever_is_logged_a_line_is_json() -> None:
    """Formatted, not logged: what captures logs elsewhere cannot carry half a character."""
    record = logging.makeLogRecord(
        {
            "msg": "half \ud800 and\nnew line",
            "number": float("nan"),
            "thing": object(),
            "nested": {1: [float("inf"), b"x", {"a"}]},
        }
    )
    text = JsonLines().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert line["message"] == "half \ud800 and\nnew line"
    assert line["number"] == "nan"
    assert line["nested"]["1"][:2] == ["inf", "b'x'"]


def test_a_fact_cannot_take_the_place_of_the_message(lines: Lines) -> None:
    logging.getLogger("paretrack").info("true", extra={"level": "DEBUG", "logger": "other"})
    (line,) = lines()
    assert (line["level"], line["logger"]) == ("INFO", "paretrack")


def test_for_people_a_line_is_a_line_and_a_terminal_obeys_nothing(stream: io.StringIO) -> None:
    set_up_logs(False, stream=stream)
    with about(job="night-1"):
        logging.getLogger("paretrack").info("forged\n2026 \x1b[31mred", extra={"by": "a\nb"})
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("forged\\n2026 \\x1b[31mred [job=night-1 by=a\\nb]")
    assert " INFO paretrack: " in line


def test_for_people_a_traceback_stands_below_its_line(stream: io.StringIO) -> None:
    set_up_logs(False, stream=stream)
    try:
        raise KeyError("gone")
    except KeyError:
        logging.getLogger("paretrack").exception("broken")
    first, second, *_, last = stream.getvalue().splitlines()
    assert first.endswith("ERROR paretrack: broken")
    assert (second, last) == ("Traceback (most recent call last):", "KeyError: 'gone'")


def test_setting_up_twice_does_not_say_everything_twice(stream: io.StringIO) -> None:
    for _ in range(2):
        set_up_logs(True, stream=stream)
    logging.getLogger("paretrack").info("once")
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (f"got {TOKEN}.", "got pt_0123456789abcdef_***."),
        (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer ***"),
        ("authorization=Basic aHVudGVyMg==, next", "authorization=Basic ***, next"),
        ("{'Authorization': 'Bearer abc'}", "{'Authorization': 'Bearer ***'}"),
        ('{\\"authorization\\": \\"abc\\"}', '{\\"authorization\\": \\"***\\"}'),
        ("(b'authorization', b'Bearer abc')", "(b'authorization', b'Bearer ***')"),
        ("Proxy-Authorization: Basic abc", "Proxy-Authorization: Basic ***"),
        ("Cookie: a=1; session=2\nHost: b", "Cookie: ***\nHost: b"),
        ("sent bearer abcdefghijklmnopqrst", "sent bearer ***"),
        ("postgresql://ann:p@ss@db/x", "postgresql://ann:***@db/x"),
        ("redis://:hunter2@db:6379", "redis://:***@db:6379"),
        ("host=db password=hunter2 user=ann", "host=db password=*** user=ann"),
        ("https://x/?token=abc&b=1", "https://x/?token=***&b=1"),
    ],
)
def test_secrets_are_taken_out(said: str, kept: str) -> None:
    assert redacted(said) == kept


@pytest.mark.parametrize(
    "harmless",
    [
        "authorization is needed for this",
        "http://localhost:8000/jobs?next=ann@example.com",
        "the bearer of this token",
        "pt_ is how tokens begin",
        "job night-0123456789 took 3 s",
    ],
)
def test_what_is_no_secret_stays(harmless: str) -> None:
    assert redacted(harmless) == harmless


def test_secrets_are_taken_out_of_every_part_of_a_record(lines: Lines) -> None:
    logging.getLogger("paretrack").info(
        "%s from %s",
        TOKEN,
        "https://ann:hunter2@example.com",
        extra={
            "headers": {"Authorization": "hunter2", "X": [TOKEN]},
            "secret": "hunter2",
            "note": f"pasted {TOKEN}",
        },
        stack_info=True,
    )
    (line,) = lines()
    assert "hunter2" not in json.dumps(line)
    assert "xxxx" not in json.dumps(line)
    assert line["headers"] == {"Authorization": "***", "X": ["pt_0123456789abcdef_***"]}


@settings(deadline=None)
@given(st.text(), st.text("abcXYZ019_-", min_size=8), st.text())
def test_no_token_survives_wherever_it_stands(before: str, secret: str, after: str) -> None:
    said = redacted(f"{before}pt_0123abcd_{secret} {after}")
    assert f"pt_0123abcd_{secret}" not in said


@settings(deadline=None)
@given(st.sampled_from(["://", "a:", "cookie: ", "bearer ", "pt_a_", "\\", '"']), st.integers(1, 9))
def test_redaction_of_hostile_text_ends(part: str, times: int) -> None:
    assert redacted(part * times * 2000) is not None
