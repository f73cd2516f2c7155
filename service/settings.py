"""What the operator decides, read once from the environment and handed down as a value."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search_spaces._errors import ParetrackError
from service.callouts import allowed_from_words


@dataclass(frozen=True)
class Settings:
    """``home`` holds what is generated and produced: data sets, trackers, measurements."""

    home: Path
    database_url: str | None  # None: embedded
    ray_address: str | None = None  # None: a Ray of our own on this machine
    webhook_allow: tuple[str, ...] = ()  # hosts and networks beside the public ones

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def out(self) -> Path:
        return self.home / "out"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """PARETRACK_HOME (default ~/.paretrack), PARETRACK_DATABASE_URL, PARETRACK_RAY_ADDRESS and
    PARETRACK_WEBHOOK_ALLOW."""
    home = environment.get("PARETRACK_HOME")
    return Settings(
        home=_folder(home or "~/.paretrack"),
        database_url=environment.get("PARETRACK_DATABASE_URL") or None,
        ray_address=environment.get("PARETRACK_RAY_ADDRESS") or None,
        webhook_allow=_allowed(environment.get("PARETRACK_WEBHOOK_ALLOW", "")),
    )


def _allowed(text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    allowed_from_words(words)  # said now, and not when a webhook is made
    return words


def _folder(home: str) -> Path:
    """``~`` comes to us as it is where no shell has read the line: service files, containers."""
    try:
        return Path(home).expanduser()
    except RuntimeError as error:
        raise ParetrackError(f"PARETRACK_HOME: {home!r} names no folder: {error}") from error
