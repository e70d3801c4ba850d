"""The endpoints, called as a program calls them: with gradio_client, and with plain HTTP as curl would."""

from __future__ import annotations

import base64
import http.server
import json
import os
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from gradio_client import Client, exceptions, handle_file
from PIL import Image

from motion_offsets.demo import networks, rendering
from motion_offsets.demo.limits import Limits
from motion_offsets.io.motion_files import load_motion
from motion_offsets.io.video import read_video

MODEL = "etraj-quadratic"


@pytest.fixture(scope="module")
def client(server: Any) -> Client:
    return Client(server.url, verbose=False)


@pytest.fixture(scope="module")
def small_photo(tmp_path_factory: pytest.TempPathFactory, sample_photo: Callable[[str], Path]) -> Path:
    path = tmp_path_factory.mktemp("photos") / "small.png"
    with Image.open(sample_photo("astronaut")) as picture:
        picture.convert("RGB").crop((100, 100, 228, 196)).save(path)
    return path


def _bomb(path: Path, side: int) -> Path:
    """A black PNG of side x side pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 2) * side), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def test_extract_gives_clip_sharp_frame_drawing_offsets_and_report(client: Client, small_photo: Path) -> None:
    report, clip, sharp, drawn, offsets = client.predict(
        handle_file(small_photo), frames=7, fps=10, back_and_forth=True, api_name="/extract"
    )
    frames, fps = read_video(clip["video"] if isinstance(clip, dict) else clip)
    assert (len(frames), fps) == (12, 10)  # there and back again, without a double frame at either end
    assert frames[0].shape == (96, 128, 3)
    assert Image.open(sharp).size == (128, 96)
    assert Image.open(drawn).size == (1280, 960)
    assert load_motion(Path(offsets)).control_points.shape == (1, 4, 96, 128)
    assert (report["width"], report["height"], report["trajectory"]) == (128, 96, "quadratic")
    assert report["summary"].endswith(".")
    assert np.isfinite(report["consistency"]["reblur_psnr"])


def test_deblur_gives_the_sharp_frame_of_the_pipeline(client: Client, small_photo: Path) -> None:
    path = client.predict(handle_file(small_photo), api_name="/deblur")
    photo = np.array(Image.open(small_photo))
    expected = networks.find(MODEL, photo, Limits().memory).sharp
    assert np.abs(np.asarray(Image.open(path), float) - expected).max() <= 1


def test_a_call_chooses_among_the_deblurrers_on_offer(
    serve: Callable[..., AbstractContextManager[Any]], models: Path, small_photo: Path
) -> None:
    sharp, even = str(models / "sharp"), str(models / "even")
    photo = np.asarray(Image.open(small_photo), float)
    mean = np.broadcast_to(photo.mean((0, 1)), photo.shape)
    with serve("--deblurrer", sharp, "--deblurrer", even) as server:
        client = Client(server.url, verbose=False)
        for chosen, expected in (({}, photo), ({"deblurrer": sharp}, photo), ({"deblurrer": even}, mean)):
            answers = (
                client.predict(handle_file(small_photo), api_name="/deblur", **chosen),
                client.predict(handle_file(small_photo), frames=2, api_name="/extract", **chosen)[2],
            )
            for answer in answers:
                np.testing.assert_allclose(np.asarray(Image.open(answer), float), expected, atol=1)
        for endpoint in ("/deblur", "/extract"):
            with pytest.raises(exceptions.AppError) as error:
                client.predict(handle_file(small_photo), deblurrer="none", api_name=endpoint)
            assert f"deblurrer: unknown; give one of {sharp}, {even}" in str(error.value)


def test_curl_needs_three_requests(server: Any, small_photo: Path) -> None:
    """Upload, call, fetch: as the README shows it."""
    upload = httpx.post(f"{server.url}gradio_api/upload", files={"files": small_photo.open("rb")}).json()[0]
    data = {"data": [{"path": upload, "meta": {"_type": "gradio.FileData"}}, 1, 0]}
    event = httpx.post(f"{server.url}gradio_api/call/trajectories", json=data).json()["event_id"]
    answer = httpx.get(f"{server.url}gradio_api/call/trajectories/{event}", timeout=120).text
    name, _, body = answer.strip().rpartition("data: ")
    assert "event: complete" in name
    fetched = httpx.get(json.loads(body)[0]["url"])
    assert fetched.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"frames": 1}, "frames: give a whole number from 2 to 41"),
        ({"frames": 100_000}, "frames: give a whole number from 2 to 41"),
        ({"fps": 0}, "fps: give a number from 2 to 60"),
        ({"detail": 7}, "detail: give a whole number from 0 to 1"),
        ({"model": "../../etc"}, "model: unknown; give one of etraj-quadratic"),
    ],
)
def test_arguments_out_of_range_give_one_sentence(
    client: Client, small_photo: Path, arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(exceptions.AppError) as error:
        client.predict(handle_file(small_photo), **arguments, api_name="/extract")
    assert complaint in str(error.value)


def test_files_that_are_not_photos_give_one_sentence(client: Client, small_photo: Path, tmp_path: Path) -> None:
    text, empty, cut = tmp_path / "text.png", tmp_path / "empty.png", tmp_path / "cut.png"
    text.write_text("not a picture")
    empty.write_bytes(b"")
    whole = small_photo.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    drawing = tmp_path / "drawing.svg"
    drawing.write_text('<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>')
    for path, complaint in [
        (text, "Your photo: not a picture that can be read; give a JPEG, PNG, WebP or TIFF photo"),
        (empty, "Your photo: is empty (0 bytes)"),
        (cut, "Your photo: damaged"),
        (drawing, "Your photo: not a picture that can be read"),
        (_bomb(tmp_path / "large.png", 8000), "Your photo: is 8000x8000, 64 megapixels; the limit is 50"),
        (_bomb(tmp_path / "bomb.png", 20_000), "give a picture of at most 50 megapixels"),
    ]:
        with pytest.raises(exceptions.AppError) as error:
            client.predict(handle_file(path), api_name="/trajectories")
        message = str(error.value)
        assert complaint in message
        assert "Traceback" not in message
        assert "/" not in message.replace("(0 bytes)", ""), "no path of the server is told"


def test_an_upload_beyond_the_limit_is_refused_before_it_is_stored(server: Any) -> None:
    content = bytes(Limits().upload_bytes + 1_000_000)
    answer = httpx.post(
        f"{server.url}gradio_api/upload", files={"files": ("beyond-the-limit.png", content)}, timeout=60
    )
    assert answer.status_code == 413
    assert sum(1 for _ in server.temporary.rglob("*.png") if _.stat().st_size > Limits().upload_bytes) == 0
    assert not list(server.temporary.rglob("beyond-the-limit.png"))


class _Trap(http.server.BaseHTTPRequestHandler):
    visits: list[str] = []

    def do_GET(self) -> None:
        self.visits.append(self.path)
        self.send_response(200)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *arguments: Any) -> None:
        """Not on the terminal."""


@pytest.fixture
def trap() -> Any:
    """An address on the server's own network that counts who comes."""
    _Trap.visits.clear()
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Trap)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listener.server_port}/secret.png"
    listener.shutdown()
    thread.join()
    listener.server_close()


