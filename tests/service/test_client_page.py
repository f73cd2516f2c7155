"""docs/client.md: its Python is one program, which runs; its commands and their options exist."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from service.app import create_app
from service.cli import app as command
from service.database import embedded_url, open_database
from service.recorded import read_job
from service.settings import Settings
from tests.service.jobs import Bench, make_teacher
from tests.service.running import run
from tests.service.searched import read
from tests.service.served import serving

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def engine_served(
    prepared_sqlite: Path, here: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    file = here.home / "paretrack.db"
    file.write_bytes(prepared_sqlite.read_bytes())
    url = embedded_url(file)
    engine = open_database(url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARETRACK_TOKEN", raising=False)
    app = create_app(Settings(home=here.home, database_url=url), needs_tokens=False)
    with serving(app) as served:
        monkeypatch.setenv("PARETRACK_URL", served.url)
        yield engine
    engine.dispose()


def test_its_python_runs(
    engine_served: Engine, here: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known: dict[str, Any] = {}
    assert len(BLOCKS) == 7
    for number, block in enumerate(BLOCKS):
        code = compile(block, f"docs/client.md, block {number}", "exec")
        if "job.wait(" not in block:
            exec(code, known)
            continue
        job = read(engine_served, known["job"].now)
        controller = threading.Thread(target=run, args=(engine_served, here, job))
        controller.start()
        exec(code, known)
        controller.join()
        for trial in read_job(engine_served, job.id).front:  # the pool of tests makes no trackers
            make_teacher(Path(trial.tracker))
    said = capsys.readouterr().out
    for words in (
        "candidates macs_frame<=20000000: ", "SUCCEEDED", "siamrpn ", "'street-light'",
        "At 02:30 every day", "not_found no job 'stret'", "did you mean street",
    ):  # fmt: skip
        assert words in said, words
    assert {"front.svg", "front.csv", "tracker"} <= {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "tracker" / "model.safetensors").is_file()


def test_its_commands_exist() -> None:
    text = " ".join(PAGE.split())
    spoken = re.findall(r"`paretrack ([^`]+)`", text)
    assert len(spoken) >= 12
    for words in spoken:
        name = re.match(r"(?:tracker |schedule |token )?[a-z-]+", words)
        assert name is not None
        done = CliRunner().invoke(command, [*name[0].split(), "--help"], terminal_width=200)
        assert done.exit_code == 0, words
        for option in re.findall(r"--[a-z-]+", words):
            assert option in done.output, (words, option)
