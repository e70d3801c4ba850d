"""The kernels' thread pool: every item once, errors not lost, safe to enter from many threads."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from motion_offsets.exposure.blur import expose, expose_plain
from motion_offsets.exposure.trajectories import sample_times, trajectory_basis
from motion_offsets.kernels.threads import block_bounds, run_blocks


@pytest.mark.parametrize("items", [0, 1, 2, 7, 100])
def test_blocks_cover_every_item_once(items: int) -> None:
    covered = [item for start, stop in block_bounds(items, 3) for item in range(start, stop)]
    assert covered == list(range(items))
    assert len(block_bounds(items, 3)) <= max(1, items // 3)


@pytest.mark.parametrize("uses_torch", [False, True])
def test_an_error_in_a_block_is_raised(uses_torch: bool) -> None:
    def fail(start: int, stop: int) -> None:
        if stop == 8:
            raise RuntimeError("the last block")

    with pytest.raises(RuntimeError, match="the last block"):
        run_blocks(fail, 8, uses_torch=uses_torch)


def test_many_threads_at_once_get_their_own_right_answers() -> None:
    basis = trajectory_basis("quadratic", sample_times(5))
    problems = [(torch.rand(1, 3, 20, 24), torch.randn(1, 4, 20, 24) * 3) for _ in range(16)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda problem: expose(*problem, basis), problems))
    for (sharp, points), answer in zip(problems, answers, strict=True):
        torch.testing.assert_close(answer, expose_plain(sharp, points, basis, "border"), atol=1e-5, rtol=1e-4)


def test_other_threads_keep_all_their_cores() -> None:
    """PyTorch's number of threads, set in one thread, is also what threads to come start with."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        run_blocks(lambda start, stop: None, 3, uses_torch=True)
        inside: list[int] = []
        with ThreadPoolExecutor(4) as pool:
            for _ in range(8):
                pool.submit(run_blocks, lambda start, stop: inside.append(torch.get_num_threads()), 3, uses_torch=True)
        assert inside == [1] * 24
        with ThreadPoolExecutor(1) as fresh:
            assert fresh.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_process_makes_its_own_pool() -> None:
    basis, sharp, points = (
        trajectory_basis("quadratic", sample_times(5)),
        torch.rand(1, 3, 64, 64),
        torch.zeros(1, 4, 64, 64),
    )
    expose(sharp, points, basis)
    from torch.utils.data import DataLoader, Dataset

    class Crops(Dataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> torch.Tensor:
            torch.set_num_threads(2)
            return expose(sharp, points, basis)[0]

    for batch in DataLoader(Crops(), num_workers=1, multiprocessing_context="fork", timeout=60):
        torch.testing.assert_close(batch, sharp, atol=1e-6, rtol=1e-5)
