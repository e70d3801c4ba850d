"""What may become of the camera's own motion; see :mod:`motion_offsets.exposure.camera`. Loads no torch."""

from ..errors import BadInputError

AUTO, OFF, ONLY = CAMERA_MODES = ("auto", "off", "only")


def check_camera_mode(camera: str) -> str:
    """Return ``camera`` if it is one of :data:`CAMERA_MODES`, else raise :class:`BadInputError`."""
    if camera not in CAMERA_MODES:
        raise BadInputError(f"`camera` is {camera!r}; it must be one of {', '.join(CAMERA_MODES)}")
    return camera
