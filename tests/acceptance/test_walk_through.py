"""The README's walk through the service, word for word: only the port and the folder are others."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 900  # seconds; it takes about one minute on a machine that does nothing else


def commands() -> str:
    """The block behind the mark."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- walk-through[^>]*-->\n```\n(.*?)```", readme, re.DOTALL)
    assert found is not None
    return found[1]


def make_video(file: Path) -> None:
    """A street: something bright that wanders."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 25, (320, 240))
    noise = np.random.default_rng(0).integers(0, 60, (240, 320, 3), dtype=np.uint8)
    for number in range(12):
        frame = noise.copy()
        cv2.rectangle(frame, (120 + 2 * number, 80), (160 + 2 * number, 140), (40, 200, 240), -1)
        writer.write(frame)
    writer.release()


@pytest.mark.slow
def test_the_walk_through_of_the_readme_does_what_it_says(tmp_path: Path) -> None:
    make_video(tmp_path / "street.mp4")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n" + commands().replace(
        "8000", str(port)
    )
    env = {
        **os.environ,
        "PARETRACK_HOME": str(tmp_path / "home"),
        "PARETRACK_URL": f"http://127.0.0.1:{port}",
        "OMP_NUM_THREADS": "1",
    }
    log = tmp_path / "log"
    with log.open("wb") as file:
        done = subprocess.run(
            ["bash", "-eu", "-c", script], cwd=tmp_path, env=env, stdout=file, stderr=file,
            timeout=LIMIT, check=False,
        )  # fmt: skip
    said = log.read_text(errors="replace")
    assert done.returncode == 0, said[-6000:]
    assert (tmp_path / "front.svg").stat().st_size > 1000
    names = {path.name for path in (tmp_path / "tracker").iterdir()}
    assert {"architecture.json", "model.safetensors", "template.onnx", "frame.onnx"} <= names
    boxes = tmp_path / "home" / "out" / "track" / "street" / "boxes.txt"
    assert len(boxes.read_text().splitlines()) == 12
    assert '"state":"QUEUED"' in said
