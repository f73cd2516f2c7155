"""What the service writes about itself: one line per record, with the request, job and trial it
belongs to, and without secrets.

Whoever logs may add facts: ``logger.info("started", extra={"seconds": 0.2})``. Facts stand beside
the message in JSON, and behind it in plain text.
"""

import json
import logging
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TextIO

_ABOUT: ContextVar[Mapping[str, str | int]] = ContextVar(
    "paretrack_about",
    default=MappingProxyType({}),
)
# ``color_message`` is uvicorn's: the message once more, for a terminal.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "about", "color_message"}
_HIDDEN = "***"

# What is kept of a secret is the part before it: enough to see what it was.
_SECRETS = (
    re.compile(r"(pt_[A-Za-z0-9]+_)[A-Za-z0-9_-]{8,}"),
    re.compile(
        r"(authorization(?:\\?[\"']\s{0,2}[:=,]|\s{0,2}[:=])\s{0,2}(?:b?\\?[\"'])?"
        r"(?:(?:bearer|basic|digest|token)\s+)?)[^\s\"',\\]+",
        re.IGNORECASE,
    ),
    re.compile(
        r"(cookie(?:\\?[\"']\s{0,2}[:=,]|\s{0,2}[:=])\s{0,2}(?:b?\\?[\"'])?)[^\"'\r\n\\]+",
        re.IGNORECASE,
    ),
    re.compile(r"(\bbearer\s+)[A-Za-z0-9._~+/=-]{16,}", re.IGNORECASE),
    re.compile(r"((?<=://)[^\s:/@?#\"']*+:)[^\s/\"'<>]+(?=@)"),
    re.compile(
        r"(\b(?:password|passwd|secret|token|api_?key|signature)=)[^\s&\"',;]+", re.IGNORECASE
    ),
)
_SECRET_NAMES = re.compile(r"authorization|cookie|password|secret|api_?key", re.IGNORECASE)


@contextmanager
def about(
    *, request: str | None = None, job: str | None = None, trial: int | None = None
) -> Iterator[None]:
    """Everything that is logged inside says which request, job or trial it is about."""
    said = {"request": request, "job": job, "trial": trial}
    known = {name: what for name, what in said.items() if what is not None}
    before = _ABOUT.set(MappingProxyType({**_ABOUT.get(), **known}))
    try:
        yield
    finally:
        _ABOUT.reset(before)


def what_about() -> Mapping[str, str | int]:
    """The request, job and trial that are worked on here, as far as they are known."""
    return _ABOUT.get()


def redacted(text: str) -> str:
    """The text without tokens, Authorization headers, cookies and passwords of URLs."""
    for secret in _SECRETS:
        text = secret.sub(rf"\g<1>{_HIDDEN}", text)
    return text


def without_secrets(facts: Mapping[Any, Any]) -> dict[str, Any]:
    """The same facts; a value whose name or look says that it is secret is hidden."""
    return {str(name): _hidden_if_secret(str(name), what) for name, what in facts.items()}


class Redaction(logging.Filter):
    """Takes secrets out of a record before anybody formats it, and notes what it is about."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redacted(record.exc_text)
        if record.stack_info:
            record.stack_info = redacted(record.stack_info)
        for name in _fact_names(record):
            setattr(record, name, _hidden_if_secret(name, getattr(record, name)))
        record.about = dict(what_about())
        return True


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _instant(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_about(record),
        }
        for name in _fact_names(record):
            line.setdefault(name, _plain(getattr(record, name)))
        trouble = _trouble(self, record)
        if trouble:
            line["exception"] = trouble
        return json.dumps(line, allow_nan=False)


class PlainLines(logging.Formatter):
    """A record for people: one line, and below it the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        facts = {**_about(record), **{n: getattr(record, n) for n in _fact_names(record)}}
        behind = " ".join(f"{name}={_printable(str(what))}" for name, what in facts.items())
        message = _printable(record.getMessage())
        line = f"{_instant(record)} {record.levelname} {record.name}: {message}"
        trouble = _trouble(self, record)
        return "\n".join(
            part for part in (f"{line} [{behind}]" if behind else line, trouble) if part
        )


def set_up_logs(as_json: bool, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """All logs of this process go to ``stream`` (standard error), and no longer where they went."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if as_json else PlainLines())
    handler.addFilter(Redaction())
    root = logging.getLogger()
    for other in list(root.handlers):
        if any(isinstance(one, Redaction) for one in other.filters):
            root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(level)


def _instant(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _about(record: logging.LogRecord) -> Mapping[str, str | int]:
    noted: Mapping[str, str | int] | None = getattr(record, "about", None)
    return what_about() if noted is None else noted


def _fact_names(record: logging.LogRecord) -> list[str]:
    return [name for name in vars(record) if name not in _STANDARD]


def _trouble(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = record.exc_text or ""
    if not text and record.exc_info:
        text = formatter.formatException(record.exc_info)
    return "\n".join(part for part in (text, record.stack_info) if part)


def _hidden_if_secret(name: str, what: Any) -> Any:
    if _SECRET_NAMES.search(name):
        return _HIDDEN
    if isinstance(what, Mapping):
        return without_secrets(what)
    if isinstance(what, list | tuple):
        return [_hidden_if_secret(name, value) for value in what]
    if what is None or isinstance(what, bool | int | float):
        return what
    return redacted(str(what))


def _plain(what: Any) -> Any:
    """The same as JSON knows it: a line must never fail to be written."""
    if isinstance(what, Mapping):
        return {str(key): _plain(value) for key, value in what.items()}
    if isinstance(what, Sequence) and not isinstance(what, str | bytes):
        return [_plain(value) for value in what]
    if isinstance(what, float) and not math.isfinite(what):
        return str(what)
    return what if what is None or isinstance(what, bool | int | float) else str(what)


def _printable(text: str) -> str:
    """On one line and without what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
