"""The exposure trajectory estimator: one blurry image in, the control points of every pixel's path out (Table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput

from ..errors import BadInputError
from ..exposure.blur import expose
from ..exposure.doubled_angle import from_doubled_angle, to_doubled_angle
from ..exposure.full_precision import without_autocast
from ..exposure.losses import ms_ssim_loss, reconstruction_loss, regularization_loss, total_variation_loss
from ..exposure.trajectories import offsets_at, sample_times, trajectory_basis, weigh
from ..runtime.tiling import CONTEXT_MARGIN, ESTIMATOR_MARGIN, SCALE_MARGIN
from .configuration_etraj import MIN_SIDE, EtrajConfig
from .etraj_context import ContextNetwork, Reading
from .etraj_pyramid import PyramidNetwork, space_to_depth
from .etraj_scales import ScaleEstimate, average, brought_up, fuse, reduced
from .hub import BundledNamesMixin
from .remote_code import SavedWithCodeMixin

# What a network's outputs of about 1 stand for, pixels: control points, where it predicts doubled angles, and errors.
PIXELS_PER_UNIT = 16.0
SURE, UNSURE = 0.05, 100.0  # smallest and largest uncertainty, pixels


@dataclass
class EtrajOutput(ModelOutput):
    """Output of :class:`EtrajModel`.

    Args:
        loss: scalar, the weighted sum of eq. 11; only with ``sharp_pixel_values``.
        losses: each term of it, unweighted, by name.
        control_points: ``(B, 2K, H, W)``, pixels.
        uncertainty: ``(B, 1, H, W)``, pixels: how far the ends of the path are expected to be off, in the mean; only
            of models that predict it.
        motion_offsets: ``(B, N, 2, H, W)``, pixels, at the N sample times.
        reblurred: ``(B, 3, H, W)``, the estimated blurry image (eq. 3); only with ``sharp_pixel_values``.
        at_scales: what both were joined from; only in training, of several scales with uncertainty.
    """

    loss: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    control_points: Tensor | None = None
    motion_offsets: Tensor | None = None
    uncertainty: Tensor | None = None
    reblurred: Tensor | None = None
    at_scales: tuple[ScaleEstimate, ...] | None = None


class EtrajResidualBlock(GradientCheckpointingLayer):
    """Two 5x5 convolutions with a ReLU between them, added to their input; borders are repeated."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 5)
        self.conv2 = nn.Conv2d(channels, channels, 5)

    def forward(self, features: Tensor) -> Tensor:
        inner = functional.relu(self.conv1(functional.pad(features, (2, 2, 2, 2), mode="replicate")))
        return features + self.conv2(functional.pad(inner, (2, 2, 2, 2), mode="replicate"))


class EtrajEncoderStage(nn.Module):
    """A 5x5 convolution (reflected borders), a ReLU, three residual blocks."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 5, stride=stride)
        self.blocks = nn.ModuleList(EtrajResidualBlock(channels) for _ in range(3))
        self.padding = (2, 2, 2, 2) if stride == 1 else (1, 2, 1, 2)

    def forward(self, features: Tensor) -> Tensor:
        features = functional.relu(self.conv(functional.pad(features, self.padding, mode="reflect")))
        for block in self.blocks:
            features = block(features)
        return features


class EtrajBottleneck(GradientCheckpointingLayer):
    """A 1x1 convolution that doubles the channels, a 3x3 one that brings them back."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        features = functional.leaky_relu(self.conv1(features), 0.2)
        return functional.leaky_relu(self.conv2(features), 0.2)


class EtrajNetwork(nn.Module):
    """The encoder-decoder of Table 1: ``(B, 3, H, W)`` to ``(B, 2K, H, W)``, sides multiples of 8, at least 16."""

    def __init__(self, base_channels: int, out_channels: int):
        super().__init__()
        c = base_channels
        self.encoder1 = EtrajEncoderStage(12, c, 1)
        self.encoder2 = EtrajEncoderStage(c, 2 * c, 2)
        self.encoder3 = EtrajEncoderStage(2 * c, 4 * c, 2)
        self.bottleneck1 = EtrajBottleneck(4 * c, 4 * c)
        self.upsample1 = nn.ConvTranspose2d(4 * c, 2 * c, 4, stride=2, padding=1)
        self.bottleneck2 = EtrajBottleneck(4 * c, 4 * c)
        self.upsample2 = nn.ConvTranspose2d(4 * c, c, 4, stride=2, padding=1)
        self.bottleneck3 = EtrajBottleneck(2 * c, 2 * c)
        self.upsample3 = nn.ConvTranspose2d(2 * c, 2 * c, 4, stride=2, padding=1)
        self.head = nn.Conv2d(2 * c, out_channels, 5, padding=2)

    def forward(self, image: Tensor) -> Tensor:
        return self.read(self.features(image))

    def features(self, image: Tensor) -> Tensor:
        """``(B, 2c, H / 2, W / 2)``, what the last two layers read the outputs from."""
        # Centred, so that the first convolution's outputs start out on both sides of its ReLU.
        centred = (2 * image - 1).to(self.encoder1.conv.weight.dtype)
        stage1 = self.encoder1(space_to_depth(centred, 2))
        stage2 = self.encoder2(stage1)
        features = self.bottleneck1(self.encoder3(stage2))
        features = functional.leaky_relu(self.upsample1(features), 0.2)
        features = self.bottleneck2(torch.cat([features, stage2], 1))
        features = functional.leaky_relu(self.upsample2(features), 0.2)
        return self.bottleneck3(torch.cat([features, stage1], 1))

    def read(self, features: Tensor) -> Tensor:
        """The outputs, ``(B, 2K, H, W)``, of :meth:`features`."""
        features = functional.relu(self.upsample3(features))
        # Positions are tens of pixels: under autocast too, the last layer gives them in full precision.
        with without_autocast(features):
            return self.head(features.to(self.head.weight.dtype))


