"""A file of a trial onto this disk: bit by bit, going on where a broken download was, compared."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from search_spaces._errors import ParetrackError
from service._client_errors import NO_ANSWER, ClientError
from service._client_transport import Transport, is_passing, pause
from service._client_values import Artefact

AT_ONCE = 1 << 18  # bytes of a file that are read
Progress = Callable[[int, int], None]  # bytes that are here, and of how many


def download(
    transport: Transport,
    path: str,
    artefact: Artefact,
    folder: Path,
    progress: Progress = lambda done, total: None,
) -> Path:
    """The file in ``folder``, which is made; one that is there already is only compared."""
    target = folder / checked_name(artefact.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_file() and _sha256(target) == artefact.sha256:
            progress(artefact.bytes, artefact.bytes)
            return target
        part = folder / f".{artefact.name}.{artefact.sha256[:12]}.part"
        url = f"{path}/{quote(artefact.name, safe='')}"
        _whole(transport, url, artefact, part, progress)
        part.replace(target)
    except OSError as error:
        raise ParetrackError(f"{target} cannot be written: {error}") from error
    return target


def checked_name(name: str) -> str:
    """A service's word for a file must not lead out of the folder."""
    if not name or Path(name).name != name or name.startswith(".") or "\\" in name:
        raise ParetrackError(f"the service names a file {name!r}, which is no name of one")
    return name


def _whole(
    transport: Transport, url: str, artefact: Artefact, part: Path, progress: Progress
) -> None:
    """All of it, with the right checksum. What was kept of an earlier download may be damaged:
    once it is thrown away and begun again."""
    was_kept = part.exists()
    _fetched(transport, url, artefact, part, progress)
    if _sha256(part) != artefact.sha256 and was_kept:
        part.unlink()
        _fetched(transport, url, artefact, part, progress)
    if _sha256(part) != artefact.sha256:
        part.unlink()
        raise ClientError(
            "checksum",
            f"{artefact.name} came with other bytes than the service promises (SHA-256); it is "
            "not kept: try again, and tell an operator if that does not help",
        )


def _fetched(
    transport: Transport, url: str, artefact: Artefact, part: Path, progress: Progress
) -> None:
    """As many bytes as there should be, over as many connections as it takes."""
    moved, attempt = time.monotonic(), 0
    while (have := part.stat().st_size if part.exists() else 0) != artefact.bytes:
        error: ClientError | None = None
        try:
            if _more(transport, url, artefact, part, have, progress):
                continue
        except ClientError as problem:
            if not is_passing(problem):
                raise
            error = problem
        error = error or ClientError(NO_ANSWER, f"{artefact.name} does not come any further")
        if part.exists() and part.stat().st_size != have:
            moved, attempt = time.monotonic(), 0
        elif time.monotonic() - moved > transport.patience:
            raise error
        transport.sleep(max(pause(attempt), error.after or 0.0))
        attempt += 1
    if artefact.bytes == 0:
        part.touch()


def _more(
    transport: Transport, url: str, artefact: Artefact, part: Path, have: int, progress: Progress
) -> bool:
    """What one connection brings; whether that is the end of it."""
    have = 0 if have > artefact.bytes else have
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with transport.stream(url, headers=headers, allowed=(416,)) as response:
        goes_on = response.status_code == 206 and _starts_at(response.headers, have)
        if not goes_on and response.status_code != 200:
            part.unlink(missing_ok=True)  # it has no such part: what is here is of another file
            return False
        with part.open("ab" if goes_on else "wb") as file:
            done = have if goes_on else 0
            for chunk in response.iter_bytes():
                done += len(chunk)
                if done > artefact.bytes:
                    raise ClientError("checksum", f"{artefact.name} is longer than promised")
                file.write(chunk)
                progress(done, artefact.bytes)
    return done == artefact.bytes


def _starts_at(headers: object, have: int) -> bool:
    said = headers.get("content-range", "")  # type: ignore[attr-defined]  # httpx.Headers
    return str(said).startswith(f"bytes {have}-")


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(AT_ONCE):
            found.update(chunk)
    return found.hexdigest()
