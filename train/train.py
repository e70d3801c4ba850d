"""Train the trajectory estimator or the deblurrer: ``accelerate launch train/train.py --config train/configs/X.yaml``.

Any field of the config can be overridden on the command line (``--steps 100``). A run writes to ``output_dir``:
``checkpoints/step-N`` (resumable with ``--resume``), ``metrics.jsonl``, and at the end ``model/`` in float16.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent))
from options import TrainingOptions, read_options  # noqa: E402
from stages import Stage, build_stage  # noqa: E402

from motion_offsets.errors import BadInputError  # noqa: E402


class Run:
    """One training run: everything a checkpoint has to bring back, and the loop over the steps."""

    def __init__(self, options: TrainingOptions):
        self.options = options
        self.output = Path(options.output_dir)
        self.accelerator = Accelerator(
            mixed_precision=options.mixed_precision, gradient_accumulation_steps=options.gradient_accumulation
        )
        set_seed(options.seed)
        self.stage: Stage = build_stage(options)
        model = self.stage.model.to(memory_format=torch.channels_last)
        groups = self.stage.parameter_groups()
        self.gains = [group.gain for group in groups]
        trained = [{"params": [p for p in group.parameters if p.requires_grad]} for group in groups]
        self.optimizer = torch.optim.Adam(trained, lr=options.learning_rate, betas=(0.9, 0.999), eps=1e-8)
        self.ema = (
            EMAModel(model.parameters(), decay=options.ema_decay, use_ema_warmup=True) if options.ema_decay else None
        )
        self.model, self.optimizer = self.accelerator.prepare(model, self.optimizer)
        if self.ema:
            self.accelerator.register_for_checkpointing(self.ema)
            self.ema.to(self.accelerator.device)
        self.step = 0
        self.seconds = 0.0
        self.stopping = False

    def learning_rate(self) -> float:
        """Linear warm-up, then linear decay to 0 (paper, section 6.1)."""
        options = self.options
        warm = min(1.0, (self.step + 1) / max(1, options.warmup_steps))
        return options.learning_rate * warm * max(0.0, 1 - self.step / options.steps)

    def train(self) -> None:
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        options, started = self.options, time.monotonic() - self.seconds
        bar = tqdm(total=options.steps, initial=self.step, disable=not self.accelerator.is_local_main_process)
        averages: dict[str, float] = {}
        for batch in self._batches():
            losses = self._one_step(batch)
            self.step += 1
            self.seconds = time.monotonic() - started
            bar.update()
            for name, value in losses.items():
                averages[name] = averages.get(name, value.item()) * 0.98 + 0.02 * value.item()
            if not all(torch.isfinite(value) for value in losses.values()):
                raise FloatingPointError(
                    f"step {self.step}: a loss is not finite ({losses}); lower learning_rate, and "
                    f"--resume from the last checkpoint in {self.output / 'checkpoints'}"
                )
            if self.step % options.log_every == 0:
                bar.set_postfix({name: f"{value:.4g}" for name, value in averages.items()})
                self._log({"step": self.step, "seconds": round(self.seconds, 1), **averages})
            if self.step % options.validate_every == 0 or self.step == options.steps:
                self._log({"step": self.step, "seconds": round(self.seconds, 1), **self._validate()})
            if self.step % options.checkpoint_every == 0 or self.stopping:
                self.save_checkpoint()
            if self.stopping:
                sys.exit(f"stopped at step {self.step}; go on with --resume")
        self.save_checkpoint()
        self.save_model()

    def _stop(self, *_: Any) -> None:
        self.stopping = True

    def _batches(self) -> Any:
        options = self.options
        per_step = options.batch_size * self.accelerator.num_processes
        dataset = self.stage.dataset(options.steps * per_step)
        remaining = Subset(dataset, range(self.step * per_step, len(dataset)))
        loader = DataLoader(remaining, batch_size=options.batch_size, num_workers=options.data_workers, shuffle=False)
        return self.accelerator.prepare(loader)

    def _one_step(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        options = self.options
        for group, gain in zip(self.optimizer.param_groups, self.gains, strict=True):
            group["lr"] = gain * self.learning_rate()
        with self.accelerator.accumulate(self.model):
            loss, losses = self.stage.loss(self.model, batch, self.step / options.steps, self.accelerator.autocast)
            self.accelerator.backward(loss)
            if self.accelerator.sync_gradients and options.max_gradient_norm:
                self.accelerator.clip_grad_norm_(self.model.parameters(), options.max_gradient_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.ema and self.accelerator.sync_gradients:
            self.ema.step(self.model.parameters())
        return {"loss": loss.detach(), **{name: value.detach() for name, value in losses.items()}}

    def _validate(self) -> dict[str, float]:
        model = self.accelerator.unwrap_model(self.model)
        if self.ema:
            self.ema.store(model.parameters())
            self.ema.copy_to(model.parameters())
        model.eval()
        figures = self.stage.validate(model)
        model.train()
        if self.ema:
            self.ema.restore(model.parameters())
        if self.accelerator.is_main_process:
            tqdm.write(f"step {self.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
        return {f"validation_{name}": value for name, value in figures.items()}

    def _log(self, record: dict[str, float]) -> None:
        if self.accelerator.is_main_process:
            self.output.mkdir(parents=True, exist_ok=True)
            with (self.output / "metrics.jsonl").open("a") as log:
                log.write(json.dumps(record) + "\n")

    def save_checkpoint(self) -> None:
        """Write ``checkpoints/step-N`` beside and rename it, so that what bears the name is whole; keep two."""
        folder = self.output / "checkpoints"
        final, partial = folder / f"step-{self.step:07d}", folder / f".partial-{self.step:07d}"
        if final.exists():
            return
        if self.accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(partial))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            state = {"step": self.step, "seconds": self.seconds}
            (partial / "progress.json").write_text(json.dumps(state))
            os.replace(partial, final)
            for old in sorted(folder.glob("step-*"))[:-2]:
                shutil.rmtree(old)

    def resume(self) -> None:
        """Go on from the last complete checkpoint in ``output_dir``."""
        found = sorted((self.output / "checkpoints").glob("step-*"))
        if not found:
            raise BadInputError(f"{self.output}: no checkpoint to resume from; leave out --resume to start")
        self.accelerator.load_state(str(found[-1]))
        state = json.loads((found[-1] / "progress.json").read_text())
        self.step, self.seconds = state["step"], state["seconds"]

    def save_model(self) -> None:
        """Write ``model/``: the averaged weights in float16, the config, and what trained them."""
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        model = self.accelerator.unwrap_model(self.model)
        if self.ema:
            self.ema.copy_to(model.parameters())
        if self.options.keep_of_start:
            start = type(model).from_pretrained(self.options.start_from).to(model.device)
            for weight, earlier in zip(model.parameters(), start.parameters(), strict=True):
                weight.data.lerp_(earlier.data, self.options.keep_of_start)
        partial, final = self.output / ".partial-model", self.output / "model"
        shutil.rmtree(partial, ignore_errors=True)
        # Contiguous again: safetensors would refuse the strides of channels_last.
        model.to(torch.float16).to(memory_format=torch.contiguous_format).save_pretrained(partial)
        record = {"options": self.options.record(), "steps": self.step, "seconds": round(self.seconds)}
        earlier = Path(self.options.start_from or "") / "training.json"
        if self.options.start_from and earlier.is_file():
            record["started_from"] = json.loads(earlier.read_text())
        (partial / "training.json").write_text(json.dumps(record, indent=2) + "\n")
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)


def main() -> None:
    options = read_options(sys.argv[1:])
    if not options.resume and any(Path(options.output_dir, "checkpoints").glob("step-*")):
        raise BadInputError(
            f"{options.output_dir}: holds the checkpoints of another run; give --resume true to go on with it, or "
            "another --output_dir"
        )
    run = Run(options)
    if options.resume:
        run.resume()
    run.train()


if __name__ == "__main__":
    try:
        main()
    except BadInputError as error:
        print(f"train.py: {error}", file=sys.stderr)
        sys.exit(2)
