"""What happens on a click and on a call: every handler of the page and of its API, without any layout."""

from __future__ import annotations

import functools
import html
import logging
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
import numpy as np
from gradio import utils
from PIL import Image

from ..errors import BadInputError
from ..runtime.devices import pick_device
from . import rendering, text, words
from .answers import Answer, AnswerStore
from .examples import Example, find_examples
from .jobs import Job, Jobs, StoppedError
from .limits import Limits
from .networks import estimators, find, find_motion, pipeline
from .photos import open_photo
from .rendering import ClipSettings, Workplace

logger = logging.getLogger(__name__)
Handler = TypeVar("Handler", bound=Callable[..., Any])

FIRST_DENSITY = 1.0
SWEEP_SECONDS = 300
EXAMPLE_PHOTO = "blurred.png"


def plainly(handler: Handler) -> Handler:
    """Turn whatever a handler raises into one sentence for the visitor; a fault of ours goes into the server's log."""

    @functools.wraps(handler)
    def handled(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except gr.Error:
            raise
        except StoppedError:
            raise gr.Error(text.STOPPED, title="Stopped", print_exception=False) from None
        except BadInputError as error:
            # The page shows the sentence as HTML.
            sentence = html.escape(" ".join(str(error).split()), quote=False)
            raise gr.Error(sentence, title="That did not work", print_exception=False) from None
        except Exception:
            logger.exception("a fault of ours")
            raise gr.Error(text.OUR_FAULT, title="That did not work", print_exception=False) from None

    return handled  # type: ignore[return-value]


@dataclass
class Turn:
    """How often one visitor's downloads have become outdated, and the answer they are of; files of an earlier turn are
    not handed out."""

    number: int = 0
    ticket: str | None = None


@dataclass(frozen=True)
class View:
    """What the page shows of one answer: the ticket of the answer, texts, and the files of the pictures."""

    ticket: str
    summary: str
    clip: Path
    before_after: tuple[Path, Path]
    trajectories: Path
    flow: Path

    def outputs(self) -> tuple[Any, ...]:
        """In the order of the page's outputs."""
        pictures = tuple(str(path) for path in self.before_after)
        files = str(self.clip), pictures, str(self.trajectories), str(self.flow)
        return self.ticket, self.summary, *files, *_no_point()


def _no_point() -> tuple[Any, str]:
    """The place of an enlarged point while none has been clicked, and its words."""
    return gr.update(value=None, visible=False), text.POINT_HINT


class Service:
    """The one service behind all visitors.

    Args:
        limits: what a visitor may ask for.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.models = estimators()
        if not self.models:
            raise BadInputError("this installation holds no bundled estimator; install the package from its wheel")
        self.answers = AnswerStore(limits.store_bytes, limits.keep_seconds)
        self.jobs = Jobs()
        # Inside Gradio's own folder files are served as they lie; elsewhere they would be copied.
        self.workplace = Workplace(Path(utils.get_upload_folder()), limits.keep_seconds)
        self._for_examples = Workplace(None, float("inf"))
        self.examples = find_examples()
        self._views: list[Future[View]] = []
        self._example_files: dict[str, Future[tuple[Path, ...]]] = {}
        self._example_lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="examples")
        self._closing = threading.Event()

    @property
    def default_model(self) -> str:
        return next(iter(self.models))

    @property
    def at_once(self) -> int:
        """Photos that the networks work on at the same time: a CPU's cores are all at work on one."""
        return 2 if pick_device("auto").type == "cuda" else 1

    def start(self) -> None:
        """Load the networks, and compute the examples in the background."""
        pipeline(self.default_model)
        self._views = [self._worker.submit(self._example_view, example) for example in self.examples]
        threading.Thread(target=self._keep_tidy, name="tidy", daemon=True).start()

    def _keep_tidy(self) -> None:
        """Delete what is too old even while nobody comes."""
        while not self._closing.wait(SWEEP_SECONDS):
            self.answers.sweep()
            self.workplace.sweep()

    def close(self) -> None:
        """Delete every file."""
        self._closing.set()
        self._worker.shutdown(wait=True, cancel_futures=True)
        self.workplace.close()
        self._for_examples.close()

    def _example_view(self, example: Example) -> View:
        photo = open_photo(str(example.path), self.limits.working_pixels[0], self.limits)
        answer = find(self.default_model, photo, self.limits.memory)
        folder = self._for_examples.new_folder()
        shutil.copyfile(example.path, folder / EXAMPLE_PHOTO)  # Gradio serves nothing from where packages lie
        return self._view(answer, ClipSettings(), FIRST_DENSITY, folder, pinned=True)

    def _view(
        self, answer: Answer, settings: ClipSettings, density: float, folder: Path, pinned: bool = False
    ) -> View:
        """The view of an answer; it is kept once everything is drawn, so that work stopped before leaves nothing."""
        return View(
            summary=text.summary_html(words.summary(answer), *words.consistency_words(answer.consistency)),
            clip=rendering.clip(answer, settings, folder),
            before_after=rendering.before_after(answer, folder),
            trajectories=self._drawn(answer, density, folder),
            flow=rendering.flow(answer, folder),
            ticket=self.answers.put(answer, pinned),
        )

    def _drawn(self, answer: Answer, density: float, folder: Path) -> Path:
        """The trajectories without the legend, which the page shows below them: on a phone it could not be read."""
        return rendering.trajectories(answer.photo, answer.control_points, answer.model, density, folder, legend=False)

    def _job(self, progress: gr.Progress | None) -> Job:
        return Job(self.limits.seconds, None if progress is None else lambda name, share: progress(share, desc=name))

    def _checked_model(self, model: str) -> str:
        if model not in self.models:
            raise BadInputError(f"There is no such model; give one of {', '.join(self.models)}")
        return model

    def _working_pixels(self, detail: int) -> int:
        sizes = self.limits.working_pixels
        if isinstance(detail, bool) or detail not in range(len(sizes)):
            raise BadInputError(f"detail: give a whole number from 0 to {len(sizes) - 1}")
        return sizes[int(detail)]

    # The page

    def example(self, index: int) -> tuple[Any, ...]:
        """An example's photo and its answer; the first visitor after the start may wait for it a moment."""
        view = self._views[index].result(timeout=self.limits.seconds)
        return str(view.clip.parent / EXAMPLE_PHOTO), *view.outputs()

    @plainly
    def first_example(self) -> tuple[Any, ...]:
        return self.example(0)

    @plainly
    def chosen_example(self, event: gr.SelectData) -> tuple[Any, ...]:
        index = event.index
        if not isinstance(index, int) or not 0 <= index < len(self._views):
            raise BadInputError("There is no such example; choose one of the pictures")
        return self.example(index)

    @plainly
    def run(
        self,
        photo: str | None,
        model: str,
        detail: int,
        frames: int,
        fps: float,
        back_and_forth: bool,
        seconds: float,
        density: float,
        old_ticket: str | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  (how Gradio finds it)
    ) -> tuple[Any, ...]:
        """The button: everything from the photo to the view. Stopped, it leaves the page as it is."""
        settings = ClipSettings(frames, fps, bool(back_and_forth), seconds)
        settings.check(self.limits)
        job = self._job(progress)
        try:
            with self.jobs.running(str(request.session_hash), job):
                job.step(text.STEP_READ, 0.02)
                picture = open_photo(photo, self._working_pixels(detail), self.limits)
                answer = find(self._checked_model(model), picture, self.limits.memory)
                job.step(text.STEP_DRAW, 0.8)
                view = self._view(answer, settings, density, self.workplace.new_folder())
        except StoppedError:
            gr.Info(text.STOPPED, title="Stopped")
            return tuple(gr.skip() for _ in self.no_answer())
        self.answers.drop(old_ticket)
        return view.outputs()

    def no_answer(self) -> tuple[Any, ...]:
        """The page with a photo that has not been answered yet."""
        return None, text.ready_html(), None, None, None, None, *_no_point()

    def stop(self, request: gr.Request) -> None:
        """The visitor leaves: whatever runs for them ends."""
        self.jobs.stop(str(request.session_hash))

    def stop_or_leave_line(self, times: float, request: gr.Request) -> tuple[Any, Any]:
        """The wish to stop: what runs for the visitor ends; with nothing running yet, the place in line is left."""
        running = self.jobs.stop(str(request.session_hash))
        return gr.skip() if running else times + 1, gr.update(visible=False)

    def abandon(self, request: gr.Request) -> Any:
        """Another photo is there: what runs for the one before ends, and with it the button that stops it."""
        self.stop(request)
        return gr.update(visible=False)

    @plainly
    def clip(self, ticket: str | None, frames: int, fps: float, back_and_forth: bool, seconds: float) -> str:
        """Another clip of the same answer; no network runs."""
        settings = ClipSettings(frames, fps, bool(back_and_forth), seconds)
        settings.check(self.limits)
        return str(rendering.clip(self.answers.get(ticket), settings, self.workplace.new_folder()))

    @plainly
    def draw(self, ticket: str | None, density: float) -> str:
        """The trajectories in another density."""
        answer = self.answers.get(ticket)
        return str(self._drawn(answer, density, self.workplace.new_folder()))

    @plainly
    def point(self, ticket: str | None, event: gr.SelectData) -> tuple[Any, str]:
        """The path of the pixel that was clicked, enlarged, and its own line of words."""
        answer = self.answers.get(ticket)
        x, y = rendering.clicked_pixel(answer, event.index)
        picture, path = rendering.point_picture(answer, x, y)
        target = self.workplace.new_folder() / "point.png"
        picture.save(target)
        return gr.update(value=str(target), visible=True), words.point_words(x, y, path)

    def outdate_downloads(self, turn: Turn, ticket: str | None) -> tuple[Any, ...]:
        """Switch the downloads off: they are no longer what the page shows."""
        turn.number, turn.ticket = turn.number + 1, ticket
        return turn.number, *[gr.update(interactive=False)] * len(text.DOWNLOADS)

    def outdate_old_downloads(self, turn: Turn, ticket: str | None) -> tuple[Any, ...]:
        """Switch them off if the page shows another answer; after work that was stopped it does not."""
        if ticket == turn.ticket:
            return tuple(gr.skip() for _ in (turn, *text.DOWNLOADS))
        return self.outdate_downloads(turn, ticket)

    @plainly
    def downloads(
        self, turn: Turn, ticket: str | None, frames: int, fps: float, back_and_forth: bool, seconds: float
    ) -> Any:
        """All files of an answer: MP4, GIF, frames, sharp frame, offsets."""
        if ticket is None:  # a new photo is there, and no answer yet
            return tuple(gr.skip() for _ in text.DOWNLOADS)
        number = turn.number
        settings = ClipSettings(frames, fps, bool(back_and_forth), seconds)
        settings.check(self.limits)
        answer = self.answers.get(ticket)
        if self.answers.pinned(ticket) and settings == ClipSettings():
            files = self._files_of_example(ticket, answer)
        else:
            files = self._files(answer, settings, self.workplace.new_folder())
        if turn.number != number:
            return tuple(gr.skip() for _ in files)
        return tuple(gr.update(value=str(path), interactive=True) for path in files)

    def _files(self, answer: Answer, settings: ClipSettings, folder: Path) -> tuple[Path, ...]:
        return (
            rendering.long_clip(answer, settings, folder),
            rendering.gif(answer, settings, folder),
            rendering.frames_zip(answer, settings, folder),
            rendering.sharp_png(answer, folder),
            rendering.offsets_npz(answer, settings, folder),
        )

    def _files_of_example(self, ticket: str, answer: Answer) -> tuple[Path, ...]:
        """Every visit asks for them: whoever comes first has them made, and everybody gets the same."""
        with self._example_lock:
            if ticket not in self._example_files:
                folder = self._for_examples.new_folder()
                self._example_files[ticket] = self._worker.submit(self._files, answer, ClipSettings(), folder)
        return self._example_files[ticket].result(timeout=self.limits.seconds)

    # The API

    @plainly
    def api_extract(
        self,
        photo: str | None,
        frames: int,
        fps: float,
        back_and_forth: bool,
        detail: int,
        model: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """Recover what moved while the shutter of a motion-blurred photo was open: a slow-motion clip, the sharp
        frame, the motion drawn over the photo, the motion as numbers, and a report that says how far to trust it."""
        settings = ClipSettings(frames, fps, bool(back_and_forth))
        settings.check(self.limits)
        with self.jobs.running(str(request.session_hash), self._job(None)):
            answer = find(self._checked_model(model), self._opened(photo, detail), self.limits.memory)
            folder = self.workplace.new_folder()
            drawn = rendering.trajectories(answer.photo, answer.control_points, answer.model, FIRST_DENSITY, folder)
            files = (
                rendering.clip(answer, settings, folder),
                rendering.sharp_png(answer, folder),
                drawn,
                rendering.offsets_npz(answer, settings, folder),
            )
        sentence, warning = words.consistency_words(answer.consistency)
        report = {
            "summary": words.summary(answer),
            "trust": sentence,
            "warning": warning,
            "consistency": answer.consistency,
            "width": answer.width,
            "height": answer.height,
            "model": answer.model,
            "trajectory": answer.trajectory,
        }
        return report, *(str(path) for path in files)

    @plainly
    def api_deblur(self, photo: str | None, detail: int, request: gr.Request) -> str:
        """Make the sharp frame of a motion-blurred photo, the scene in the middle of the exposure, as PNG."""
        with self.jobs.running(str(request.session_hash), self._job(None)):
            answer = find(self.default_model, self._opened(photo, detail), self.limits.memory)
            return str(rendering.sharp_png(answer, self.workplace.new_folder()))

    @plainly
    def api_trajectories(self, photo: str | None, density: float, detail: int, request: gr.Request) -> str:
        """Draw over a motion-blurred photo the paths that its points took during the exposure, coloured by time. Which
        end of a path came first, one photo cannot tell."""
        with self.jobs.running(str(request.session_hash), self._job(None)):
            picture = self._opened(photo, detail)
            points = find_motion(self.default_model, picture, self.limits.memory)
            folder = self.workplace.new_folder()
            return str(rendering.trajectories(picture, points, self.default_model, density, folder))

    def _opened(self, photo: str | None, detail: int) -> np.ndarray:
        return open_photo(photo, self._working_pixels(detail), self.limits)

    def thumbnails(self) -> list[tuple[Image.Image, str]]:
        """Small pictures of the examples and their captions."""
        shown = []
        for example in self.examples:
            with Image.open(example.path) as picture:
                small = picture.convert("RGB")
            small.thumbnail((320, 240))
            shown.append((small, example.caption))
        return shown
