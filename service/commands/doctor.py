"""paretrack doctor: what this machine can do, and what is in the way."""

import os
import platform
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


@dataclass(frozen=True)
class Finding:
    """One thing that was tried."""

    what: str
    state: Literal["ok", "absent", "broken"]
    detail: str


def doctor(as_json: Json = False) -> None:
    """Say what works here: torch, GPU, ONNX Runtime, video files, Ray, databases.

    Exit code 1 where something that is needed is broken. Example: `paretrack doctor`
    """
    settings = read_settings(os.environ)
    findings = examine(settings)
    rows = [[finding.what, finding.state, finding.detail] for finding in findings]
    Terminal(as_json).answer(
        {"findings": [asdict(finding) for finding in findings]},
        table(("", "", ""), rows, title="What this machine can do"),
    )
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


def examine(settings: Settings) -> list[Finding]:
    """Try everything; a failure of one is a finding, not the end."""
    tries: dict[str, Callable[[], Finding]] = {
        "python": _python,
        "torch": _torch,
        "gpu": _gpu,
        "onnxruntime": _onnx_runtime,
        "video files": _video,
        "ray": lambda: _package("ray"),
        "optuna": lambda: _package("optuna"),
        "web": lambda: _package("fastapi", "uvicorn"),
        "home": lambda: _home(settings),
        "sqlite": _sqlite,
        "postgresql": lambda: _postgresql(settings),
    }
    return [_tried(name, attempt) for name, attempt in tries.items()]


def _tried(name: str, attempt: Callable[[], Finding]) -> Finding:
    try:
        return attempt()
    except Exception as error:  # whatever breaks is what the user came to hear
        return Finding(name, "broken", f"{type(error).__name__}: {error}".splitlines()[0])


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()}, {os.cpu_count()} cores")


def _torch() -> Finding:
    from workers.machine import torch_version

    return Finding("torch", "ok", torch_version())


def _gpu() -> Finding:
    from workers.machine import gpus

    found = gpus()
    if not found:
        return Finding("gpu", "absent", "none that torch can use; everything runs on the CPU")
    return Finding("gpu", "ok", ", ".join(found))


def _onnx_runtime() -> Finding:
    from workers.machine import onnx_runtime

    return Finding("onnxruntime", "ok", onnx_runtime())


def _video() -> Finding:
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
    state: Literal["ok", "broken"] = "ok" if frames == 3 else "broken"
    return Finding(
        "video files", state, f"OpenCV {cv2.__version__}, {frames} of 3 frames came back"
    )


def _package(*names: str) -> Finding:
    try:
        detail = ", ".join(f"{name} {version(name)}" for name in names)
    except PackageNotFoundError as error:
        return Finding(names[0], "absent", f"{error.name} is not installed: make setup")
    return Finding(names[0], "ok", detail)


def _home(settings: Settings) -> Finding:
    settings.home.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=settings.home):
        space = os.statvfs(settings.home)
    free = space.f_bavail * space.f_frsize / 2**30
    state: Literal["ok", "broken"] = "ok" if free > 1 else "broken"
    return Finding("home", state, f"{settings.home}: writable, {free:.0f} GiB free")


def _sqlite() -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "probe.db")
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        connection.close()
    state: Literal["ok", "broken"] = "ok" if mode == "wal" else "broken"
    return Finding("sqlite", state, f"{sqlite3.sqlite_version}, journal mode {mode}")


def _postgresql(settings: Settings) -> Finding:
    if settings.database_url is None:
        return Finding("postgresql", "absent", "PARETRACK_DATABASE_URL is not set: SQLite is used")
    import sqlalchemy

    if not settings.database_url.startswith("postgresql"):
        return Finding("postgresql", "absent", "PARETRACK_DATABASE_URL names another database")
    engine = sqlalchemy.create_engine(settings.database_url, connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as connection:
            found = str(connection.execute(sqlalchemy.text("select version()")).scalar())
    finally:
        engine.dispose()
    return Finding("postgresql", "ok", found.split(" on ")[0])
