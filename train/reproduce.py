"""Table 2 of the paper, scaled down: train each kind of trajectory for a few minutes, measure it, write one table.

    python train/reproduce.py --images DATA/bsds500/train --evaluation_images DATA/bsds500/val

What is done is kept: started again, it goes on where it was stopped. The table is ``table.md`` in ``output_dir``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from motion_offsets.evaluation_tables import PAPER_TABLE_2, QUOTED_TABLE_2

TRAIN = Path(__file__).resolve().parent
ROWS = ("zero-constraint", "linear", "bidirectional-linear", "quadratic", "cubic", "supervised")
HEADER = ("", "reblur PSNR", "reblur SSIM", "motion MSE", "paper's PSNR", "paper's SSIM", "paper's MSE")


def measured(row: str, arguments: argparse.Namespace, more: list[str]) -> dict[str, Any]:
    """Train and evaluate one row, or whatever of it is still to be done."""
    folder = Path(arguments.output_dir) / row
    if not (folder / "model").is_dir():
        command = ["train.py", "--config", str(TRAIN / "configs" / "reproduce" / f"{row}.yaml")]
        command += ["--images", *arguments.images, "--validation_images", arguments.evaluation_images]
        command += ["--output_dir", str(folder), *more]
        _run([*command, "--resume", "true"] if any(folder.glob("checkpoints/step-*")) else command)
    result = folder / "evaluation.json"
    if not result.is_file():
        command = ["evaluate.py", "bsd-motion-flow", "--images", arguments.evaluation_images, "--deblurrer", "none"]
        command += ["--model", str(folder / "model"), "--limit", str(arguments.limit), "-o", str(result)]
        _run([*command, "--line_kernels"] if row == "supervised" else command)
    return json.loads(result.read_text())


def _run(command: list[str]) -> None:
    script, *rest = command
    done = subprocess.run([sys.executable, str(TRAIN / script), *rest], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"reproduce.py: {script} ended with {done.returncode}; see above, then start this again to go on")


def table(results: dict[str, dict[str, Any]]) -> str:
    """Our figures beside the paper's, as Markdown. The supervised row is reblurred by line kernels, as the paper's."""
    paper = {name.removeprefix("paper, "): figures for name, *figures in PAPER_TABLE_2}
    paper["supervised"] = next(figures for name, *figures in QUOTED_TABLE_2 if "Gong" in name)
    lines = [HEADER, ("---", *["---:"] * 6)]
    for row, result in results.items():
        line = "line_" if row == "supervised" else ""
        names = (f"{line}reblur_psnr", f"{line}reblur_ssim", "motion_mse")
        ours = [result[name] for name in names]
        lines.append((row, *map(_cell, names, ours), *map(_cell, names, paper.get(row, [None] * 3))))
    any_result = next(iter(results.values()))
    nothing = [any_result[name] for name in ("blurred_psnr", "blurred_ssim", "motion_mse_zero")]
    lines.append(("no motion at all", *map(_cell, ("psnr", "ssim", "mse"), nothing), "-", "-", "-"))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def _cell(name: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if "ssim" in name else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="More options go to train.py.")
    parser.add_argument("--images", nargs="+", required=True, help="folders of sharp photos to train on")
    parser.add_argument("--evaluation_images", required=True, help="folder of other sharp photos")
    parser.add_argument("--output_dir", default="runs/reproduce")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--limit", type=int, default=20, help="photos that are measured, three motions each")
    arguments, more = parser.parse_known_args()
    results = {row: measured(row, arguments, more) for row in arguments.rows}
    text = table(results)
    (Path(arguments.output_dir) / "table.md").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