def _call(server: Any, endpoint: str, data: list[Any]) -> str:
    answer = httpx.post(f"{server.url}gradio_api/call/{endpoint}", json={"data": data})
    event = answer.json()["event_id"]
    return httpx.get(f"{server.url}gradio_api/call/{endpoint}/{event}", timeout=60).text


def test_no_address_and_no_path_of_the_server_is_opened(server: Any, trap: str, small_photo: Path) -> None:
    file = {"meta": {"_type": "gradio.FileData"}}
    outside = ["/etc/passwd", str(small_photo), "../../../../etc/passwd", f"{server.temporary}/../../etc/passwd"]
    for payload in (
        {"path": trap, **file},
        {"path": trap, "url": trap, **file},
        {"path": "", "url": trap, **file},
        {"url": trap, **file},
        {"path": "file:///etc/passwd", **file},
        {"path": "x.svg", "orig_name": "x.svg", "url": trap, **file},
        *({"path": path, **file} for path in outside),
    ):
        answer = _call(server, "trajectories", [payload, 1, 0])
        assert "event: error" in answer, payload
        assert "root:" not in answer
    for path in (
        f"gradio_api/file={trap}",
        f"gradio_api/proxy={trap}",
        "gradio_api/file=/etc/passwd",
        f"gradio_api/file={small_photo}",
        "gradio_api/file=../../../../etc/passwd",
        f"gradio_api/file={Path(networks.__file__)}",
    ):
        assert httpx.get(server.url + path).status_code in (403, 404), path
    assert _Trap.visits == []


