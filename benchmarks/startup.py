"""How long the command takes to start: ``--help``, and the imports and models of ``extract``, beside ``import torch``.

Each is a new process. Processor seconds are given beside elapsed ones, because they depend less on what else runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

PROGRAMS = {
    "import_torch": ["-c", "import torch"],
    "help": ["-m", "motion_offsets", "--help"],
    "import_bases": ["-c", "import transformers.modeling_utils, diffusers.pipelines.pipeline_utils"],
    "extract_loaded": [
        "-c",
        "from motion_offsets.cli.arguments import prepare; prepare('etraj-quadratic', None, 'cpu', 'auto')",
    ],
    "extract_loaded_collecting": [
        "-c",
        "import motion_offsets.extraction.batch; from motion_offsets.cli.arguments import prepare; "
        "prepare('etraj-quadratic', None, 'cpu', 'auto')",
    ],
}


def run(arguments: list[str]) -> tuple[float, float]:
    """Elapsed and processor seconds of a new Python process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for number in range(rounds + 1):
        for name, arguments in PROGRAMS.items():
            found = run(arguments)
            if number:  # the first round reads the files from disk
                times[name].append(found)
    report: dict[str, object] = {"rounds": rounds}
    for column, kind in enumerate(("elapsed", "processor")):
        medians = {name: statistics.median(row[column] for row in rows) for name, rows in times.items()}
        for name, seconds in medians.items():
            report[f"{name}_{kind}_s"] = round(seconds, 2)
            report[f"{name}_{kind}_ratio"] = round(seconds / medians["import_torch"], 2)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
