"""paretrack doctor: what this machine can do, and what is in the way."""

import os
import platform
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import typer

from service.commands._options import Json
from service.settings import Settings, read_settings
from service.terminal import Terminal, table

State = Literal["ok", "absent", "broken"]
Found = tuple[State, str]

LEAST_FREE = 1  # GiB at home
DATABASE_URL = "postgresql://USER:PASSWORD@HOST/NAME"


@dataclass(frozen=True)
class Finding:
    """One thing that was tried. ``absent`` is not needed, or has something in its place."""

    what: str
    state: State
    detail: str


def doctor(as_json: Json = False) -> None:
    """Say what works here: torch, GPU, ONNX Runtime, video files, trackers, Ray, databases.

    Exit code 1 where something is broken; what is absent is not needed. Example: `paretrack doctor`
    """
    settings = read_settings(os.environ)
    findings = examine(settings)
    rows = [[finding.what, finding.state, finding.detail] for finding in findings]
    Terminal(as_json).answer(
        {"findings": [asdict(finding) for finding in findings]},
        table(("what", "state", "found"), rows, title="What this machine can do"),
    )
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


def examine(settings: Settings) -> list[Finding]:
    """Try everything; a failure of one is a finding, not the end."""
    tries: dict[str, Callable[[], Found]] = {
        "python": _python,
        "torch": _torch,
        "gpu": _gpu,
        "onnxruntime": _onnx_runtime,
        "video files": _video,
        "trackers": _trackers,
        "ray": lambda: _package("ray"),
        "optuna": lambda: _package("optuna"),
        "web": lambda: _package("fastapi", "uvicorn"),
        "home": lambda: _home(settings),
        "sqlite": _sqlite,
        "postgresql": lambda: _postgresql(settings),
    }
    return [_tried(name, attempt) for name, attempt in tries.items()]


def _tried(name: str, attempt: Callable[[], Found]) -> Finding:
    try:
        return Finding(name, *attempt())
    except Exception as error:  # whatever breaks is what the user came to hear
        return Finding(name, "broken", f"{type(error).__name__}: {error}".splitlines()[0])


def _python() -> Found:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return "ok", f"{platform.python_version()}, CPU cores: {allowed}"


def _torch() -> Found:
    from workers.machine import torch_version

    return "ok", torch_version()


def _gpu() -> Found:
    from workers.machine import gpus, why_no_gpu

    found = gpus()
    if not found:
        return "absent", f"{why_no_gpu()}; everything runs with --device cpu"
    return "ok", f"for --device: {', '.join(found)}"


def _onnx_runtime() -> Found:
    from workers.machine import onnx_runtime

    return "ok", onnx_runtime()


def _trackers() -> Found:
    from workers.checkpoints import load_tracker
    from workers.teachers import find, names

    for name in names():
        load_tracker(find(name))
    if not names():
        return "broken", "none is shipped with this installation; install it again"
    return "ok", f"for --tracker: {', '.join(names())}"


def _video() -> Found:
    import cv2
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "probe.mp4")
        writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
        for level in (0, 80, 160):
            writer.write(np.full((48, 64, 3), level, np.uint8))
        writer.release()
        reader = cv2.VideoCapture(path)
        frames = 0
        while reader.read()[0]:
            frames += 1
        reader.release()
    known = f"OpenCV {cv2.__version__}, {frames} of 3 frames of an mp4 file came back"
    if frames != 3:
        return "broken", f"{known}; install the wheel of opencv-python-headless again"
    return "ok", known


def _package(*names: str) -> Found:
    try:
        return "ok", ", ".join(f"{name} {version(name)}" for name in names)
    except PackageNotFoundError as error:
        return "broken", f"{error.name} is not installed; run `make setup`, or pip install it"


def _home(settings: Settings) -> Found:
    advice = "set PARETRACK_HOME to another folder"
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=settings.home):
            free = shutil.disk_usage(settings.home).free / 2**30
    except OSError as error:
        return "broken", f"{settings.home} cannot be written ({error.strerror}); {advice}"
    if free < LEAST_FREE:
        return "broken", f"{settings.home}: {free:.1f} of {LEAST_FREE} GiB are free; {advice}"
    return "ok", f"{settings.home}: writable, {free:.0f} GiB free"


def _sqlite() -> Found:
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "probe.db")
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        connection.close()
    if mode != "wal":
        return "broken", f"{sqlite3.sqlite_version} has journal mode {mode}, not wal; is it old?"
    return "ok", f"{sqlite3.sqlite_version}, journal mode {mode}"


def _postgresql(settings: Settings) -> Found:
    if settings.database_url is None:
        return "absent", "PARETRACK_DATABASE_URL is not set: SQLite is used"
    import sqlalchemy

    try:
        url = sqlalchemy.make_url(settings.database_url)
    except (sqlalchemy.exc.ArgumentError, ValueError):  # whose text may hold the password
        return "broken", f"PARETRACK_DATABASE_URL is no URL; expected {DATABASE_URL}"
    if url.get_backend_name() == "sqlite":
        return "absent", "PARETRACK_DATABASE_URL names SQLite"
    if url.get_backend_name() != "postgresql":
        found = url.drivername
        return "broken", f"PARETRACK_DATABASE_URL begins with {found}; expected {DATABASE_URL}"
    engine = sqlalchemy.create_engine(url, connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as connection:
            found = str(connection.execute(sqlalchemy.text("select version()")).scalar())
    finally:
        engine.dispose()
    return "ok", found.split(" on ")[0]