def test_only_the_documented_endpoints_are_public(client: Client) -> None:
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/extract", "/deblur", "/trajectories"}


def test_pictures_tell_the_place_of_a_photo_only_if_asked(client: Client, small_photo: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0132], exif[0x8825] = "2024:05:06 07:08:09", {1: "N", 2: (59.0, 30.0, 0.0)}
    with Image.open(small_photo) as picture:
        picture.save(tmp_path / "photo.jpg", exif=exif)
    for options in ({}, {"location": True}):
        sharp = client.predict(handle_file(tmp_path / "photo.jpg"), api_name="/deblur", **options)
        with Image.open(sharp) as picture:
            assert picture.getexif()[0x0132] == "2024:05:06 07:08:09"
            assert bool(picture.getexif().get_ifd(0x8825)) == bool(options)


def test_the_address_of_an_upload_is_taken_for_its_path(
    server: Any, client: Client, trap: str, small_photo: Path, tmp_path: Path
) -> None:
    """As long as it is of this server and lies in the folder of uploads."""
    with small_photo.open("rb") as photo:
        upload = Path(httpx.post(f"{server.url}gradio_api/upload", files={"files": photo}).json()[0])
    address = f"{server.url}gradio_api/file={upload}"
    drawn = client.predict(handle_file(address), api_name="/trajectories")
    expected = client.predict(handle_file(small_photo), api_name="/trajectories")
    assert Path(drawn).read_bytes() == Path(expected).read_bytes()

    secret = tmp_path / "secret.png"
    secret.write_bytes(small_photo.read_bytes())
    link = upload.with_name("link.png")
    link.symlink_to(secret)
    elsewhere = trap.removesuffix("secret.png")
    for refused in (
        f"{elsewhere}gradio_api/file={upload}",
        f"http://user@{server.url.removeprefix('http://')}gradio_api/file={upload}",
        f"{server.url}gradio_api/file=/etc/passwd",
        f"{server.url}gradio_api/file={upload.parent}/../../../../../../../../../../etc/passwd",
        f"{server.url}gradio_api/file={upload.parent}" + "/%2e%2e" * 10 + "/etc/passwd",
        f"{server.url}gradio_api/file={upload.parent}" + "%2F%2E%2E" * 10 + "%2Fetc%2Fpasswd",
        f"{server.url}gradio_api/file={secret}",
        f"{server.url}gradio_api/file={link}",
        f"{server.url}gradio_api/file={upload}%00",
        f"{server.url}config",
    ):
        with pytest.raises(exceptions.AppError, match="A web address is not opened here; upload the photo itself"):
            client.predict(handle_file(refused), api_name="/trajectories")
    link.unlink()
    assert _Trap.visits == []


