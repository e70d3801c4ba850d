"""Fill the README's table of figures from the results of ``evaluate``: ``python train/readme_table.py``.

Rows: doing nothing, the deblurrer of the bundled pipeline with the motion fitted to each photo, the same without, and
everything in ``results/`` that was measured on the same images under another deblurrer's name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README, MODELS, RESULTS = ROOT / "README.md", ROOT / "hub" / "models", ROOT / "train" / "results"
BEGIN, END = "<!-- figures -->\n", "<!-- /figures -->\n"
# Our own results with the motion fitted to each photo, as in every command: the first of our rows.
REFINED = "refined"
NAMES = {
    "map": "deconvolution along our motion",
    "dmphn": "DMPHN 1-2-4, published weights (GoPro)",
    "maxim": "MAXIM-3S, published weights",
}
COLUMNS = {
    "bsd-motion-flow": {"sharp frame": ("deblur_psnr", "blurred_psnr")},
    "bsd-dynamic": {
        "sharp frame": ("deblur_psnr", "blurred_psnr"),
        "clip": ("video_psnr", "video_psnr_blurred"),
        "trajectory error": ("trajectory_error", "trajectory_error_zero"),
    },
    "pairs": {"sharp frame": ("deblur_psnr", "blurred_psnr")},
}


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def results_of(model: str) -> dict[str, dict[str, Any] | None]:
    """By benchmark, what was measured for a model's folder or, for a peer, under its name in ``results/``."""
    found = {}
    for benchmark in COLUMNS:
        beside = "evaluation.json" if benchmark == "bsd-motion-flow" else f"evaluation-{benchmark}.json"
        found[benchmark] = _read(MODELS / model / beside) or _read(RESULTS / f"{benchmark}-{model}.json")
    return found


def table() -> str:
    """The table as Markdown."""
    index = json.loads((MODELS / "blur-to-video" / "model_index.json").read_text())
    ours = index["bundled_components"]["deblurrer"]
    peers = {
        file.stem.removeprefix(f"{benchmark}-")
        for benchmark in COLUMNS
        for file in RESULTS.glob(f"{benchmark}-*.json")
    }
    measured = results_of(ours)
    header = ["", *(f"{column}, `{benchmark}`" for benchmark, columns in COLUMNS.items() for column in columns)]
    rows = [header, ["---", *["---:"] * (len(header) - 1)], _row("the blurred photo as it is", measured, True)]
    rows.append(_row(f"**`{ours}`** (ours)", results_of(REFINED)))
    rows.append(_row(f"`{ours}`, `--refine 0`", measured))
    rows += [_row(NAMES.get(peer, f"`{peer}`"), results_of(peer)) for peer in sorted(peers - {REFINED, ours})]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _row(name: str, results: dict[str, dict[str, Any] | None], nothing: bool = False) -> list[str]:
    figures = []
    for benchmark, columns in COLUMNS.items():
        for figure in columns.values():
            value = (results[benchmark] or {}).get(figure[nothing])
            figures.append("-" if value is None else f"{value:.2f}")
    return [name, *figures]


def filled(text: str) -> str:
    """The README with the table between its two comments."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{README}: has no {BEGIN.strip()} … {END.strip()}")
    return f"{before}{begin}{table()}{end}{after}"


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(table())
