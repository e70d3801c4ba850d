"""A fast path that cannot be built, or whose cache is damaged or cannot be written, costs time and never the work."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from motion_offsets.exposure.blur import expose, expose_plain
from motion_offsets.exposure.trajectories import sample_times, trajectory_basis
from motion_offsets.kernels import cpu_kernels

pytest.importorskip("numba")

_SOURCE = """
from motion_offsets.kernels.compilation import jit

@jit(fastmath=True)
def double(number):
    return 2 * number
"""
_numbers = itertools.count()


@pytest.fixture
def program(tmp_path: Path) -> Callable[[], object]:
    """Starts a program again: a module with one kernel, as a new process would see it."""
    file = tmp_path / "program.py"
    file.write_text(_SOURCE)

    def start() -> object:
        spec = importlib.util.spec_from_file_location(f"program_{next(_numbers)}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.double

    return start


def _hits(kernel) -> int:
    return sum(kernel.stats.cache_hits.values())


def test_kernels_come_from_the_cache(program: Callable) -> None:
    assert program()(2.0) == 4
    again = program()
    assert again(3.0) == 6
    assert _hits(again) == 1


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("fault", ["cut", "empty", "other bytes", "flipped", "a folder"])
def test_a_damaged_cache_is_made_anew(program: Callable, tmp_path: Path, suffix: str, fault: str) -> None:
    assert program()(2.0) == 4
    (file,) = (tmp_path / "__pycache__").glob(f"*{suffix}")
    content = bytearray(file.read_bytes())
    if fault == "a folder":
        file.unlink()
        file.mkdir()
    elif fault == "flipped":
        content[-20] ^= 0xFF  # as long as before, and unpickled without complaint for all we know
        file.write_bytes(content)
    else:
        file.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "other bytes": b"x" * 99}[fault])
    damaged = program()
    assert damaged(3.0) == 6
    assert _hits(damaged) == 0
    if fault != "a folder":
        mended = program()
        assert mended(4.0) == 8
        assert _hits(mended) == 1


def test_no_folder_for_a_cache(program: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "__pycache__").write_bytes(b"")  # nobody, not even root, can make a folder there
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert program()(2.0) == 4


def test_a_cache_that_fills_up(program: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = program()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kernel._cache._cache_file, "save", full)
    assert kernel(2.0) == 4
    assert kernel(2) == 4


@pytest.fixture
def forgotten() -> Iterator[None]:
    """The kernels' own checks run again in the test, and once more after it."""
    cpu_kernels.cache_clear()
    yield
    cpu_kernels.cache_clear()


@pytest.mark.parametrize("gradients", [False, True])
def test_kernels_that_fail_here_are_left_out_with_a_word(
    forgotten: None, monkeypatch: pytest.MonkeyPatch, gradients: bool
) -> None:
    from motion_offsets.kernels import exposure_cpu

    def broken(*args: object) -> None:
        raise RuntimeError("LLVM knows no such instruction")

    monkeypatch.setattr(exposure_cpu, "backward" if gradients else "forward", broken)
    sharp, points = torch.rand(1, 3, 20, 24, requires_grad=gradients), torch.randn(1, 4, 20, 24)
    basis = trajectory_basis("quadratic", sample_times(5))
    with pytest.warns(RuntimeWarning, match="exposure_cpu .*LLVM knows no such instruction.*slower"):
        blurred = expose(sharp, points, basis)
    torch.testing.assert_close(blurred, expose_plain(sharp, points, basis, "border"))
    if gradients:
        (slope,) = torch.autograd.grad(blurred.sum(), sharp)
        assert slope.sum().isclose(torch.tensor(sharp.numel() * 1.0), rtol=1e-4)


@pytest.mark.parametrize("module", ["exposure_cpu", "motion_aware_cpu", "scene_cpu", "line_blur_cpu", "variation_cpu"])
def test_every_module_of_kernels_passes_its_own_check(module: str) -> None:
    assert cpu_kernels(module) is not None


def test_gradients_have_checks_of_their_own() -> None:
    assert cpu_kernels("exposure_cpu", "check_backward") is not None
    assert cpu_kernels("motion_aware_cpu", "check_backward") is not None
