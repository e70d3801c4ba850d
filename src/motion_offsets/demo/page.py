"""The layout of the page, and which part of it calls what."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import rendering, text
from .addresses import Page
from .photos import PhotoInput
from .rendering import ClipSettings
from .service import FIRST_DENSITY, Service, Turn
from .sliders import Slider

CSS = """
.gradio-container { max-width: 1240px !important; margin: 0 auto !important; }
#mo-title h1 { font-size: clamp(1.5rem, 4.5vw, 2.3rem); line-height: 1.15; margin-bottom: .3rem; }
#mo-title p { font-size: 1.05rem; max-width: 46rem; color: var(--body-text-color-subdued); }
#mo-summary { padding: 0; min-height: 4.5rem; }
.mo-summary { font-size: 1.2rem; font-weight: 600; margin: 0 0 .5rem; color: var(--body-text-color); }
.mo-trust { border-left: 4px solid; border-radius: 6px; padding: .5rem .8rem; margin: 0; color: var(--body-text-color);
  background: var(--background-fill-secondary); }
.mo-fine { border-color: #16a34a; }
.mo-warning { border-color: #f59e0b; background: color-mix(in srgb, #f59e0b 14%, var(--background-fill-primary)); }
#mo-downloads { gap: .5rem; }
.mo-legend { display: flex; gap: .6rem; align-items: center; font-size: .85rem; }
.mo-legend span:nth-child(2) { flex: 0 1 9rem; height: .5rem; border-radius: .25rem; }
.mo-hint, .mo-hint p { font-size: .9rem; color: var(--body-text-color-subdued); }
#mo-flow .image-frame { width: 100%; }
#mo-paths img, #mo-flow img { max-height: 75vh; object-fit: contain; }
#mo-flow img { width: 100%; height: auto; }
#mo-paths img { cursor: crosshair; }
#mo-clip video { width: 100%; max-height: 75vh; }
#mo-examples .grid-wrap, #mo-examples .gallery-container { min-height: 0 !important; height: auto !important; }
@media (max-width: 640px) {
  .tab-container button { padding-left: .6rem !important; padding-right: .6rem !important; }
  #mo-title p { font-size: 1rem; }
  .mo-summary { font-size: 1.1rem; }
}
footer { opacity: .8; }
"""


# Phones play a clip in the page, and by itself, only if it is marked so; Gradio's player marks it not.
HEAD = """<style>
@media (max-width: 640px) { .gradio-container > .main.fillable { padding: 1rem !important; } }
</style>
<script>
new MutationObserver(() => {
  for (const video of document.querySelectorAll("#mo-clip video:not([playsinline])")) {
    video.muted = true;
    video.setAttribute("playsinline", "");
    if (video.paused) video.play().catch(() => {});
  }
}).observe(document, {childList: true, subtree: true});
</script>"""

# On a phone the answer lies below the button.
SHOW_ANSWER = """() => {
  if (window.innerWidth < 700) document.querySelector("#mo-summary").scrollIntoView({behavior: "smooth"});
}"""


def theme() -> gr.Theme:
    """Colours and fonts; the fonts are the visitor's own, so nothing is fetched from elsewhere."""
    fonts = ("ui-sans-serif", "system-ui", "sans-serif")
    mono = ("ui-monospace", "Consolas", "monospace")
    soft = gr.themes.Soft(
        primary_hue="indigo", secondary_hue="indigo", neutral_hue="slate", font=fonts, font_mono=mono
    )
    # Titles of controls as plain text, not as chips.
    return soft.set(
        block_title_background_fill="none",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_text_weight="500",
        block_title_padding="0",
        body_text_color_subdued="*neutral_500",
        body_background_fill="*neutral_50",
    )


def build(service: Service) -> gr.Blocks:
    """The page of a service, with its API."""
    limits = service.limits
    keep = int(limits.keep_seconds)
    with Page(title=text.TITLE, analytics_enabled=False, delete_cache=(300, keep)) as page:
        ticket = gr.State(None, time_to_live=keep)
        turn, wanted = gr.State(Turn()), gr.Number(0, visible="hidden", container=False)
        stopped_in_line = gr.Number(0, visible="hidden", container=False)
        gr.Markdown(f"# {text.TITLE}\n\n{text.INTRO}", elem_id="mo-title")
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
                    columns=3,
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
                    detail = gr.Radio(text.detail_choices(limits), value=0, label=text.DETAIL, elem_id="mo-detail")
            with gr.Column(scale=3, min_width=280):
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
                        before_after = gr.ImageSlider(
                            label=text.BEFORE_AFTER,
                            show_label=False,
                            interactive=False,
                            max_height=620,
                            buttons=["fullscreen"],
                            elem_id="mo-slider",
                        )
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

        def hide_stop() -> Any:
            return gr.update(visible=False)

        # The one place where they are made: what a visitor wanted in between is skipped, and never shown.
        wanted.change(
            service.downloads,
            [turn, ticket, *clip_controls],
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
        drawn = density.release(service.draw, [ticket, density], paths, trigger_mode="always_last", **drawing)
        pointed = paths.select(service.point, ticket, [point, point_words], trigger_mode="always_last", **drawing)

        # The results
        run.click(lambda: gr.update(visible=True), None, stop, js=SHOW_ANSWER, **quietly)
        ran = run.click(
            service.run,
            [photo, model, detail, *clip_controls, density, ticket],
            view,
            show_progress_on=clip,
            **networks,
            **unlisted,
        )
        # Gradio goes on with `then` after a success only.
        ran.then(hide_stop, None, stop, **quietly)
        # The clip goes on: Gradio writes a large "Error" over it, and sometimes for work that was only cancelled.
        ran.failure(lambda: (gr.update(visible=False), gr.skip()), None, [stop, clip], **quietly)
        ran.success(service.outdate_old_downloads, [turn, ticket], [wanted, *downloads], **quietly)
        # Work that has begun ends by itself and the page keeps what it shows; who still waits in line is cancelled.
        stop.click(service.stop_or_leave_line, stopped_in_line, [stopped_in_line, stop], **quietly)
        stopped_in_line.change(service.stop, cancels=[ran], **quietly)
        page.unload(service.stop)

        # Another photo: nothing that is still under way for the one before may arrive beside it.
        old = [ran, changed, drawn, pointed]
        photo.input(service.abandon, None, stop, cancels=old, **quietly)
        photo.input(service.no_answer, None, view, **quietly)
        photo.input(service.outdate_downloads, [turn, ticket], [wanted, *downloads], **quietly)
        examples.select(service.abandon, None, stop, cancels=old, js=SHOW_ANSWER, **quietly)
        # Not in line behind the files that each visit asks for: the page would stay empty meanwhile.
        at_once: dict[str, Any] = {"queue": False, **unlisted}
        for event in (
            page.load(service.first_example, None, [photo, *view], show_progress="hidden", **at_once),
            examples.select(service.chosen_example, None, [photo, *view], show_progress_on=clip, **at_once),
        ):
            outdate_downloads(event)

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
        report, clip = gr.JSON(label="report"), gr.Video(label="clip", interactive=False)
        sharp, drawn, offsets = gr.File(label="sharp"), gr.File(label="trajectories"), gr.File(label="motion_offsets")
        trigger = gr.Button()
        trigger.click(
            service.api_extract,
            [photo, frames, fps, back_and_forth, detail, model],
            [report, clip, sharp, drawn, offsets],
            api_name="extract",
            **networks,
        )
        trigger.click(service.api_deblur, [photo, detail], sharp, api_name="deblur", **networks)
        trigger.click(service.api_trajectories, [photo, density, detail], drawn, api_name="trajectories", **networks)
