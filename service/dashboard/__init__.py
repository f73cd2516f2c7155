"""The pages that people look at: one skeleton, style, and small modules that call the API.

Nothing in a page is anybody's data: a page is the same for everyone, and asks the API as the
caller that it is shown to. All of it is read once, when the process begins.
"""

import hashlib
import html
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from service.compression import compressed

FOLDER = Path(__file__).parent
_IMPORT = re.compile(r"""^import\b[^"]*?from\s+"(\.[^"]+)";""", re.MULTILINE)
MEDIA_TYPES: Mapping[str, str] = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Path of a page -> its module in static/pages/, and its title.
PAGES: Mapping[str, tuple[str, str]] = {
    "/": ("jobs", "Jobs"),
    "/compare": ("compare", "Compare"),
    "/nights": ("nights", "Nights"),
    "/trackers": ("trackers", "Trackers"),
    "/devices": ("devices", "Devices"),
    "/webhooks": ("webhooks", "Webhooks"),
    "/tokens": ("tokens", "Tokens"),
    "/jobs/new": ("new", "New search"),
    "/jobs/tune": ("tune", "Tune a recipe"),
    "/jobs/{job_id}": ("job", "Job"),
    "/jobs/{job_id}/trials/{number}": ("trial", "Trial"),
}
MENU = tuple(path for path in PAGES if not path.startswith("/jobs/"))


@dataclass(frozen=True)
class Asset:
    """A file that pages load."""

    content: bytes
    media_type: str
    gzipped: bytes


@cache
def assets() -> Mapping[str, Asset]:
    """Everything that pages load, by its path below static/."""
    root = FOLDER / "static"
    files = sorted(file for file in root.rglob("*") if file.suffix in MEDIA_TYPES)
    return {
        file.relative_to(root).as_posix(): _asset(file.read_bytes(), MEDIA_TYPES[file.suffix])
        for file in files
    }


def _asset(content: bytes, media_type: str) -> Asset:
    return Asset(content, media_type, compressed(content, level=9))


@cache
def digest() -> str:
    """Of all assets: a part of their addresses, so that browsers may keep them for ever."""
    found = hashlib.sha256()
    for name, asset in assets().items():
        found.update(f"{name}\0{len(asset.content)}\0".encode() + asset.content)
    return found.hexdigest()[:16]


@cache
def modules_of(name: str) -> tuple[str, ...]:
    """Everything that a module imports, and what that imports: known here, so that a browser can
    ask for all of it at once instead of finding it file by file."""
    found = dict.fromkeys([name])
    for each in (waiting := [name]):
        source = assets()[each].content.decode()
        for imported in _IMPORT.findall(source):
            at = posixpath.normpath(posixpath.join(posixpath.dirname(each), imported))
            if at not in found:
                found[at] = None
                waiting.append(at)
    return tuple(found)


@cache
def page(path: str) -> str:
    """The page at one of ``PAGES``."""
    name, title = PAGES[path]
    links = (f'<a href="{each}">{html.escape(PAGES[each][1])}</a>' for each in MENU)
    words = {
        "page": name,
        "title": html.escape(title),
        "static": f"/static/{digest()}",
        "nav": "\n".join(links),
        "modules": "\n".join(
            f'<link rel="modulepreload" href="/static/{digest()}/{each}">'
            for each in modules_of(f"pages/{name}.js")
        ),
    }
    found = (FOLDER / "page.html").read_text(encoding="utf-8")
    for word, value in words.items():
        found = found.replace("{{" + word + "}}", value)
    return found
