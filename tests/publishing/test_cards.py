"""Cards: figures from the file that measured them, runs from the file that recorded them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from motion_offsets.errors import BadInputError
from motion_offsets.publishing.cards import eval_results, fill_figures, fill_runs, load_card, model_card

FLOW = {"benchmark": "bsd-motion-flow", "images": 100, "pairs": 300, "reblur_psnr": 35.1239, "motion_mse": 14.5654}
SCENES = {
    "benchmark": "bsd-dynamic",
    "images": 90,
    "reblur_psnr": 28.449,
    "trajectory_error": 2.5,
    "deblur_psnr": None,
}


ROOT = Path(__file__).parents[2]
CARDS = sorted((ROOT / "model_cards").glob("*.md"))


@pytest.mark.parametrize("file", CARDS, ids=lambda file: file.stem)
def test_a_card_says_what_readers_look_for(file: Path) -> None:
    card = load_card(file, ModelCard)
    data = card.data.to_dict()
    assert data["library_name"] in ("transformers", "diffusers")
    assert data["pipeline_tag"].startswith("image-to-")
    assert data["license_link"].startswith("https://")
    if file.with_suffix(".jpg").is_file():
        assert data["thumbnail"] == f"https://huggingface.co/OWNER/{file.stem}/resolve/main/example.jpg"
        assert "](example.jpg)" in card.text
        assert data["license_link"].endswith("#licence")
        assert "\n## Licence\n" in card.text
    assert "[Paper](https://" in card.text
    assert "https://huggingface.co/spaces/OWNER/motion-offsets" in card.text
    linked = re.findall(r"\]\(https://huggingface.co/OWNER/([\w-]+)\)", card.text)
    assert linked
    assert set(linked) <= {other.stem for other in CARDS} - {file.stem}
    headings = re.findall(r"^## (.*)$", card.text, re.MULTILINE)
    assert headings[:2] == ["Limits", "Use"]


def run_of(steps: int, before: dict[str, Any] | None = None) -> dict[str, Any]:
    options = {"batch_size": 4, "crops": {"crop_size": 128}, "learning_rate": 0.0005, "seed": 3}
    record: dict[str, Any] = {"options": options, "steps": steps, "seconds": 125}
    return record if before is None else {**record, "started_from": before}


def test_rows_get_the_figures_of_the_benchmark_named_before_them() -> None:
    text = (
        "`evaluate bsd-motion-flow`:\n| `reblur_psnr` | 0.00 |\n| `motion_mse` (px) | 0.000 |\n| other | 1.0 |\n"
        "`evaluate bsd-dynamic`:\n| `reblur_psnr` | 0.0 | dB |\n"
    )
    for evaluations in ([FLOW, SCENES], [SCENES, FLOW]):
        filled = fill_figures(text, evaluations, "card")
        assert filled.splitlines()[1:4] == [
            "| `reblur_psnr` | 35.12 |",
            "| `motion_mse` (px) | 14.565 |",
            "| other | 1.0 |",
        ]
        assert filled.splitlines()[5] == "| `reblur_psnr` | 28.4 | dB |"
    correlation = "`evaluate bsd-dynamic`:\n| `explained_rank_correlation` | -0.00 |\n"
    for value, shown in ((-0.6871, "-0.69"), (0.1234, "0.12")):
        filled = fill_figures(correlation, [FLOW, {**SCENES, "explained_rank_correlation": value}], "card")
        assert filled.splitlines()[1] == f"| `explained_rank_correlation` | {shown} |"
    with pytest.raises(BadInputError, match="card: shows 'explained_rank_correlation', which was not measured"):
        fill_figures(correlation, [FLOW, SCENES], "card")
    with pytest.raises(BadInputError, match="card: shows 'motion_mse', which was not measured"):
        fill_figures("bsd-dynamic\n| `motion_mse` | 0.0 |\n", [FLOW, SCENES], "card")


def test_results_name_the_figure_and_its_unit() -> None:
    results = [result for evaluation in (FLOW, SCENES) for result in eval_results(evaluation)]
    assert [(result.metric_type, result.metric_name, result.metric_value) for result in results] == [
        ("psnr", "reblur_psnr (dB)", 35.1239),
        ("mse", "motion_mse (square pixels)", 14.5654),
        ("psnr", "reblur_psnr (dB)", 28.449),
        ("error", "trajectory_error (pixels)", 2.5),
    ]
    assert {result.dataset_name for result in results} == {
        "bsd-motion-flow, 100 photos, 300 pairs",
        "bsd-dynamic, 90 photos",
    }


def test_both_benchmarks_stand_in_the_index(tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("---\nlicense: mit\n---\n\n# x\n")
    card = ModelCard(str(model_card(tmp_path / "card.md", "x", [FLOW, SCENES])), ignore_metadata_errors=False)
    assert {result.dataset_type for result in card.data.eval_results} == {"bsd-motion-flow", "bsd-dynamic"}
    assert card.data.license == "mit"


def test_runs_are_listed_first_to_last() -> None:
    text = "a\n<!-- runs -->\nold\n<!-- /runs -->\nb\n"
    rows = fill_runs(text, run_of(500, run_of(10500))).splitlines()
    assert rows[4:6] == ["| 1 | 10,500 | 4 of 128 px | 0.0005 | 3 | 2 |", "| 2 | 500 | 4 of 128 px | 0.0005 | 3 | 2 |"]
    assert (rows[0], rows[-1], "old" in rows) == ("a", "b", False)
    assert fill_runs(text, None) == text
    assert fill_runs("no table", run_of(1)) == "no table"
