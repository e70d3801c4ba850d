"""The page in a real browser. Screenshots go to ``MOTION_OFFSETS_SCREENSHOTS``, else to pytest's temporary folder."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from looks import CUT_OFF, LOW_CONTRAST
from PIL import Image

from motion_offsets.demo import text
from motion_offsets.io.motion_files import load_motion
from motion_offsets.io.video import read_video

SECONDS = 1000
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
Keep = Callable[[Any, str], None]


@pytest.fixture(scope="module")
def keep_screenshot(tmp_path_factory: pytest.TempPathFactory) -> Keep:
    folder = Path(os.environ.get("MOTION_OFFSETS_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=folder / f"{name}.png", full_page=True)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of a bundled example, small so that the networks take a second."""
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    with Image.open(Path(__file__).parents[2] / "examples" / "cat.png") as picture:
        picture.crop((60, 30, 316, 222)).save(path)
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Path:
    """One that the networks work on for long."""
    path = tmp_path_factory.mktemp("photos") / "large.png"
    with Image.open(photo) as picture:
        picture.resize((2048, 1536)).save(path)
    return path


@pytest.fixture
def open_page(browser: Any, server: Any) -> Iterator[Callable[..., Any]]:
    """Opens the page and waits for the example that it greets with."""
    pages = []

    def opened(viewport: dict[str, int] = WIDE, dark: bool = False) -> Any:
        page = browser.new_page(viewport=viewport, color_scheme="dark" if dark else "light")
        page.set_default_timeout(60 * SECONDS)
        pages.append(page)
        page.goto(server.url)
        page.locator(".mo-trust").wait_for()
        page.locator("#mo-clip video").wait_for()
        return page

    yield opened
    for page in pages:
        page.close()


def _upload(page: Any, path: Path) -> None:
    with page.expect_response(re.compile("/upload")):
        page.locator("#mo-photo input[type=file]").set_input_files(path)
    page.get_by_text(text.READY).wait_for()


def _start(page: Any, path: Path) -> None:
    """Long work begins."""
    page.locator("#mo-photo").get_by_label("Remove Image").click()
    _upload(page, path)
    page.get_by_text(text.MORE).click()
    page.get_by_label(re.compile("Fine")).click()
    page.locator("#mo-run").click()
    page.get_by_text(text.STEP_MOTION).first.wait_for()


def _run(page: Any, path: Path) -> None:
    page.locator("#mo-photo").get_by_label("Remove Image").click()
    _upload(page, path)
    page.locator("#mo-run").click()
    page.locator(".mo-trust").wait_for()


def _wait_until_nothing_covers(page: Any) -> None:
    """Gradio writes a large "Error" over results."""
    page.locator("#mo-clip .error").wait_for(state="detached")


def _duration(page: Any) -> float:
    return page.locator("#mo-clip video").evaluate("video => video.duration")


def _set(page: Any, slider: str, value: int) -> None:
    box = page.locator(f"#{slider} input[type=number]")
    box.fill(str(value))
    box.press("Enter")


def _place_of_line(page: Any) -> float:
    """In percent of the width."""
    return float(page.locator(".mo-compare").evaluate("one => getComputedStyle(one).getPropertyValue('--at')")[:-1])


