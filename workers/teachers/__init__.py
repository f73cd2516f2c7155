"""Trained trackers that ship with the product: a folder each, with how it was made.

architecture.json + weights.safetensors is the tracker; recipe.json trained it, curve.json and
curve.png show how that went; recovery.json recovers what is cut of it best (docs/decisions/0008).
"""

from pathlib import Path

from search_spaces import ParetrackError

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The teachers on offer, sorted."""
    return sorted(path.parent.name for path in _FOLDER.glob("*/architecture.json"))


def find(name: str) -> Path:
    """The folder of a shipped teacher, or of any tracker on disk."""
    if name in names():
        return _FOLDER / name
    if Path(name).is_dir():
        return Path(name)
    raise ParetrackError(
        f"no tracker named {name!r}: give a folder with architecture.json and weights.safetensors, "
        f"or one of {', '.join(names())}"
    )
