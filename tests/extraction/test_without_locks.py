"""Output on a file system without ``flock``, which a library loaded before the C library's stands for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHIM = """
#include <errno.h>
#include <stdlib.h>

int flock(int fd, int operation) {
    errno = atoi(getenv("FLOCK_ERRNO"));
    return -1;
}
"""
MANIFESTS = """
import errno, json, os
from pathlib import Path
from motion_offsets import BadInputError
from motion_offsets.extraction.manifest import Manifest, read_manifests
from motion_offsets.extraction.sources import Share

said = {}
for name in ("ENOSYS", "ENOTSUP", "EOPNOTSUPP", "ENOLCK", "EIO"):
    os.environ["FLOCK_ERRNO"] = str(getattr(errno, name))
    out = Path(name)
    try:
        with Manifest(out, Share()) as manifest:
            manifest.enter_failed("a", "a.png", "no picture")
            said[name] = [manifest.locked]
        said[name] += [path.name for path in out.iterdir()] + [line["reason"] for line in read_manifests(out)]
    except BadInputError as error:
        said[name] = str(error)
print("SAID" + json.dumps(said))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """In which no file can be locked."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler")
    (tmp_path / "shim.c").write_text(SHIM)
    library = tmp_path / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "shim.c"], check=True)
    return {**os.environ, "LD_PRELOAD": str(library), "FLOCK_ERRNO": "38", "OMP_NUM_THREADS": "1"}


def test_the_journal_goes_on_without_its_lock(environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MANIFESTS], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.rpartition("SAID")[2])
    for name in ("ENOSYS", "ENOTSUP", "EOPNOTSUPP", "ENOLCK"):
        assert said[name] == [False, "manifest.jsonl", "no picture"]
    assert said["EIO"].startswith("EIO/manifest.jsonl: cannot be written ("), "a broken disk is another matter"


def test_a_batch_says_so_once(
    environment: dict[str, str], models: Path, tmp_path: Path, generator: np.random.Generator
) -> None:
    (tmp_path / "photos").mkdir()
    for name in "ab":
        Image.fromarray(generator.integers(0, 256, (40, 48, 3), np.uint8)).save(tmp_path / "photos" / f"{name}.png")
    command = [sys.executable, "-m", "motion_offsets", "extract", "photos", "-o", "out", "--device", "cpu"]
    command += ["--model", str(models / "motion"), "--deblurrer", str(models / "sharp"), "--frames", "2"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("out: its file system has no locks; make sure that no other run writes there") == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "b", "manifest.jsonl"}
