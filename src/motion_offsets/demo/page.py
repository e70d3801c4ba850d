"""The layout of the page, and which part of it calls what."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import rendering, text
from .addresses import Page
from .endpoints import Endpoints
from .links import links
from .photos import PhotoInput
from .rendering import ClipSettings
from .service import FIRST_DENSITY, Service, Turn
from .sliders import Slider
from .style import SHARE, SHOW_ANSWER

STEP_SECONDS = 0.7  # between two looks at the step of the work


def build(service: Service) -> gr.Blocks:
    """The page of a service, with its API."""
    limits = service.limits
    keep = int(limits.keep_seconds)
    with Page(title=text.TITLE, analytics_enabled=False, delete_cache=(300, keep)) as page:
        ticket = gr.State(None, time_to_live=keep)
        timer = gr.Timer(STEP_SECONDS, active=False)
        turn, wanted = gr.State(Turn()), gr.Number(0, visible="hidden", container=False)
        stopped_in_line = gr.Number(0, visible="hidden", container=False)
        gr.Markdown(f"# {text.TITLE}\n\n{text.INTRO}\n\n{text.links_html(links())}", elem_id="mo-title")
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=280):
                photo = PhotoInput(
                    label=text.PHOTO,
                    sources=["upload", "clipboard", "webcam"],
                    type="filepath",
                    height=300,
                    elem_id="mo-photo",
                )
                run = gr.Button(text.RUN, variant="primary", elem_id="mo-run")
                gr.Markdown(text.EXAMPLES, elem_classes="mo-hint")
                examples = gr.Gallery(
                    service.thumbnails(),
                    label="Examples",
                    show_label=False,
                    container=False,
                    columns=2,
                    height="auto",
                    object_fit="cover",
                    allow_preview=False,
                    interactive=False,
                    buttons=[],
                    elem_id="mo-examples",
                )
                with gr.Accordion(text.MORE, open=False):
                    model = gr.Dropdown(
                        [(text.MODELS.get(kind, kind), name) for name, kind in service.models.items()],
                        value=service.default_model,
                        label=text.MODEL,
                        visible=len(service.models) > 1,
                        elem_id="mo-model",
                    )
                    deblurrer = gr.Dropdown(
                        text.deblurrer_choices(service.deblurrers),
                        value=next(iter(service.deblurrers)),
                        label=text.DEBLURRER,
                        visible=len(service.deblurrers) > 1,
                        elem_id="mo-deblurrer",
                    )
                    detail = gr.Radio(text.detail_choices(limits), value=0, label=text.DETAIL, elem_id="mo-detail")
                    refine = gr.Checkbox(True, label=text.REFINE, elem_id="mo-refine")
                    safe = gr.Checkbox(False, label=text.SAFE, elem_id="mo-safe")
            with gr.Column(scale=3, min_width=280, elem_id="mo-answer"):
                working = gr.HTML(elem_id="mo-working", visible=False)
                summary = gr.HTML(elem_id="mo-summary")
                stop = gr.Button(text.STOP, variant="stop", size="sm", elem_id="mo-stop", visible=False)
                with gr.Tabs():
                    with gr.Tab(text.TABS[0]):
                        clip = gr.Video(
                            label=text.CLIP,
                            show_label=False,
                            autoplay=True,
                            loop=True,
                            interactive=False,
                            buttons=[],
                            elem_id="mo-clip",
                        )
                        with gr.Row():
                            start = ClipSettings()
                            frames = Slider(
                                rendering.MIN_FRAMES,
                                limits.frames,
                                value=start.frames,
                                step=1,
                                label=text.FRAMES,
                                elem_id="mo-frames",
                            )
                            fps = Slider(
                                rendering.MIN_FPS,
                                rendering.MAX_FPS,
                                value=start.fps,
                                step=1,
                                label=text.FPS,
                                elem_id="mo-fps",
                            )
                        with gr.Row():
                            back_and_forth = gr.Checkbox(
                                start.back_and_forth, label=text.BACK_AND_FORTH, elem_id="mo-back"
                            )
                            seconds = Slider(
                                0,
                                limits.clip_seconds,
                                value=start.seconds,
                                step=1,
                                label=text.SECONDS,
                                info=text.SECONDS_INFO,
                                elem_id="mo-seconds",
                            )
                    with gr.Tab(text.TABS[1]):
                        before_after = gr.HTML(elem_id="mo-slider")
                        gr.Markdown(text.BEFORE_AFTER_HINT, elem_classes="mo-hint")
                    with gr.Tab(text.TABS[2]):
                        paths = gr.Image(
                            label=text.PATHS,
                            show_label=False,
                            interactive=False,
                            type="filepath",
                            buttons=["fullscreen"],
                            elem_id="mo-paths",
                        )
                        gr.HTML(text.legend_html(), padding=False)
                        point_words = gr.Markdown(text.POINT_HINT, elem_id="mo-point-words")
                        point = gr.Image(
                            label=text.POINT,
                            show_label=False,
                            interactive=False,
                            visible=False,
                            height=340,
                            buttons=[],
                            elem_id="mo-point",
                        )
                        density = Slider(
                            rendering.MIN_DENSITY,
                            rendering.MAX_DENSITY,
                            value=FIRST_DENSITY,
                            step=0.1,
                            label=text.DENSITY,
                            elem_id="mo-density",
                        )
                    with gr.Tab(text.TABS[3]):
                        flow = gr.Image(
                            label=text.FLOW,
                            show_label=False,
                            interactive=False,
                            buttons=["fullscreen"],
                            elem_id="mo-flow",
                        )
                        gr.Markdown(text.FLOW_HINT, elem_classes="mo-hint")
                gr.Markdown(f"**{text.DOWNLOADS_TITLE}**")
                with gr.Row(elem_id="mo-downloads"):
                    downloads = [
                        gr.DownloadButton(label, size="sm", interactive=False, min_width=130)
                        for label in text.DOWNLOADS
                    ]
                    share = gr.Button(text.SHARE, size="sm", scale=0, min_width=130, elem_id="mo-share")
                location = gr.Checkbox(False, label=text.LOCATION, container=False, elem_id="mo-location")
        with gr.Accordion("About", open=False):
            gr.Markdown(text.about(limits))

        view = [ticket, summary, clip, before_after, paths, flow, point, point_words]
        clip_controls = [frames, fps, back_and_forth, seconds]
        unlisted: dict[str, Any] = {"api_visibility": "private"}
        networks: dict[str, Any] = {"concurrency_id": "networks", "concurrency_limit": service.at_once}
        drawing: dict[str, Any] = {"concurrency_id": "drawing", "concurrency_limit": 2, **unlisted}

        quietly: dict[str, Any] = {"queue": False, "show_progress": "hidden", **unlisted}

        def outdate_downloads(event: Any) -> None:
            event.success(service.outdate_downloads, [turn, ticket], [wanted, *downloads], **quietly)

        # The one place where they are made: what a visitor wanted in between is skipped, and never shown.
        wanted.change(
            service.downloads,
            [turn, ticket, *clip_controls, location],
            downloads,
            show_progress="hidden",
            trigger_mode="always_last",
            **drawing,
        )

        # Changes that need no network
        changed = gr.on(
            [frames.release, fps.release, back_and_forth.input],
            service.clip,
            [ticket, *clip_controls],
            clip,
            trigger_mode="always_last",
            **drawing,
        )
        outdate_downloads(changed)
        outdate_downloads(seconds.release(lambda: None, **quietly))
        outdate_downloads(location.input(lambda: None, **quietly))
        drawn = density.release(service.draw, [ticket, density], paths, trigger_mode="always_last", **drawing)
        pointed = paths.select(service.point, ticket, [point, point_words], trigger_mode="always_last", **drawing)

        # The results
        at_work = [working, stop, timer]
        run.click(service.begin, None, at_work, js=SHOW_ANSWER, **quietly)
        timer.tick(service.step, None, working, **quietly)
        ran = run.click(
            service.run,
            [photo, model, deblurrer, detail, *clip_controls, density, refine, safe, ticket],
            view,
            show_progress_on=clip,
            **networks,
            **unlisted,
        )
        # Gradio goes on with `then` after a success only.
        ran.then(service.idle, None, at_work, **quietly)
        # The clip goes on: Gradio writes a large "Error" over it, and sometimes for work that was only cancelled.
        ran.failure(lambda: (*service.idle(), gr.skip()), None, [*at_work, clip], **quietly)
        ran.success(service.outdate_old_downloads, [turn, ticket], [wanted, *downloads], **quietly)
        # Work that has begun ends by itself and the page keeps what it shows; who still waits in line is cancelled.
        stop.click(service.stop_or_leave_line, stopped_in_line, [stopped_in_line, *at_work], **quietly)
        stopped_in_line.change(service.stop, cancels=[ran], **quietly)
        page.unload(service.stop)

        # Another photo: nothing that is still under way for the one before may arrive beside it.
        old = [ran, changed, drawn, pointed]
        photo.input(service.abandon, None, at_work, cancels=old, **quietly)
        photo.input(service.new_photo, photo, [photo, *view], show_progress="hidden", concurrency_limit=2, **unlisted)
        photo.input(service.outdate_downloads, [turn, ticket], [wanted, *downloads], **quietly)
        examples.select(service.abandon, None, at_work, cancels=old, js=SHOW_ANSWER, **quietly)
        # Not in line behind the files that each visit asks for: the page would stay empty meanwhile.
        at_once: dict[str, Any] = {"queue": False, **unlisted}
        for event in (
            page.load(service.first_example, None, [photo, *view], show_progress="hidden", **at_once),
            examples.select(service.chosen_example, None, [photo, *view], show_progress_on=clip, **at_once),
        ):
            outdate_downloads(event)

        outcome = gr.Textbox(visible="hidden", container=False)
        share.click(None, None, outcome, js=SHARE, **quietly).then(
            service.shared, outcome, None, concurrency_limit=None, **unlisted
        )

        _add_api(service, networks)
    page.queue(max_size=limits.queue)
    return page


def _add_api(service: Service, networks: dict[str, Any]) -> None:
    """The named endpoints: components that nobody sees, so that their types are what a client reads."""
    start = ClipSettings()
    with gr.Column(visible=False):
        photo = PhotoInput(type="filepath", label="photo")
        frames = gr.Number(start.frames, precision=0, label="frames")
        fps = gr.Number(start.fps, label="fps")
        back_and_forth = gr.Checkbox(False, label="back_and_forth")
        detail = gr.Number(0, precision=0, label="detail")
        density = gr.Number(FIRST_DENSITY, label="density")
        model = gr.Textbox(service.default_model, label="model")
        refine, safe = gr.Checkbox(True, label="refine"), gr.Checkbox(False, label="safe")
        location = gr.Checkbox(False, label="location")
        deblurrer = gr.Textbox(next(iter(service.deblurrers)), label="deblurrer")
        report, clip = gr.JSON(label="report"), gr.Video(label="clip", interactive=False)
        sharp, drawn, offsets = gr.File(label="sharp"), gr.File(label="trajectories"), gr.File(label="motion_offsets")
        trigger = gr.Button()
        endpoints = Endpoints(service)
        trigger.click(
            endpoints.extract,
            [photo, frames, fps, back_and_forth, detail, model, refine, safe, location, deblurrer],
            [report, clip, sharp, drawn, offsets],
            api_name="extract",
            **networks,
        )
        trigger.click(
            endpoints.deblur, [photo, detail, safe, location, deblurrer], sharp, api_name="deblur", **networks
        )
        trigger.click(endpoints.trajectories, [photo, density, detail], drawn, api_name="trajectories", **networks)