class EtrajModel(BundledNamesMixin, SavedWithCodeMixin, PreTrainedModel):
    """Recovers dense exposure trajectories from a single motion-blurred image.

    Example:
        >>> model = EtrajModel(EtrajConfig())
        >>> out = model(torch.rand(1, 3, 48, 64))
        >>> tuple(out.motion_offsets.shape)
        (1, 15, 2, 48, 64)
    """

    config_class = EtrajConfig
    auto_class_name = "AutoModel"
    base_model_prefix = "etraj"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True

    def __init__(self, config: EtrajConfig):
        super().__init__(config)
        points = 2 * config.num_control_points
        outputs = points + (config.predicts_uncertainty and not config.context_widths)
        if config.backbone == "pyramid":
            self.network: Any = PyramidNetwork(config.widths, config.encoder_blocks, config.decoder_blocks, outputs)
        else:
            self.network = EtrajNetwork(config.base_channels, outputs)
        self.context: Any = None
        if config.context_widths:
            blocks = (config.context_encoder_blocks, config.context_decoder_blocks)
            self.context = ContextNetwork(
                config.scales, points, 2 * config.base_channels, config.context_widths, *blocks
            )
        self.post_init()
        if self.context is not None:
            self.context.start()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            if self.config.backbone == "pyramid":
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                with torch.no_grad():
                    module.weight.mul_(getattr(module, "gain", 1.0))
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    def tile_margin(self) -> int:
        """Width, pixels, of the border of a tile in which its result is not used."""
        levels = len(self.config.context_widths)
        around = CONTEXT_MARGIN * 2 ** (levels - 1) if levels else 0
        return ESTIMATOR_MARGIN + SCALE_MARGIN * (self.config.scales[-1] - 1) + around

    def sample_basis(self, device: torch.device | None = None) -> Tensor:
        """The ``(N, K)`` float32 basis of the model's trajectory at its N sample times."""
        times = sample_times(self.config.num_samples, dtype=torch.float32, device=device)
        return trajectory_basis(self.config.trajectory, times, self.config.num_samples)

    def offsets_at(self, control_points: Tensor, timestamps: Sequence[float] | Tensor) -> Tensor:
        """Offsets ``(B, T, 2, H, W)`` of the model's trajectory at any times in [-1, 1], pixels."""
        return offsets_at(control_points, timestamps, self.config.trajectory)

    def forward(
        self,
        pixel_values: Tensor,
        sharp_pixel_values: Tensor | None = None,
        output_motion_offsets: bool = True,
        return_dict: bool | None = None,
        original_sizes: Any = None,
    ) -> EtrajOutput | tuple:
        """Estimate the trajectories of a blurry image and, given the sharp one, the self-supervised loss.

        Args:
            pixel_values: ``(B, 3, H, W)`` blurry image in [0, 1], sides of at least 16 pixels.
            sharp_pixel_values: the sharp frame, the same size or with a margin (see ``exposure.create_blur``).
            output_motion_offsets: whether to compute ``motion_offsets``, N times the memory of the control points' x.
            return_dict: ``False`` for a plain tuple.
            original_sizes: what the processor gives beside ``pixel_values``; it changes nothing here.
        """
        if pixel_values.ndim != 4 or pixel_values.shape[1] != 3 or min(pixel_values.shape[2:]) < MIN_SIDE:
            raise BadInputError(
                f"pixel_values have shape {tuple(pixel_values.shape)}; they must be (B, 3, H, W), sides at least "
                f"{MIN_SIDE}"
            )
        control_points, uncertainty, at_scales = self._estimate(pixel_values)
        output = EtrajOutput(control_points=control_points, uncertainty=uncertainty)
        if self.training:
            output.at_scales = at_scales
        if output_motion_offsets:
            basis = self.sample_basis(control_points.device).to(control_points.dtype)
            output.motion_offsets = weigh(basis, control_points.unflatten(1, (-1, 2)))
        if sharp_pixel_values is not None:
            output.loss, output.losses, output.reblurred = self.reblur_loss(
                control_points, pixel_values, sharp_pixel_values
            )
        use_tuple = return_dict is False or (return_dict is None and not self.config.return_dict)
        return output.to_tuple() if use_tuple else output

    def _estimate(self, pixel_values: Tensor) -> tuple[Tensor, Tensor | None, tuple[ScaleEstimate, ...] | None]:
        height, width = pixel_values.shape[2:]
        stride, scales = self.config.stride, self.config.scales
        image = pixel_values
        while image.shape[2] % stride or image.shape[3] % stride:
            # A small photo is mirrored as often as it takes; torch mirrors once.
            down, right = (min(-side % stride, side - 1) for side in image.shape[2:])
            image = functional.pad(image, (0, right, 0, down), mode="reflect")
        if self.context is not None:
            points, spread = (one[..., :height, :width] for one in self._estimate_in_context(image))
            return points, spread, None
        found = [[one[..., :height, :width] for one in self._estimate_at(image, scale)] for scale in scales]
        paths = [one[0] for one in found]
        if not self.config.predicts_uncertainty:
            with without_autocast(image):
                return average(paths, scales, self.config.trajectory), None, None
        if len(found) == 1:
            return found[0][0], found[0][1], None
        estimates = tuple(ScaleEstimate(points, spread) for points, spread in found)
        with without_autocast(image):
            joined = fuse(estimates, self.config.trajectory)
        return joined.control_points, joined.uncertainty, estimates

    def _estimate_in_context(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Control points and uncertainty, from the features at all scales at once."""
        readings = []
        for scale in self.config.scales:
            features = self.network.features(reduced(image, scale))
            outputs = self.network.read(features).float()
            with without_autocast(outputs):
                code = to_doubled_angle(brought_up(outputs, scale), self.config.trajectory)
            readings.append(Reading(code, features, scale))
        code, spread = self.context(image, readings)
        with without_autocast(image):
            return from_doubled_angle(code, self.config.trajectory), spread.clamp(SURE, UNSURE)

    def _estimate_at(self, image: Tensor, scale: int) -> list[Tensor]:
        """Of the image reduced by ``scale``: control points and, where it is predicted, uncertainty at full size."""
        config, points_end = self.config, 2 * self.config.num_control_points
        outputs = self.network(reduced(image, scale))
        # Positions need more digits than half precision has.
        if outputs.dtype in (torch.float16, torch.bfloat16):
            outputs = outputs.float()
        with without_autocast(outputs):
            points = outputs[:, :points_end]
            if config.direction == "doubled-angle":
                points = from_doubled_angle(points * PIXELS_PER_UNIT, config.trajectory)
            found = [brought_up(points, scale)]
            if config.predicts_uncertainty:
                spread = functional.softplus(outputs[:, points_end:]) * PIXELS_PER_UNIT
                found.append(brought_up(spread, scale).clamp(SURE, UNSURE))
        return found

    def reblur_loss(
        self, control_points: Tensor, pixel_values: Tensor, sharp_pixel_values: Tensor, gamma: float | None = None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The loss of eq. 11, its terms, and the reblurred ``(B, 3, H, W)`` image, for given control points.

        Computed in single precision under autocast too: MS-SSIM subtracts squares that half precision makes equal.

        Args:
            control_points: ``(B, 2K, H, W)``, pixels.
            pixel_values: as in :meth:`forward`.
            sharp_pixel_values: likewise.
            gamma: of the light whose average these blurred images are, 1 for encoded values; by default the config's.
        """
        with without_autocast(control_points):
            return self._reblur_loss(control_points, pixel_values, sharp_pixel_values, gamma or self.config.gamma)

    def _reblur_loss(
        self, control_points: Tensor, pixel_values: Tensor, sharp_pixel_values: Tensor, gamma: float | None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        config = self.config
        basis = self.sample_basis(control_points.device)
        averaged = None if gamma == 1 else gamma
        reblurred = expose(sharp_pixel_values.float(), control_points, basis, config.padding_mode, averaged)
        losses = {"l2": reconstruction_loss(reblurred, pixel_values)}
        weights = {"l2": 1.0}
        if config.ssim_weight:
            losses["ssim"] = ms_ssim_loss(reblurred, pixel_values, config.ssim_window_size)
            weights["ssim"] = config.ssim_weight
        if config.regularization_weight:
            losses["regularization"] = regularization_loss(control_points, basis)
            weights["regularization"] = config.regularization_weight
        if config.total_variation_weight:
            losses["total_variation"] = total_variation_loss(control_points, basis)
            weights["total_variation"] = config.total_variation_weight
        loss = torch.stack([weight * losses[name] for name, weight in weights.items()]).sum()
        return loss, losses, reblurred


__all__ = ["EtrajModel", "EtrajOutput"]
