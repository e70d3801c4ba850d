"""Train the trajectory estimator or the deblurrer: ``accelerate launch train/train.py --config train/configs/X.yaml``.

Any field of the config can be overridden on the command line (``--steps 100``). A run writes to ``output_dir``:
``checkpoints/step-N`` (resumable with ``--resume true``), ``metrics.jsonl``, ``pictures/``, ``best/`` and, at the end,
``model/`` in float16.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, gather_object, set_seed
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from ..errors import BadInputError, name_arguments
from ..io.atomic import bytes_of, put_in_place, write_errors, write_picture
from ..runtime.allocation import keep_freed_memory
from .building import build_stage
from .config_files import read_options
from .mixed_precision import faster_precision
from .options import TrainingOptions
from .readiness import check_room, check_surroundings, make_repository, room_wanted
from .saving import (
    METRICS_FILE,
    PROGRESS_FILE,
    check_same_run,
    checkpoints,
    config_record,
    forget_after,
    push,
    rotate,
    row_of_pictures,
    write_model,
)
from .stages import Stage
from .stopping import StopRequest, leave_signals_alone

FUSED_ADAM = ("cuda", "cpu")


if TYPE_CHECKING:
    from diffusers.training_utils import EMAModel


class NotFiniteError(Exception):
    """A loss or a gradient is not a finite number."""


class Run:
    """One training run: everything a checkpoint must bring back, and the loop over the steps."""

    def __init__(self, options: TrainingOptions):
        self.options = options
        self.output = Path(options.output_dir)
        set_seed(options.seed)
        self.stage: Stage = build_stage(options)
        if options.mixed_precision == "auto":
            options.mixed_precision = faster_precision(self.stage, options.batch_size, options.recipe().crop_size)
        self.accelerator = Accelerator(
            mixed_precision=options.mixed_precision,
            gradient_accumulation_steps=options.gradient_accumulation,
            dynamo_backend="inductor" if options.compile else None,
            log_with=options.report_to or None,
            project_dir=self.output,
        )
        # Checkpoints that are there already make room for the next ones.
        check_room(self.output, room_wanted(self.stage.model, options) - bytes_of(checkpoints(self.output)))
        model = self.stage.model.to(memory_format=torch.channels_last)
        groups = self.stage.parameter_groups()
        self.gains = [group.gain for group in groups]
        trained = [{"params": [p for p in group.parameters if p.requires_grad]} for group in groups]
        fused = self.accelerator.device.type in FUSED_ADAM
        self.optimizer = torch.optim.Adam(trained, lr=options.learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=fused)
        self.ema = _average_of(model, options.ema_decay) if options.ema_decay else None
        self.model, self.optimizer = self.accelerator.prepare(model, self.optimizer)
        if self.ema:
            self.accelerator.register_for_checkpointing(self.ema)
            self.ema.to(self.accelerator.device)
        self.crops_per_step = options.batch_size * self.accelerator.num_processes * options.gradient_accumulation
        self.step = 0
        self.seconds = 0.0
        self.best = -math.inf
        self.validated: dict[str, float] = {}
        self.averages: dict[str, float] = {}  # of this process's losses, as they are logged

    def learning_rate(self) -> float:
        """Linear warm-up, then linear decay to 0 (paper, section 6.1)."""
        options = self.options
        warm = min(1.0, (self.step + 1) / max(1, options.warmup_steps))
        return options.learning_rate * warm * max(0.0, 1 - self.step / options.steps)

    def train(self) -> None:
        """Take the steps that are left, and write the model."""
        options, started = self.options, time.monotonic() - self.seconds
        if self.accelerator.is_main_process:
            # Also at the start: a run that was killed before its first checkpoint has told steps that come again.
            forget_after(self.output / METRICS_FILE, self.step)
        batches = self._batches()
        if options.push_to_hub:
            make_repository(options.push_to_hub)
        self._start_trackers()
        stop = StopRequest()
        bar = tqdm(total=options.steps, initial=self.step, disable=not self.accelerator.is_local_main_process)
        with bar:
            self._take_steps(batches, bar, started, stop)
        self.save_checkpoint()
        self.save_model()
        self.accelerator.end_training()

    def _take_steps(
        self, batches: Iterator[dict[str, torch.Tensor]], bar: tqdm, started: float, stop: StopRequest
    ) -> None:
        options = self.options
        averages = self.averages
        while self.step < options.steps:
            losses = self._one_step(batches)
            self.step += 1
            self.seconds = time.monotonic() - started
            bar.update()
            for name, value in losses.items():
                averages[name] = averages.get(name, value) * 0.98 + 0.02 * value
            if self.step % options.log_every == 0:
                shared = self._over_processes(averages)
                bar.set_postfix({name: f"{value:.4g}" for name, value in shared.items()})
                self._log(shared)
            if self.step % options.validate_every == 0 or self.step == options.steps:
                self._validate()
            stopping = self._any_process(bool(stop))
            if self.step % options.checkpoint_every == 0 or stopping:
                self.save_checkpoint()
            if stopping:
                self.accelerator.end_training()
                tqdm.write(f"stopped at step {self.step}; go on with resume true", file=sys.stderr)
                sys.exit(stop.exit_code)

    def _batches(self) -> Iterator[dict[str, torch.Tensor]]:
        """The batches that are left. Of the crops of a step, each process takes the next ``batch_size`` in turn."""
        options = self.options
        # Crops that are to be kept are rendered by one process of each machine.
        with self.accelerator.local_main_process_first():
            dataset = self.stage.dataset(options.steps * self.crops_per_step)
        remaining = Subset(dataset, range(self.step * self.crops_per_step, options.steps * self.crops_per_step))
        loader = DataLoader(
            remaining,
            batch_size=options.batch_size,
            num_workers=options.data_workers,
            worker_init_fn=leave_signals_alone,
            # Of its own: starting to read takes nothing from the one that decides in training and is in checkpoints.
            generator=torch.Generator().manual_seed(options.seed),
        )
        return iter(self.accelerator.prepare(loader))

    def _one_step(self, batches: Iterator[dict[str, torch.Tensor]]) -> dict[str, float]:
        options, accelerator = self.options, self.accelerator
        for group, gain in zip(self.optimizer.param_groups, self.gains, strict=True):
            group["lr"] = gain * self.learning_rate()
        shown: dict[str, float] = {}
        for part in range(options.gradient_accumulation):
            with accelerator.accumulate(self.model):
                batch = next(batches)
                loss, terms = self.stage.loss(self.model, batch, self.step / options.steps, accelerator)
                shown = {"loss": loss.item(), **{name: value.item() for name, value in terms.items()}}
                self._require_finite(shown, part)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    limit = options.max_gradient_norm or math.inf
                    norm = accelerator.clip_grad_norm_(self.model.parameters(), limit)
                    # fp16 skips a step whose gradients overflow and goes on with a smaller scale.
                    if norm is not None and options.mixed_precision != "fp16":
                        self._require_finite({"gradient norm": norm.item()}, part)
                self.optimizer.step()
                self.optimizer.zero_grad()
        if self.ema:
            self.ema.step(self.model.parameters())
        return shown

    def _require_finite(self, values: dict[str, float], part: int) -> None:
        """Stop all processes if a value of any of them is not finite, before it gets into the weights."""
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if not self._any_process(bool(wrong)):
            return
        size, processes = self.options.batch_size, self.accelerator.num_processes
        first = self.step * self.crops_per_step + (part * processes + self.accelerator.process_index) * size
        mine = f"{', '.join(wrong)} of crops {first} to {first + size - 1}" if wrong else None
        found = [one for one in gather_object([mine]) if one]
        raise NotFiniteError(
            f"step {self.step + 1}: not a finite number: {'; '.join(found)}. No weight was changed by it. Go on from "
            f"the last checkpoint in {self.output / 'checkpoints'} with `resume` true and a lower `learning_rate`, "
            "set max_gradient_norm, or take bf16 or no mixed_precision in place of fp16"
        )

    def _any_process(self, value: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return value
        flag = torch.tensor(float(value), device=self.accelerator.device)
        return self.accelerator.reduce(flag, "sum").item() > 0

    def _over_processes(self, values: dict[str, float]) -> dict[str, float]:
        """Means over processes; a term that some have not met yet (no crop for it so far) over those that have."""
        rows = gather_object([values])
        means = {}
        for name in dict.fromkeys(name for row in rows for name in row):
            found = [row[name] for row in rows if name in row]
            means[name] = sum(found) / len(found)
        return means

    def trained_model(self) -> PreTrainedModel | None:
        """On the main process a copy of the model as it would be saved, weights averaged; on the others nothing."""
        if self.accelerator.distributed_type == DistributedType.FSDP:
            weights = self.accelerator.get_state_dict(self.model)
        else:
            weights = self.stage.model.state_dict()
        if not self.accelerator.is_main_process:
            return None
        with torch.random.fork_rng(devices=[]):  # the initial weights are drawn, and replaced below
            model = type(self.stage.model)(self.stage.model.config)
        model.load_state_dict({name.replace("_orig_mod.", ""): value for name, value in weights.items()})
        model.to(self.accelerator.device, memory_format=torch.channels_last)
        if self.ema:
            self.ema.copy_to(model.parameters())
        if self.options.keep_of_start:
            start = type(model).from_pretrained(self.options.start_from).to(model.device)
            earlier = dict(start.named_parameters())
            for name, weight in model.named_parameters():
                if name in earlier:  # an estimator that was added is the one that was given
                    weight.data.lerp_(earlier[name].data, self.options.keep_of_start)
        return model.eval()

    def _validate(self) -> None:
        """Measure on the main process, while the others wait; keep the model if it is the best so far."""
        model = self.trained_model()
        if model is not None:
            found = self.stage.validate(model)
            self.validated = {name: round(value, 4) for name, value in found.figures.items()}
            figures = {f"validation_{name}": value for name, value in found.figures.items()}
            self._log(figures)
            if figures:
                shown = ", ".join(f"{name} {value:.4g}" for name, value in found.figures.items())
                tqdm.write(f"step {self.step}: {shown}", file=sys.stderr)
                self._log_picture(row_of_pictures(found.pictures))
            reached = found.figures.get(self.stage.best_figure, -math.inf)
            if reached > self.best:
                self.best = reached
                write_model(model, self.output / "best", self.options, self._record())
        self.accelerator.wait_for_everyone()

    def _start_trackers(self) -> None:
        if self.options.report_to:
            fields = {
                name: value if isinstance(value, int | float | str | bool) else json.dumps(value)
                for name, value in self.options.record().items()
            }
            self.accelerator.init_trackers("motion-offsets", fields)

    def _log(self, figures: dict[str, float]) -> None:
        if self.accelerator.is_main_process:
            self.output.mkdir(parents=True, exist_ok=True)
            record = {"step": self.step, "seconds": round(self.seconds, 1), **figures}
            with (self.output / METRICS_FILE).open("a") as log:
                log.write(json.dumps(record) + "\n")
        self.accelerator.log(figures, step=self.step)

    def _log_picture(self, pixels: Any) -> None:
        write_picture(self.output / "pictures" / f"step-{self.step:07d}.png", pixels)
        for tracker in self.accelerator.trackers:
            if hasattr(tracker, "log_images"):
                layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                tracker.log_images({"validation": pixels[None]}, step=self.step, **layout)

    def save_checkpoint(self) -> None:
        """Write ``checkpoints/step-N`` beside and rename it, so that what bears the name is whole; keep two."""
        folder = self.output / "checkpoints"
        final, partial = folder / f"step-{self.step:07d}", folder / f".partial-{self.step:07d}"
        if final.exists():
            return
        if self.accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        with write_errors(partial):
            self.accelerator.save_state(str(partial))
        averages = gather_object([self.averages])
        if self.accelerator.is_main_process:
            state = {
                **self._record(),
                "best": self.best if math.isfinite(self.best) else None,
                "kind": self._kind(),
                "averages": averages,
            }
            with write_errors(partial):
                (partial / PROGRESS_FILE).write_text(json.dumps(state))
                put_in_place(partial, final)
            rotate(self.output)
        self.accelerator.wait_for_everyone()

    def _record(self) -> dict[str, Any]:
        return {"steps": self.step, "seconds": round(self.seconds), "validation": self.validated}

    def _kind(self) -> dict[str, Any]:
        """What a checkpoint and the run that goes on from it must share."""
        return {
            "stage": self.options.stage,
            "crops_per_step": self.crops_per_step,
            "model": config_record(self.stage.model),
        }

    def resume(self) -> None:
        """Go on from the last complete checkpoint in ``output_dir``."""
        found = checkpoints(self.output)
        if not found:
            raise BadInputError(f"{self.output}: no checkpoint to resume from; leave out `resume` to start")
        state = json.loads((found[-1] / PROGRESS_FILE).read_text())
        if "kind" not in state:
            raise BadInputError(
                f"{found[-1]}: was written by an earlier train.py; continue with that one, or start again"
            )
        check_same_run(found[-1], state["kind"], self._kind())
        self.accelerator.load_state(str(found[-1]))
        self.step, self.seconds, self.validated = state["steps"], state["seconds"], state["validation"]
        self.best = -math.inf if state["best"] is None else state["best"]
        averages = state.get("averages", [])  # earlier versions left them out
        if len(averages) == self.accelerator.num_processes:
            self.averages = averages[self.accelerator.process_index]

    def save_model(self) -> None:
        """Write ``model/``: the averaged weights in float16, the config, what trained them, a card; and push it."""
        self.accelerator.wait_for_everyone()
        model = self.trained_model()
        if model is None:
            return
        write_model(model, self.output / "model", self.options, self._record())
        if self.options.push_to_hub:
            tqdm.write(f"pushed to {push(self.output / 'model', self.options.push_to_hub)}", file=sys.stderr)


def _average_of(model: torch.nn.Module, decay: float) -> EMAModel:
    from diffusers.training_utils import EMAModel  # slow to import

    return EMAModel(model.parameters(), decay=decay, use_ema_warmup=True)


def main() -> None:
    options = read_options(sys.argv[1:])
    if not options.resume and checkpoints(Path(options.output_dir)):
        raise BadInputError(
            f"{options.output_dir}: holds the checkpoints of another run; give `resume` true to continue it, or "
            "another `output_dir`"
        )
    check_surroundings(options)
    keep_freed_memory()
    run = Run(options)
    if options.resume:
        run.resume()
    run.train()


def run_from_command_line() -> None:
    """What ``train/train.py`` runs: bad input ends in one line and exit code 2, a loss gone wrong in 1."""
    try:
        main()
    except BadInputError as error:
        print(f"train.py: {name_arguments(str(error), '--{}'.format)}", file=sys.stderr)
        sys.exit(2)
    except NotFiniteError as error:
        print(f"train.py: {name_arguments(str(error), '--{}'.format)}", file=sys.stderr)
        sys.exit(1)
