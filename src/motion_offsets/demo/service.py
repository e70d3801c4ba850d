"""What happens on a click: every handler of the page, without its layout."""

from __future__ import annotations

import html
import shutil
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio import utils
from PIL import Image

from ..errors import BadInputError
from ..exposure.refine_steps import REFINE_STEPS
from ..runtime.allocation import give_back_free_memory
from ..runtime.devices import pick_device
from . import rendering, text, words
from .answers import Answer, AnswerStore
from .compare import compare_html
from .examples import Example, find_examples
from .faults import plainly, sentence
from .jobs import Job, Jobs, StoppedError
from .limits import Limits
from .link_preview import preview_picture
from .networks import deblurrers, estimators, find, longest, pipeline
from .photos import browsers_show, metadata_of, open_photo
from .rendering import ClipSettings, Workplace

FIRST_DENSITY = 1.0
SWEEP_SECONDS = 300
REST_SECONDS = 10
EXAMPLE_PHOTO = "blurred.png"


@dataclass
class Turn:
    """How often one visitor's downloads have become outdated, and the answer they belong to; files of an earlier turn
    are not handed out."""

    number: int = 0
    ticket: str | None = None


@dataclass(frozen=True)
class View:
    """What the page shows of one answer: the ticket of the answer, HTML, and the files of the pictures."""

    ticket: str
    summary: str
    clip: Path
    before_after: str
    trajectories: Path
    flow: Path

    def outputs(self) -> tuple[Any, ...]:
        """In the order of the page's outputs."""
        files = str(self.clip), self.before_after, str(self.trajectories), str(self.flow)
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
        self.deblurrers = deblurrers()
        self.answers = AnswerStore(limits.store_bytes, limits.keep_seconds)
        self.jobs = Jobs()
        # Inside Gradio's own folder files are served as they lie; elsewhere they would be copied.
        self.workplace = Workplace(Path(utils.get_upload_folder()), limits.keep_seconds)
        # Gradio deletes files in there after a while, but not those that only HTML names.
        self._for_examples = Workplace(None, float("inf"))
        self._in_html_of_examples = Workplace(Path(utils.get_upload_folder()), float("inf"))
        self.examples = find_examples()
        self._views: list[Future[View]] = []
        self.preview: Future[bytes]
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
        for example in self.examples:
            self._views.append(self._worker.submit(self._example_view, example))
            if len(self._views) == 1:
                self.preview = self._worker.submit(self._make_preview)
        threading.Thread(target=self._keep_tidy, name="tidy", daemon=True).start()

    def _keep_tidy(self) -> None:
        """Delete what is too old even while nobody comes, and give memory back once nobody has come for a while."""
        swept, seen, given_back = time.monotonic(), 0, 0
        while not self._closing.wait(REST_SECONDS):
            if time.monotonic() - swept >= SWEEP_SECONDS:
                self.answers.sweep()
                self.workplace.sweep()
                swept = time.monotonic()
            finished = self.jobs.finished + sum(view.done() for view in self._views)
            if not len(self.jobs) and finished == seen != given_back:
                # Kept freed memory makes the networks faster; at rest it serves nobody.
                give_back_free_memory()
                given_back = finished
            seen = finished

    def close(self) -> None:
        """Delete every file."""
        self._closing.set()
        self._worker.shutdown(wait=True, cancel_futures=True)
        self.workplace.close()
        self._for_examples.close()
        self._in_html_of_examples.close()

    def _example_view(self, example: Example) -> View:
        photo = open_photo(str(example.path), self.limits.working_pixels[0], self.limits)
        answer = find(self.default_model, photo, self.limits.memory)
        folder = self._for_examples.new_folder()
        shutil.copyfile(example.path, folder / EXAMPLE_PHOTO)  # Gradio serves nothing from where packages lie
        in_html = self._in_html_of_examples.new_folder()
        return self._view(answer, ClipSettings(), FIRST_DENSITY, folder, in_html, pinned=True)

    def _make_preview(self) -> bytes:
        """The picture that stands for the page where a link to it is posted."""
        answer = self.answers.get(self._views[0].result().ticket)
        return preview_picture(answer.photo, answer.sharp)

    def _view(
        self,
        answer: Answer,
        settings: ClipSettings,
        density: float,
        folder: Path,
        in_html: Path,
        pinned: bool = False,
    ) -> View:
        """The view of an answer; it is kept once everything is drawn, so that work stopped before leaves nothing."""
        return View(
            summary=text.summary_html(words.summary(answer), *words.verdict(answer.consistency)),
            clip=rendering.clip(answer, settings, folder),
            before_after=compare_html(*rendering.before_after(answer, in_html), answer.width, answer.height),
            trajectories=self.drawn(answer, density, folder),
            flow=rendering.flow(answer, folder),
            ticket=self.answers.put(answer, pinned),
        )

    def drawn(self, answer: Answer, density: float, folder: Path, legend: bool = False) -> Path:
        """The trajectories, on the page without the legend, which it shows below them: on a phone it could not be
        read."""
        found = answer.photo, answer.control_points, answer.model
        return rendering.trajectories(*found, density, folder, legend, answer.uncertainty)

    def job(
        self, request: gr.Request, progress: gr.Progress | None = None, deblurrer: str | None = None
    ) -> AbstractContextManager[Job]:
        """While it is entered, the visitor's work can be stopped; how long it may take depends on the deblurrer."""
        on_step = None if progress is None else lambda name, share: progress(share, desc=name)
        return self.jobs.running(str(request.session_hash), Job(longest(self.limits, deblurrer), on_step))

    def checked_model(self, model: str) -> str:
        if model not in self.models:
            raise BadInputError(f"model: unknown; give one of {', '.join(self.models)}")
        return model

    def _working_pixels(self, detail: int) -> int:
        sizes = self.limits.working_pixels
        if isinstance(detail, bool) or detail not in range(len(sizes)):
            raise BadInputError(f"detail: give a whole number from 0 to {len(sizes) - 1}")
        return sizes[int(detail)]

    # The page

    def example(self, index: int) -> tuple[Any, ...]:
        """An example's photo and its answer; the first visitor after the start may have to wait for it."""
        view = self._views[index].result(timeout=longest(self.limits))
        return str(view.clip.parent / EXAMPLE_PHOTO), *view.outputs()

    @plainly
    def first_example(self) -> tuple[Any, ...]:
        return self.example(0)

    @plainly
    def chosen_example(self, event: gr.SelectData) -> tuple[Any, ...]:
        index = event.index
        if not isinstance(index, int) or not 0 <= index < len(self._views):
            raise BadInputError("example: unknown; choose one of the pictures")
        return self.example(index)

    @plainly
    def run(
        self,
        photo: str | None,
        model: str,
        deblurrer: str,
        detail: int,
        frames: int,
        fps: float,
        back_and_forth: bool,
        seconds: float,
        density: float,
        refine: bool,
        safe: bool,
        old_ticket: str | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  (how Gradio finds it)
    ) -> tuple[Any, ...]:
        """The button: everything from the photo to the view. Stopped, it leaves the page as it is."""
        settings = ClipSettings(frames, fps, bool(back_and_forth), seconds)
        settings.check(self.limits)
        try:
            with self.job(request, progress, deblurrer) as job:
                job.step(text.STEP_READ, 0.02)
                picture = self.opened(photo, detail)
                steps = REFINE_STEPS if refine else 0
                found = find(self.checked_model(model), picture, self.limits.memory, steps, bool(safe), deblurrer)
                answer = replace(found, metadata=metadata_of(photo))
                job.step(text.STEP_DRAW, 0.85)
                folder = self.workplace.new_folder()
                view = self._view(answer, settings, density, folder, folder)
        except StoppedError:
            gr.Info(text.STOPPED, title="Stopped")
            return tuple(gr.skip() for _ in self.no_answer())
        self.answers.drop(old_ticket)
        return view.outputs()

    def no_answer(self, summary: str = text.ready_html()) -> tuple[Any, ...]:
        """The page with a photo that has not been answered yet."""
        return None, summary, None, "", None, None, *_no_point()

    def new_photo(self, photo: str | None) -> tuple[Any, ...]:
        """A visitor chose a photo, or removed it: the photo to show, and the page without an answer.

        One that cannot be read is removed at once. One that browsers cannot show is replaced by a copy that they can.
        """
        if photo is None:
            return gr.skip(), *self.no_answer(text.empty_html())
        try:
            picture = open_photo(photo, max(self.limits.working_pixels), self.limits)
        except BadInputError as error:
            return None, *self.no_answer(text.refused_html(sentence(error)))
        if browsers_show(photo):
            return gr.skip(), *self.no_answer()
        return str(rendering.upload_png(picture, self.workplace.new_folder(), metadata_of(photo))), *self.no_answer()

    # The headline while the networks work: `working`, `stop` and the timer that asks for the step

    def begin(self) -> tuple[Any, ...]:
        waiting = gr.update(value=text.working_html(text.WAITING), visible=True)
        return waiting, gr.update(visible=True), gr.Timer(active=True)

    def idle(self) -> tuple[Any, ...]:
        return gr.update(visible=False), gr.update(visible=False), gr.Timer(active=False)

    def step(self, request: gr.Request) -> Any:
        """The step that the visitor's work has come to."""
        return text.working_html(self.jobs.step_of(str(request.session_hash)) or text.WAITING)

    def stop(self, request: gr.Request) -> None:
        """The visitor leaves: their work is stopped."""
        self.jobs.stop(str(request.session_hash))

    def stop_or_leave_line(self, times: float, request: gr.Request) -> tuple[Any, ...]:
        """Stop what runs for the visitor; if nothing runs yet, they leave the line."""
        if self.jobs.stop(str(request.session_hash)):
            return gr.skip(), text.working_html(text.STOPPING), gr.update(visible=False), gr.Timer(active=False)
        return times + 1, *self.idle()

    def abandon(self, request: gr.Request) -> tuple[Any, ...]:
        """Another photo is there: what runs for the one before ends."""
        self.stop(request)
        return self.idle()

    def shared(self, outcome: str) -> None:
        """Tell what the script of the button "Share" did: nothing, a copied address, or an address to copy."""
        if outcome == "copied":
            gr.Info(text.COPIED)
        elif outcome.startswith(("http://", "https://")):
            gr.Info(html.escape(outcome))

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
        return str(self.drawn(answer, density, self.workplace.new_folder()))

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
        """Disable the downloads: they are no longer what the page shows."""
        turn.number, turn.ticket = turn.number + 1, ticket
        return turn.number, *[gr.update(interactive=False)] * len(text.DOWNLOADS)

    def outdate_old_downloads(self, turn: Turn, ticket: str | None) -> tuple[Any, ...]:
        """Disable them if the page shows another answer; after work that was stopped it does not."""
        if ticket == turn.ticket:
            return tuple(gr.skip() for _ in (turn, *text.DOWNLOADS))
        return self.outdate_downloads(turn, ticket)

    @plainly
    def downloads(
        self,
        turn: Turn,
        ticket: str | None,
        frames: int,
        fps: float,
        back_and_forth: bool,
        seconds: float,
        location: bool,
    ) -> Any:
        """All files of an answer: MP4, GIF, frames, sharp frame, offsets.

        Args:
            location: whether the pictures tell where the photo was taken.
        """
        if ticket is None:  # a new photo is there, and no answer yet
            return tuple(gr.skip() for _ in text.DOWNLOADS)
        number = turn.number
        settings = ClipSettings(frames, fps, bool(back_and_forth), seconds)
        settings.check(self.limits)
        answer = self.answers.get(ticket)
        if self.answers.pinned(ticket) and settings == ClipSettings():
            files = self._files_of_example(ticket, answer)
        else:
            files = self._files(answer, settings, self.workplace.new_folder(), bool(location))
        if turn.number != number:
            return tuple(gr.skip() for _ in files)
        return tuple(gr.update(value=str(path), interactive=True) for path in files)

    def _files(self, answer: Answer, settings: ClipSettings, folder: Path, location: bool = False) -> tuple[Path, ...]:
        return (
            rendering.long_clip(answer, settings, folder),
            rendering.gif(answer, settings, folder),
            rendering.frames_zip(answer, settings, folder, location),
            rendering.sharp_png(answer, folder, location),
            rendering.offsets_npz(answer, settings, folder),
        )

    def _files_of_example(self, ticket: str, answer: Answer) -> tuple[Path, ...]:
        """Every visit asks for them: whoever comes first has them made, and everybody gets the same."""
        with self._example_lock:
            if ticket not in self._example_files:
                folder = self._for_examples.new_folder()
                self._example_files[ticket] = self._worker.submit(self._files, answer, ClipSettings(), folder)
        return self._example_files[ticket].result(timeout=longest(self.limits))

    def opened(self, photo: str | None, detail: int) -> np.ndarray:
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
