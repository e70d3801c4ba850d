"""Runs of train.py in processes of their own, as a user starts them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any

import pytest

from motion_offsets.training.config_files import read_options
from motion_offsets.training.run import Run, run_from_command_line

TRAIN = Path(__file__).resolve().parents[2] / "train"
TINY = ["--batch_size", "2", "--log_every", "1", "--validation_count", "1", "--crops", "{crop_size: 48, margin: 16}"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
ESTIMATOR = ["--model", "{base_channels: 4, num_samples: 5, ssim_weight: 0.0}", "--learning_rate", "1e-3"]


def train(*arguments: object, processes: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """``train.py``, alone or, with a number of processes, by ``accelerate launch`` on the CPU."""
    command, quiet = _command(arguments, processes), {**ENVIRONMENT, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=quiet, check=False, timeout=300)


@contextmanager
def training(*arguments: object, processes: int = 0) -> Iterator[subprocess.Popen[str]]:
    """The same while it runs, in a session of its own; nothing of it is left afterwards."""
    command = _command(arguments, processes)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def said_until(process: subprocess.Popen[str], words: str) -> str:
    """What a process says on standard error up to the line with these words."""
    assert process.stderr is not None
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, said[-3000:]
        said += line
    return said


def _command(arguments: Sequence[object], processes: int) -> list[str]:
    command = [sys.executable, str(TRAIN / "train.py")]
    if processes:
        launch = ["-m", "accelerate.commands.launch", "--num_cpu_threads_per_process", "1"]
        if processes > 1:
            launch += ["--config_file", str(TRAIN / "launch" / "8gpu-ddp.yaml"), "--main_process_port", "0"]
            launch += ["--num_processes", str(processes)]
        else:
            launch += ["--config_file", str(TRAIN / "launch" / "1cpu.yaml")]
        command[1:1] = launch
    return [*command, *(str(argument) for argument in arguments)]


def run_here(*arguments: object) -> Run:
    """The same in this process, where a start takes no time. The test needs the fixture ``_signals``."""
    run = Run(read_options([str(argument) for argument in arguments]))
    if run.options.resume:
        run.resume()
    run.train()
    return run


def train_here(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``train.py`` as its file starts it, in this process. The test needs the fixture ``_signals``."""
    command = ["train.py", *(str(argument) for argument in arguments)]
    code: Any = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(io.StringIO()) as said:
        patch.setattr(sys, "argv", command)
        patch.setenv("ACCELERATE_USE_CPU", "true")
        try:
            run_from_command_line()
        except SystemExit as ended:
            code = ended.code
    return subprocess.CompletedProcess(command, code, stderr=said.getvalue())


def finished(*arguments: object, **settings: str | int) -> subprocess.CompletedProcess[str]:
    done = train(*arguments, **settings)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def logged(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
