"""Names that say nothing, and files too large for git: what no linter of ours looks for."""

import subprocess
import sys
from pathlib import Path

SAYS_NOTHING = {
    *("base_functions", "common", "core", "helper", "helpers"),
    *("manager", "managers", "misc", "util", "utils"),
}
LARGEST = 3_000_000  # bytes


def complaints(paths: list[Path]) -> list[str]:
    """What is wrong with these files."""
    named = [
        f"{path}: '{part}' says nothing about what is in it"
        for path in paths
        for part in (*path.parts[:-1], path.stem)
        if part in SAYS_NOTHING
    ]
    large = [
        f"{path}: {path.stat().st_size} bytes, at most {LARGEST}"
        for path in paths
        if path.is_file() and path.stat().st_size > LARGEST
    ]
    return named + large


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    return [Path(line) for line in listed.stdout.splitlines()]


if __name__ == "__main__":
    found = complaints(tracked_files())
    sys.exit("\n".join(found) or None)
