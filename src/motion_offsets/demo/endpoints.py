"""The named endpoints, for programs and assistants; the page itself calls none of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from ..exposure.refine_steps import REFINE_STEPS
from . import rendering, words
from .faults import plainly
from .networks import find, find_motion
from .photos import metadata_of
from .rendering import ClipSettings
from .service import FIRST_DENSITY, Service


class Endpoints:
    """What the API of a service answers. The docstrings are what a client, or an assistant, reads of it.

    Args:
        service: the service, whose limits, models and files these are.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    @plainly
    def extract(
        self,
        photo: str | None,
        frames: int,
        fps: float,
        back_and_forth: bool,
        detail: int,
        model: str,
        refine: bool,
        safe: bool,
        location: bool,
        deblurrer: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """Recover what moved while the shutter of a motion-blurred photo was open: a slow-motion clip, the sharp
        frame, the motion drawn over the photo, the motion as numbers, and a report that says how far to trust it.
        With refine, motion and sharp frame are fitted to the photo; without, it is faster. With safe, the sharp frame
        keeps only changes that the motion explains; with location, it tells where the photo was taken, if the photo
        does. Model and deblurrer are names that the service offers; a wrong name is answered with the list."""
        service = self._service
        settings = ClipSettings(frames, fps, bool(back_and_forth))
        settings.check(service.limits)
        with service.job(request, deblurrer=deblurrer):
            found = find(
                service.checked_model(model),
                service.opened(photo, detail),
                service.limits.memory,
                REFINE_STEPS if refine else 0,
                bool(safe),
                deblurrer,
            )
            answer = replace(found, metadata=metadata_of(photo))
            folder = service.workplace.new_folder()
            drawn = service.drawn(answer, FIRST_DENSITY, folder, legend=True)
            files = (
                rendering.clip(answer, settings, folder),
                rendering.sharp_png(answer, folder, bool(location)),
                drawn,
                rendering.offsets_npz(answer, settings, folder),
            )
        sentence, verdict = words.verdict(answer.consistency)
        report = {
            "summary": words.summary(answer),
            "trust": sentence,
            "verdict": verdict,
            "warning": verdict == words.POOR,
            "consistency": answer.consistency,
            "width": answer.width,
            "height": answer.height,
            "model": answer.model,
            "trajectory": answer.trajectory,
        }
        return report, *(str(path) for path in files)

    @plainly
    def deblur(
        self, photo: str | None, detail: int, safe: bool, location: bool, deblurrer: str, request: gr.Request
    ) -> str:
        """Make the sharp frame of a motion-blurred photo, the scene in the middle of the exposure, as PNG. With safe,
        it keeps only changes that the motion explains; with location, it tells where the photo was taken. Deblurrer is
        a name that the service offers; a wrong name is answered with the list."""
        service = self._service
        with service.job(request, deblurrer=deblurrer):
            picture = service.opened(photo, detail)
            found = find(service.default_model, picture, service.limits.memory, safe=bool(safe), deblurrer=deblurrer)
            answer = replace(found, metadata=metadata_of(photo))
            return str(rendering.sharp_png(answer, service.workplace.new_folder(), bool(location)))

    @plainly
    def trajectories(self, photo: str | None, density: float, detail: int, request: gr.Request) -> str:
        """Draw over a motion-blurred photo the paths that its points took during the exposure, coloured by time. Which
        end of a path came first, one photo cannot tell."""
        service = self._service
        with service.job(request):
            picture = service.opened(photo, detail)
            points, unsure = find_motion(service.default_model, picture, service.limits.memory)
            found, folder = (picture, points, service.default_model), service.workplace.new_folder()
            return str(rendering.trajectories(*found, density, folder, uncertainty=unsure))
