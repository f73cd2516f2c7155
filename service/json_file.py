"""A JSON document that a user names on the command line."""

import json
from pathlib import Path
from typing import Any

from search_spaces._errors import ParetrackError


def read_object(path: Path, what: str) -> dict[str, Any]:
    """The object in a file that should hold ``what``: 'a job', 'a recipe'."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParetrackError(f"{path} is not {what}: {error}") from error
    except ValueError as error:
        raise ParetrackError(f"{path} is not {what}: it is not a JSON document: {error}") from error
    if not isinstance(found, dict):
        raise ParetrackError(
            f"{path} is not {what}: expected an object, got {type(found).__name__}"
        )
    return found