def test_assistants_can_call_the_tools_with_a_photo_but_not_with_an_address(
    server: Any, trap: str, small_photo: Path
) -> None:
    """A photo as ``data:`` and as what Gradio's own upload tool returns."""
    import anyio
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client
    from mcp.client.streamable_http import streamable_http_client

    async def upload() -> str:
        code = "import sys; from gradio.cli.commands.upload_mcp import main; main(*sys.argv[1:])"
        tool = StdioServerParameters(
            command=sys.executable, args=["-c", code, server.url, str(small_photo.parent)], env=dict(os.environ)
        )
        async with stdio_client(tool) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            uploaded = await session.call_tool("upload_file_to_gradio", {"file": str(small_photo)})
            return uploaded.content[0].text  # type: ignore[union-attr]

    async def talk() -> tuple[dict[str, str], list[Any]]:
        address = await upload()
        async with (
            streamable_http_client(f"{server.url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {tool.name: str(tool.description) for tool in (await session.list_tools()).tools}
            name = next(name for name in tools if name.endswith("trajectories"))
            photo = "data:image/png;base64," + base64.b64encode(small_photo.read_bytes()).decode()
            passwd = f"{server.url}gradio_api/file=/etc/passwd"
            return tools, [await session.call_tool(name, {"photo": given}) for given in (photo, address, trap, passwd)]

    tools, (of_data, of_upload, *refused) = anyio.run(talk)
    for endpoint in ("extract", "deblur", "trajectories"):
        assert any(name.endswith(endpoint) and "motion-blurred photo" in text for name, text in tools.items())
    for answered in (of_data, of_upload):
        assert not answered.isError, answered.content
        assert "trajectories.jpg" in str(answered.content)
    assert all(answer.isError for answer in refused)
    assert _Trap.visits == []


def _visit(server: Any, photo: Path, function: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """One person: uploads, waits in line, gets an answer. All that the server said, and the picture."""
    with httpx.Client(timeout=300) as http_client:
        upload = http_client.post(f"{server.url}gradio_api/upload", files={"files": photo.open("rb")}).json()[0]
        session = photo.stem
        data = [{"path": upload, "meta": {"_type": "gradio.FileData"}}, 1, 0]
        joined = {"data": data, "fn_index": function, "session_hash": session}
        assert http_client.post(f"{server.url}gradio_api/queue/join", json=joined).status_code == 200
        said = []
        with http_client.stream(
            "GET", f"{server.url}gradio_api/queue/data", params={"session_hash": session}
        ) as lines:
            for line in lines.iter_lines():
                if line.startswith("data: "):
                    said.append(json.loads(line[6:]))
                    if said[-1]["msg"] == "process_completed":
                        break
        picture = http_client.get(said[-1]["output"]["data"][0]["url"]).content
        path = photo.with_suffix(".answer.jpg")
        path.write_bytes(picture)
        return said, np.asarray(Image.open(path), float)


def test_twenty_people_at_once_get_their_own_answers_and_memory_stays_flat(
    server: Any, tmp_path: Path, sample_photo: Callable[[str], Path]
) -> None:
    config = httpx.get(f"{server.url}config").json()
    function = next(f["id"] for f in config["dependencies"] if f["api_name"] == "trajectories")
    with Image.open(sample_photo("astronaut")) as picture:
        whole = picture.convert("RGB")
    photos = []
    for number in range(20):
        photos.append(tmp_path / f"visitor{number}.png")
        whole.crop((20 * number, 100, 20 * number + 80, 100 + 64 + number)).save(photos[-1])

    process = psutil.Process(server.process.pid)
    memory: list[int] = []
    # The allocator takes a few rounds to settle; what leaks grows in every one of them.
    while len(memory) < 2 or (memory[-1] > 1.02 * memory[-2] and len(memory) < 8):
        with ThreadPoolExecutor(20) as people:
            visits = list(people.map(lambda photo: _visit(server, photo, function), photos))
        memory.append(process.memory_info().rss)

    for photo, (said, answer) in zip(photos, visits, strict=True):
        assert said[0]["msg"] == "estimation", "whoever waits is told so at once"
        pixels = np.array(Image.open(photo))
        points, _ = networks.find_motion(MODEL, pixels, Limits().memory)
        expected = np.asarray(Image.open(rendering.trajectories(pixels, points, MODEL, 1, tmp_path)), float)
        assert answer.shape == expected.shape
        assert np.abs(answer - expected).mean() < 1
    assert memory[-1] <= 1.02 * memory[-2], memory
