"""What a pipeline asks of a deblurrer, so that it need not know which one it has."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from ..runtime.memory import DEBLURRER_BYTES
from ..runtime.tiling import ALIGNMENT, DEBLURRER_MARGIN


class DeblurrerMixin:
    """One interface of all deblurrers; put it before ``PreTrainedModel`` and implement :meth:`sharpen`.

    A new deblurrer is one model file, its config's, and a line in :mod:`.registry`.
    """

    tile_bytes: ClassVar[float] = DEBLURRER_BYTES
    """Memory that the network needs at its peak, bytes per pixel of a tile."""

    core_padding: ClassVar[str] = "replicate"
    """How its input continues to sides that are multiples of :attr:`size_multiple`, as ``functional.pad`` names it."""

    is_exportable: ClassVar[bool] = True
    """Whether it can be written as ONNX and as a ``torch.export`` program."""

    @property
    def uses_motion(self) -> bool:
        """Whether :meth:`sharpen` looks at control points; if not, it is given none."""
        return False

    @property
    def own_estimator(self) -> Any:
        """The estimator it carries, fine-tuned with it; ``None``: control points must be given."""
        return None

    @property
    def size_multiple(self) -> tuple[int, int]:
        """What height and width must be multiples of for a run without padding."""
        return (1, 1)

    @property
    def tile_alignment(self) -> int:
        """What tiles start on multiples of, and what their sides are multiples of, apart from the last."""
        return ALIGNMENT

    @property
    def tile_margin(self) -> int:
        """Width, pixels, of the border of a tile in which its result is not used."""
        return DEBLURRER_MARGIN

    def sharpen(
        self, pixel_values: Tensor, control_points: Tensor | None, trajectory: str, as_exported: bool = False
    ) -> Tensor:
        """Sharp frames ``(B, 3, H, W)``, not clamped, of photos ``(B, 3, H, W)`` in [0, 1].

        Args:
            control_points: ``(B, 2K, H, W)`` in pixels; ``None``: it uses none, or its own estimator's.
            trajectory: their kind, one of :data:`~motion_offsets.exposure.trajectories.TRAJECTORIES`.
            as_exported: compute what an exported graph computes, which looks at no values.
        """
        raise NotImplementedError
