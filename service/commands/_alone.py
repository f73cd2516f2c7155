"""One command at a time in a folder of outcomes: two would leave a mixture of both."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search_spaces._errors import ParetrackError

_LOCK = ".lock"  # stays in the folder: to remove it would be a race


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep others out of ``folder`` while the block runs; a killed command lets go of it too."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = (folder / _LOCK).open("w")
    except OSError as error:
        raise ParetrackError(f"{folder} cannot be written: {error}; give another --out") from error
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ParetrackError(
                f"{folder} is being written by another paretrack; wait for it to end, "
                "or give another --out"
            ) from error
        yield
