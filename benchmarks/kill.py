"""SIGKILL at random moments of a batch and of a training; what is resumed must equal what ran uninterrupted.

    python benchmarks/kill.py [--moments 50] [--seed 0]

Tiny models and photos, on a CPU. Each run is a process forked from this one, which has imported everything, so that
the moments fall into the work and not into imports. Prints one JSON object; exit code 1 where a result differs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # a process with threads cannot be forked
os.environ["ACCELERATE_USE_CPU"] = "true"

import numpy as np
import torch
from PIL import Image

from motion_offsets import EtrajConfig, EtrajModel, MaDmphnConfig, MaDmphnForImageDeblurring
from motion_offsets.cli.app import app
from motion_offsets.extraction import batch, manifest  # noqa: F401  (imported before the forks)
from motion_offsets.training import run as training

PHOTOS, STEPS = 6, 12
Work = Callable[[Path, bool], None]


def extract(models: Path, photos: Path) -> Work:
    """A batch: a kill in it is taken up by the same command."""

    def work(out: Path, resumed: bool) -> None:
        used = ["--model", models / "motion", "--deblurrer", models / "sharp", "--device", "cpu", "--frames", 6]
        app([str(word) for word in ("extract", photos, "-o", out, *used)], standalone_mode=False)

    return work


def train(photos: Path) -> Work:
    """A training with a checkpoint every other step."""

    def work(out: Path, resumed: bool) -> None:
        sys.argv = ["train.py", "--images", str(photos), "--output_dir", str(out), "--steps", str(STEPS)]
        sys.argv += ["--model", "{base_channels: 4, num_samples: 5, ssim_weight: 0.0}", "--batch_size", "2"]
        sys.argv += ["--crops", "{crop_size: 48, margin: 16}", "--log_every", "1", "--checkpoint_every", "2"]
        sys.argv += ["--ema_decay", "0.9"]
        if resumed and any((out / "checkpoints").glob("step-*")):
            sys.argv += ["--resume", "true"]
        training.main()

    return work


def start(work: Work, out: Path, resumed: bool, log: Path) -> int:
    """The process that does the work; what it prints goes into the log."""
    process = os.fork()
    if process:
        with contextlib.suppress(OSError):  # whichever is first makes the group; it may even have ended already
            os.setpgid(process, process)
        return process
    code = 1
    try:
        os.setpgid(0, 0)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        work(out, resumed)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def whole(work: Work, out: Path, resumed: bool, log: Path) -> float:
    """Do the work to its end; the seconds it took."""
    started = time.monotonic()
    _, status = os.waitpid(start(work, out, resumed, log), 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(log.read_text()[-3000:])
    return time.monotonic() - started


def killed(work: Work, out: Path, log: Path, seconds: float) -> bool:
    """Start the work and kill it after so many seconds; whether it was still at work then."""
    process = start(work, out, False, log)
    time.sleep(seconds)
    ended, _ = os.waitpid(process, os.WNOHANG)
    if not ended:
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
    return not ended


def result(out: Path) -> dict[str, str]:
    """Every file of a result by its content, apart from times of day and durations; anything left over shows too."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_dir() or "checkpoints/" in name:
            continue
        content = path.read_bytes()
        if path.suffix in (".json", ".jsonl"):
            lines = [json.loads(line) for line in (content.splitlines() if path.suffix == ".jsonl" else [content])]
            kept = [{key: value for key, value in line.items() if "seconds" not in key} for line in lines]
            if path.name.startswith("manifest"):  # in the order in which the photos were done
                kept.sort(key=lambda line: line["result"])
            content = json.dumps(kept, sort_keys=True).encode()
        if path.name == "README.md":
            continue  # names the folder
        found[name] = hashlib.sha256(content.replace(os.fsencode(out), b"OUT")).hexdigest()
    return found


def kills(name: str, work: Work, folder: Path, moments: int, generator: random.Random) -> dict[str, object]:
    reference, log = folder / f"{name}-reference", folder / f"{name}.log"
    whole(work, folder / f"{name}-first", False, log)  # compiles what is compiled
    seconds = whole(work, reference, False, log)
    expected = result(reference)
    interrupted, differing = 0, []
    for number in range(moments):
        out = folder / f"{name}-{number}"
        moment = generator.uniform(0, seconds)
        interrupted += killed(work, out, log, moment)
        whole(work, out, True, log)
        found = result(out)
        if found != expected:
            names = sorted(key for key in {*found, *expected} if found.get(key) != expected.get(key))
            differing.append({"after_seconds": round(moment, 3), "files": names[:5]})
        shutil.rmtree(out)
    return {
        "seconds_uninterrupted": round(seconds, 2),
        "moments": moments,
        "killed_at_work": interrupted,
        "files_compared": len(expected),
        "resumed_equals_uninterrupted": moments - len(differing),
        "differing": differing,
    }


def make_inputs(folder: Path) -> tuple[Path, Path]:
    """Tiny models and photos."""
    torch.manual_seed(0)
    EtrajModel(EtrajConfig(base_channels=4)).save_pretrained(folder / "models" / "motion")
    deblurrer = MaDmphnForImageDeblurring(MaDmphnConfig(base_channels=4, motion_aware=False))
    deblurrer.save_pretrained(folder / "models" / "sharp")
    (folder / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (PHOTOS, 12, 16, 3), np.uint8)
    for number, each in enumerate(pixels):
        picture = Image.fromarray(each).resize((128, 96), Image.Resampling.BICUBIC)
        picture.save(folder / "photos" / f"{number}.png")
    return folder / "models", folder / "photos"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    generator = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models, photos = make_inputs(folder)
        found = {
            "batch": kills("batch", extract(models, photos), folder, given.moments, generator),
            "training": kills("training", train(photos), folder, given.moments, generator),
        }
    print(json.dumps(found, indent=2))
    sys.exit(any(each["differing"] for each in found.values()))


if __name__ == "__main__":
    main()
