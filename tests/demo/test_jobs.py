import numpy as np
import pytest
from torch import nn

from motion_offsets import BadInputError
from motion_offsets.demo import networks, text
from motion_offsets.demo.jobs import Job, Jobs, StoppedError
from motion_offsets.demo.limits import Limits

MODEL = "etraj-quadratic"
PHOTO = np.zeros((64, 64, 3), np.uint8)


def test_stopped_work_ends_before_the_next_layer_and_others_go_on() -> None:
    jobs, layers = Jobs(), []

    def watch(module: nn.Module, inputs: object, output: object) -> None:
        layers.append(module)
        if len(layers) == 5:
            jobs.stop("somebody")

    convolutions = [module for module in networks.pipeline(MODEL).estimator.modules() if isinstance(module, nn.Conv2d)]
    hooks = [module.register_forward_hook(watch) for module in convolutions]
    try:
        with pytest.raises(StoppedError), jobs.running("somebody", Job(60)):
            networks.find(MODEL, PHOTO, Limits().memory)
        assert len(layers) == 5
        with jobs.running("another", Job(60)):
            networks.find(MODEL, PHOTO, Limits().memory)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(layers) > 10
    assert len(jobs) == 0


def test_work_that_takes_too_long_ends() -> None:
    with pytest.raises(BadInputError, match="took longer than -1 seconds"), Jobs().running("somebody", Job(-1)):
        networks.find(MODEL, PHOTO, Limits().memory)


def test_progress_is_told_in_order() -> None:
    told: list[tuple[str, float]] = []
    job = Job(60, lambda name, share: told.append((name, share)))
    job.step("reading", 0.1)
    job.step("drawing", 0.9)
    assert told == [("reading", 0.1), ("drawing", 0.9)]


def test_the_step_of_a_visitor_is_known_while_they_have_work() -> None:
    jobs = Jobs()
    with jobs.running("somebody", Job(60)) as job:
        job.step("reading", 0.1)
        assert jobs.step_of("somebody") == "reading"
        assert jobs.step_of("another") is None
    assert jobs.step_of("somebody") is None


def test_fitting_the_motion_can_be_stopped_between_its_steps() -> None:
    steps: list[float] = []

    def watch(name: str, share: float) -> None:
        if name == text.STEP_REFINE:
            steps.append(share)
            job.stop()

    job = Job(60, watch)
    with pytest.raises(StoppedError), Jobs().running("somebody", job):
        networks.find(MODEL, PHOTO, Limits().memory, refine_steps=10_000)
    assert len(steps) == 1