def test_a_photo_gives_everything(open_page: Callable[..., Any], photo: Path, keep_screenshot: Keep) -> None:
    page = open_page()
    hosts = set()
    page.on("request", lambda request: hosts.add(urlparse(request.url).hostname))
    _run(page, photo)
    assert "pixel" in page.locator(".mo-summary").inner_text()

    # The clip plays, in a loop, inside the page
    page.wait_for_function("() => document.querySelector('#mo-clip video')?.currentTime > 0.2")
    video = page.locator("#mo-clip video")
    assert video.evaluate("video => [video.loop, video.muted, video.playsInline]") == [True, True, True]
    assert _duration(page) == pytest.approx(28 / 15, abs=0.02)
    keep_screenshot(page, "clip")

    # Another number of frames, another speed
    _set(page, "mo-frames", 9)
    page.wait_for_function(f"() => Math.abs(document.querySelector('#mo-clip video')?.duration - {16 / 15}) < 0.02")
    page.locator("#mo-back input").click()
    page.wait_for_function(f"() => Math.abs(document.querySelector('#mo-clip video')?.duration - {9 / 15}) < 0.02")
    _set(page, "mo-fps", 30)
    page.wait_for_function(f"() => Math.abs(document.querySelector('#mo-clip video')?.duration - {9 / 30}) < 0.02")
    _set(page, "mo-fps", 0)  # the least there is
    page.wait_for_function(f"() => Math.abs(document.querySelector('#mo-clip video')?.duration - {9 / 2}) < 0.02")
    page.locator("#mo-fps input[type=range]").press("ArrowRight")
    page.wait_for_function(f"() => Math.abs(document.querySelector('#mo-clip video')?.duration - {9 / 3}) < 0.02")
    _set(page, "mo-seconds", 2)

    # The line between photo and sharp picture follows mouse and keys
    page.get_by_role("tab", name="Sharp").click()
    line = page.get_by_role("slider", name=text.LINE)
    box = line.bounding_box()
    line.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert _place_of_line(page) == 48
    page.mouse.move(box["x"] + box["width"] * 0.48, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 5, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert _place_of_line(page) == pytest.approx(20, abs=3)
    pictures = page.locator("#mo-slider img")
    assert pictures.evaluate_all("all => all.map(one => [one.naturalWidth, one.naturalHeight])") == [[256, 192]] * 2
    keep_screenshot(page, "sharp")

    # A click shows that pixel's own path
    page.get_by_role("tab", name="Paths").click()
    drawing = page.locator("#mo-paths img")
    size = drawing.bounding_box()
    drawing.click(position={"x": size["width"] * 0.25, "y": size["height"] * 0.5})
    words = page.get_by_text(re.compile(r"The point at \d+, \d+"))
    words.wait_for()
    x, y = map(int, re.findall(r"at (\d+), (\d+)", words.inner_text())[0])
    assert (x, y) == (pytest.approx(64, abs=2), pytest.approx(96, abs=2))
    page.wait_for_function("() => document.querySelector('#mo-point img')?.naturalWidth === 560")
    shown = drawing.get_attribute("src")
    _set(page, "mo-density", 2)
    page.wait_for_function("shown => document.querySelector('#mo-paths img').src !== shown", arg=shown)
    keep_screenshot(page, "paths")

    page.get_by_role("tab", name="Colour").click()
    page.locator("#mo-flow img").wait_for()
    keep_screenshot(page, "colour")
    assert hosts == {"127.0.0.1"}, "nothing is fetched from elsewhere"


def test_every_download_opens(open_page: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    page = open_page()
    _run(page, photo)
    _set(page, "mo-seconds", 3)
    files = {}
    page.locator("#mo-downloads button:disabled").first.wait_for()  # while the files are made again
    for label in text.DOWNLOADS:
        with page.expect_download() as download:
            page.get_by_role("button", name=label).click()
        files[label] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[label])
    clip, gif, frames, sharp, motion = (files[label] for label in text.DOWNLOADS)
    decoded, fps = read_video(clip)
    assert fps == 15
    assert len(decoded) == 56, "as often as fills three seconds"
    with Image.open(gif) as animation:
        assert (animation.n_frames, animation.size) == (28, (256, 192))
    with zipfile.ZipFile(frames) as archive:
        assert archive.namelist() == [f"frame-{number:04d}.png" for number in range(1, 16)]
        middle = Image.open(archive.open("frame-0008.png")).convert("RGB").tobytes()
    with Image.open(sharp) as picture:
        assert picture.tobytes() == middle, "the frame in the middle is the sharp one"
    assert load_motion(motion).control_points.shape == (1, 4, 192, 256)


def test_stop_stops_and_the_next_photo_is_answered(open_page: Callable[..., Any], photo: Path, large: Path) -> None:
    page = open_page()
    _start(page, large)
    page.locator("#mo-stop").click()
    page.locator("#mo-stop").wait_for(state="hidden")
    page.get_by_text(text.STOPPED).wait_for()
    page.get_by_text(text.READY).wait_for()
    _wait_until_nothing_covers(page)
    page.get_by_label(re.compile("Quick")).click()
    _run(page, photo)


def test_stop_leaves_the_answer_before_as_it_was(open_page: Callable[..., Any], photo: Path, large: Path) -> None:
    """Both at work and in line."""
    page, other = open_page(), open_page()
    page.locator("#mo-downloads button:enabled").first.wait_for()
    shown = [page.locator(selector).inner_html() for selector in ("#mo-summary", "#mo-downloads")]
    _start(other, large)
    page.locator("#mo-run").click()  # behind the other
    page.locator("#mo-stop").click()
    page.locator("#mo-stop").wait_for(state="hidden")
    other.locator("#mo-stop").click()
    other.get_by_text(text.STOPPED).wait_for()
    _run(other, photo)  # whoever was in line would have had their turn before
    assert [page.locator(selector).inner_html() for selector in ("#mo-summary", "#mo-downloads")] == shown
    _wait_until_nothing_covers(page)

    page.locator("#mo-run").click()
    # Whichever step is met first: on a quick machine, or a loaded one, the page may not show each of them.
    page.get_by_text(re.compile("|".join(map(re.escape, (text.STEP_MOTION, text.STEP_SHARP))))).first.wait_for()
    page.locator("#mo-stop").click()
    page.get_by_text(text.STOPPED).wait_for()
    assert [page.locator(selector).inner_html() for selector in ("#mo-summary", "#mo-downloads")] == shown
    _wait_until_nothing_covers(page)
    page.get_by_role("tab", name="Paths").click()
    page.locator("#mo-paths img").click()
    page.get_by_text(re.compile(r"The point at \d+, \d+")).wait_for()


def test_another_photo_ends_the_work_on_the_one_before(
    open_page: Callable[..., Any], photo: Path, large: Path
) -> None:
    chose, uploaded, other = open_page(), open_page(), open_page()
    _start(chose, large)
    chose.locator("#mo-examples button").nth(1).click()
    chose.locator("#mo-stop").wait_for(state="hidden")
    chose.locator(".mo-trust").wait_for()
    summary = chose.locator("#mo-summary").inner_html()
    _start(uploaded, large)
    uploaded.locator("#mo-photo").get_by_label("Remove Image").click()
    uploaded.locator("#mo-stop").wait_for(state="hidden")
    _upload(uploaded, photo)
    _run(other, photo)  # one after the other: a late answer would be there by now
    assert chose.locator("#mo-summary").inner_html() == summary
    assert uploaded.get_by_text(text.READY).is_visible()
    for page in (chose, uploaded):
        _wait_until_nothing_covers(page)


def test_what_belongs_to_a_photo_goes_with_it(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.get_by_role("tab", name="Paths").click()
    page.locator("#mo-paths img").click()
    words = page.get_by_text(re.compile(r"The point at \d+, \d+"))
    words.wait_for()
    page.locator("#mo-examples button").nth(1).click()
    words.wait_for(state="detached")
    page.locator("#mo-point").wait_for(state="hidden")


def test_files_that_are_not_photos_are_refused_in_one_sentence(
    open_page: Callable[..., Any], photo: Path, tmp_path: Path, keep_screenshot: Keep
) -> None:
    page = open_page()
    wrong, empty = tmp_path / "text.png", tmp_path / "empty.png"
    wrong.write_text("not a picture")
    empty.write_bytes(b"")
    for number, (path, complaint) in enumerate(
        [(wrong, "Your photo: not a picture that can be read"), (empty, "Your photo: is empty (0 bytes)")]
    ):
        if number == 0:
            page.get_by_label("Remove Image").first.click()
        page.locator("#mo-photo input[type=file]").set_input_files(path)
        page.locator("#mo-summary").get_by_text(complaint).wait_for()
        assert page.locator("#mo-photo img").count() == 0, "no broken picture is left"
        assert "Traceback" not in page.content()
        keep_screenshot(page, f"error-{number}")
    _upload(page, photo)
    assert page.get_by_text(complaint).count() == 0


def test_a_format_that_browsers_do_not_show_is_shown(open_page: Callable[..., Any], photo: Path) -> None:
    page, scan = open_page(), photo.with_suffix(".tif")
    with Image.open(photo) as picture:
        picture.save(scan)
    page.locator("#mo-photo").get_by_label("Remove Image").click()
    _upload(page, scan)
    page.wait_for_function("() => document.querySelector('#mo-photo img')?.naturalWidth === 256")
    page.locator("#mo-run").click()
    page.locator(".mo-trust").wait_for()


def test_the_headline_says_what_is_happening(open_page: Callable[..., Any], large: Path) -> None:
    page = open_page()
    _start(page, large)
    headline = page.locator("#mo-working").get_by_role("status")
    headline.get_by_text(text.STEP_MOTION).wait_for()
    assert not page.locator("#mo-summary").is_visible()
    page.locator("#mo-stop").click()
    headline.wait_for(state="detached")
    assert page.locator("#mo-summary").is_visible()


def test_the_motion_is_fitted_on_request(open_page: Callable[..., Any], photo: Path) -> None:
    page = open_page()
    page.get_by_text(text.MORE, exact=True).click()
    page.get_by_role("tab", name="Sharp").click()
    pictures = []
    for _ in range(2):
        _run(page, photo)
        address = page.url + page.locator("#mo-slider img").first.get_attribute("src")
        with Image.open(BytesIO(page.request.get(address).body())) as picture:
            pictures.append(picture.tobytes())
        page.get_by_label(text.SAFE).click()
        page.get_by_label(text.REFINE).click()
    assert pictures[0] != pictures[1]


def test_share_copies_the_address_where_nothing_else_is_possible(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name=text.SHARE).click()
    page.get_by_text(text.COPIED).wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()") == page.url


def test_no_photo_at_all(open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.get_by_label("Remove Image").first.click()
    page.locator("#mo-run").click()
    page.get_by_text("Choose a photo first").wait_for()
    page.locator("#mo-stop").wait_for(state="hidden")
    _wait_until_nothing_covers(page)


def _assert_nothing_found(page: Any, script: str) -> None:
    """Once what fades in has faded in: Gradio shows parts that are being filled half transparent."""
    from playwright.sync_api import TimeoutError as NeverTrueError

    try:
        page.wait_for_function(f"() => ({script})().length === 0")
    except NeverTrueError:
        assert page.evaluate(script) == []


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone(open_page: Callable[..., Any], keep_screenshot: Keep, dark: bool) -> None:
    page = open_page(PHONE, dark)
    page.locator(".mo-trust").wait_for()
    page.get_by_text(text.MORE, exact=True).click()
    before = page.locator("#mo-summary").inner_html()
    page.locator("#mo-examples button").nth(2).click()
    another = "before => !['', before].includes(document.querySelector('#mo-summary').innerHTML)"
    page.wait_for_function(another, arg=before)
    page.locator(".mo-trust").wait_for()
    top = "document.querySelector('#mo-summary').getBoundingClientRect().top"
    page.wait_for_function(f"() => {top} < window.innerHeight / 3")  # the answer has come into sight
    for name in text.TABS:
        page.get_by_role("tab", name=name).click()
        assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
        _assert_nothing_found(page, CUT_OFF)
        _assert_nothing_found(page, LOW_CONTRAST)
        keep_screenshot(page, f"phone-{'dark' if dark else 'light'}-{name.lower()}")
    red = page.evaluate("() => Number(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0])")
    assert (red < 60) == dark


@pytest.mark.parametrize("dark", [False, True])
def test_wide_with_the_folds_open(open_page: Callable[..., Any], keep_screenshot: Keep, dark: bool) -> None:
    page = open_page(dark=dark)
    for fold in ("About", text.MORE):
        page.get_by_text(fold, exact=True).click()
    page.get_by_text("What it cannot do").wait_for()
    page.get_by_label(text.SAFE).wait_for()
    _assert_nothing_found(page, CUT_OFF)
    _assert_nothing_found(page, LOW_CONTRAST)
    keep_screenshot(page, f"folds-{'dark' if dark else 'light'}")
