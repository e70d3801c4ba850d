"""Every code block of README, documentation and cards runs as printed.

Blocks marked ``text`` are set-ups, servers and trainings, which are not run here. All others are run in the order of
their page, in a folder that holds what they name: a photo, a folder of photos, pairs. The Hub is that of the tests.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "model_cards").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = {"text", "bibtex"}
# Run by the tests of what they need: a second process that serves, a Hub, an exported model.
ELSEWHERE = {
    "gradio_client": "tests/demo/test_api.py",
    "deblurrer.onnx": "tests/interchange/test_model_export.py",
    "your-name/": "tests/models/test_hub_loading.py",
    "OWNER/": "tests/models/test_hub_loading.py",
}


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and code of each block."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def runnable(page: Path) -> list[tuple[str, str]]:
    return [
        (language, code)
        for language, code in blocks(page)
        if language not in NOT_RUN and not any(mark in code for mark in ELSEWHERE)
    ]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the pages name: photo.jpg, holiday/, photos/, sharp photos, pairs/."""
    with Image.open(ROOT / "examples" / "cat.png") as picture:
        small = picture.convert("RGB").resize((128, 80))
    small.save(tmp_path / "photo.jpg")
    for folder, count in (("holiday", 1), ("photos", 2)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            small.resize((192, 176)).rotate(180 * number).save(tmp_path / folder / f"{number}.png")
    for side in ("input", "target"):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        small.save(tmp_path / "pairs" / side / "1.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_shell(code: str) -> None:
    """Each line of ``motion-offsets`` in this process, as the console script would run it."""
    from motion_offsets.cli.app import app

    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words[0] == "motion-offsets", f"mark a block `text` that is not run: {line}"
        if words[1] == "synthesize":
            shutil.rmtree("pairs", ignore_errors=True)
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=lambda page: page.stem)
@pytest.mark.usefixtures("workplace")
def test_snippets(page: Path) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for language, code in runnable(page):
        if language == "python":
            exec(compile(code, f"{page.name}: {code.splitlines()[0]}", "exec"), names)
        elif language in ("sh", "bash"):
            if "jq" not in code:
                run_shell(code)
        else:
            pytest.fail(f"{page}: a block of {language or 'no language'}; give sh, python or text")


@pytest.mark.parametrize("name", ["extract", "train"])
@pytest.mark.usefixtures("workplace")
def test_notebooks(name: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if name == "train":
        pytest.importorskip("datasets", reason="the extra `train` is not installed")
    notebook = json.loads((ROOT / "docs" / "notebooks" / f"{name}.ipynb").read_text())
    where = Path.cwd()
    # The notebooks find the checkout from the folder that they are started in.
    monkeypatch.setattr(Path, "cwd", classmethod(lambda cls: ROOT / "docs" / "notebooks"))
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{name}.ipynb", "exec"), names)
    assert (where / ("clip.webp" if name == "extract" else "my-estimator")).exists()


def test_the_pages_are_found(request: pytest.FixtureRequest) -> None:
    assert len(PAGES) > 15
    assert sum(len(runnable(page)) for page in PAGES) >= 12
