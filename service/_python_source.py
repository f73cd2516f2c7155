"""Python files as trees: for names and words of modules that must not be imported."""

import ast
import threading
from functools import cache
from pathlib import Path

# Python 3.11 miscounts its recursion where two threads parse at once, and raises SystemError.
_alone = threading.Lock()


def tree_of(file: Path) -> ast.Module:
    """A file as its tree; each is read once."""
    with _alone:
        return _parsed(file)


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
