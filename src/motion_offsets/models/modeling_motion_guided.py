"""The motion-guided deblurrer: deconvolution along the exposure trajectories, and a U-Net that knows when to trust it.

With ``B`` the exposure along the trajectories (eq. 3) and ``B*`` the exposure along the reversed trajectories, which
is its adjoint wherever the motion is locally constant, a step of deconvolution of a photo ``y`` is

    ``x_n = z_n + s B*(y - B z_n)``, ``z_{n+1} = x_n + (n - 1) / (n + 2) (x_n - x_{n-1})``,

Landweber's iteration with Nesterov's momentum.

The U-Net sees the photo, the estimate after a few such steps and after more of them, what these leave unexplained, the
motion, and the photo along the path. Its answer is ``z + sum_k m_k (x_k - z) + r``: how much of each estimate to take
over per pixel and colour (``m_k`` in [0, 1]), and a correction ``r``. It starts close to ``z``, where deconvolution
starts: the photo, or the frame of a carried MA-DMPHN (its *prior*), so that deconvolution along the motion need only
find what that network missed. The prior may see the photo at several sizes, as what is a long blur at one is a short
blur at another; then ``z`` is a mean of its frames, and each of them is one of the ``x_k``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput

from ..errors import BadInputError
from ..exposure.accelerated_deconvolution import deconvolution_estimates
from ..exposure.trajectories import sample_times, samples_needed, trajectory_basis
from ..runtime.tiling import DEBLURRER_MARGIN, ESTIMATOR_MARGIN
from .configuration_etraj import EtrajConfig
from .configuration_ma_dmphn import MaDmphnConfig
from .configuration_motion_guided import MIN_SIDE, MotionGuidedConfig
from .deblurring import DeblurrerMixin
from .etraj_pyramid import space_to_depth
from .etraj_scales import reduced
from .guided_inputs import MOTION_CHANNELS, Images, motion_features, path_samples
from .hub import BundledNamesMixin
from .modeling_etraj import EtrajModel
from .modeling_ma_dmphn import MaDmphnForImageDeblurring
from .remote_code import SavedWithCodeMixin

# The last layer starts near zero: training then starts from the photo, with a little of the deconvolved estimate.
HEAD_GAIN = 0.001
START_SHARE = 0.1


@dataclass
class MotionGuidedOutput(ModelOutput):
    """What [`MotionGuidedForImageDeblurring`] returns.

    Args:
        loss: scalar, the sum of the mean squared errors after all stages; only with ``sharp_pixel_values``.
        losses: the terms of ``loss``, ``{"mse_1": scalar, ...}``, one per stage; only with ``sharp_pixel_values``.
        sharp: ``(B, 3, H, W)``, the deblurred image, nominally in [0, 1] but not clamped.
        stack_outputs: the image after each stage, ``num_stages`` times ``(B, 3, H, W)``; the last is ``sharp``.
        control_points: ``(B, 2K, H, W)``, pixels, the motion that was used.
    """

    loss: Tensor | None = None
    losses: dict[str, Tensor] | None = None
    sharp: Tensor | None = None
    stack_outputs: tuple[Tensor, ...] | None = None
    control_points: Tensor | None = None


class GuidedResidualBlock(GradientCheckpointingLayer):
    """Two 3x3 convolutions with a ReLU between them, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2.gain = 0.2  # type: ignore[assignment]

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv2(functional.relu(self.conv1(features)))


def _depth_to_space(features: Tensor) -> Tensor:
    """``(B, 4C, H, W)`` to ``(B, C, 2H, 2W)``."""
    if features.shape[0] == 0:  # which pixel_shuffle hands back as it is
        return features.new_zeros(0, features.shape[1] // 4, 2 * features.shape[2], 2 * features.shape[3])
    return functional.pixel_shuffle(features, 2)


class GuidedUNet(nn.Module):
    """``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``, computed at half the resolution and coarser.

    Sides are multiples of 2^levels.
    """

    def __init__(self, config: MotionGuidedConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        widths = config.widths
        self.stem = nn.Conv2d(4 * in_channels, widths[0], 1)
        self.encoder = nn.ModuleList(_blocks(*level) for level in zip(widths, config.encoder_blocks, strict=True))
        self.decoder = nn.ModuleList(_blocks(*level) for level in zip(widths, config.decoder_blocks, strict=False))
        pairs = list(zip(widths, widths[1:], strict=False))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.up = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairs)
        self.head = nn.Conv2d(widths[0], 4 * out_channels, 3, padding=1)
        self.head.gain = HEAD_GAIN  # type: ignore[assignment]

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.stem(space_to_depth(inputs, 2))
        skips = []
        for level, blocks in enumerate(self.encoder):
            features = blocks(self.down[level - 1](features) if level else features)
            skips.append(features)
        for level in reversed(range(len(self.decoder))):
            brought_up = _depth_to_space(self.up[level](features))
            features = self.decoder[level](skips[level] + brought_up)
        return _depth_to_space(self.head(features))


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(GuidedResidualBlock(channels) for _ in range(count)))


class GuidedStage(nn.Module):
    """One stage: deconvolution of the estimate so far along the motion, and a U-Net that corrects it."""

    def __init__(self, config: MotionGuidedConfig) -> None:
        super().__init__()
        self.steps, self.step_size = tuple(config.deconvolution_steps), config.step_size
        self.padding_mode = config.padding_mode
        # The photo, each deconvolved estimate with what it leaves unexplained, the prior's frames, the motion, the
        # photo along the path.
        frames = len(config.prior_scales) if config.prior_config is not None and len(config.prior_scales) > 1 else 0
        channels = 3 + 6 * len(self.steps) + 3 * frames + MOTION_CHANNELS + 3 * len(config.path_distances)
        self.unet = GuidedUNet(config, channels, 3 * (sum(step > 0 for step in self.steps) + frames + 1))

    def forward(
        self, photo: Tensor, estimate: Tensor, frames: Images, points: Tensor, hints: Tensor, basis: Tensor
    ) -> Tensor:
        """``frames``: of the prior, if there are several; ``hints``: ``(B, C, H, W)``, what else the U-Net is told."""
        deconvolved = deconvolution_estimates(
            photo, estimate, points, basis, self.steps, self.step_size, self.padding_mode
        )
        seen = [part for image, residual in deconvolved for part in (image - photo, residual)]
        inputs = torch.cat([photo - 0.5, *seen, *(frame - photo for frame in frames), hints], 1)
        inputs = inputs.to(self.unet.stem.weight.dtype).contiguous(memory_format=torch.channels_last)
        *trusts, correction = self.unet(inputs).float().split(3, 1)
        result = estimate + correction
        found = [image for step, (image, _) in zip(self.steps, deconvolved, strict=True) if step > 0]
        for trust, image in zip(trusts, (*found, *frames), strict=True):
            # The inverse of the sigmoid, so that outputs of 0 take over START_SHARE in all.
            share = torch.sigmoid(trust + torch.logit(torch.tensor(START_SHARE / len(trusts))).item())
            result = result + share * (image - estimate)
        return result


class MotionGuidedPreTrainedModel(BundledNamesMixin, SavedWithCodeMixin, PreTrainedModel):
    config_class = MotionGuidedConfig
    base_model_prefix = ""
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["GuidedResidualBlock"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            module.weight.mul_(getattr(module, "gain", 1.0))
            if module.bias is not None:
                init.zeros_(module.bias)


class MotionGuidedForImageDeblurring(DeblurrerMixin, MotionGuidedPreTrainedModel):
    """Deblurs photos along their exposure trajectories; see [`MotionGuidedConfig`].

    Example:
        >>> model = MotionGuidedForImageDeblurring(MotionGuidedConfig())
        >>> photo, motion = torch.rand(1, 3, 48, 64), torch.zeros(1, 4, 48, 64)
        >>> tuple(model(photo, control_points=motion).sharp.shape)
        (1, 3, 48, 64)
    """

    auto_class_name = "AutoModel"

    def __init__(self, config: MotionGuidedConfig) -> None:
        super().__init__(config)
        self.stages = nn.ModuleList(GuidedStage(config) for _ in range(config.num_stages))
        self.estimator = (
            EtrajModel(cast(EtrajConfig, config.estimator_config)) if config.estimator_config is not None else None
        )
        prior = config.prior_config
        self.prior = None if prior is None else MaDmphnForImageDeblurring(cast(MaDmphnConfig, prior))
        self.post_init()

    @property
    def uses_motion(self) -> bool:
        return True

    @property
    def own_estimator(self) -> EtrajModel | None:
        return self.estimator

    @property
    def size_multiple(self) -> tuple[int, int]:
        return (self.config.size_multiple, self.config.size_multiple)

    @property
    def tile_margin(self) -> int:
        if self.prior is None:
            return ESTIMATOR_MARGIN  # deconvolution and the coarsest level both reach far
        return max(ESTIMATOR_MARGIN, DEBLURRER_MARGIN * self.config.prior_scales[-1])

    def sharpen(
        self, pixel_values: Tensor, control_points: Tensor | None, trajectory: str, as_exported: bool = False
    ) -> Tensor:
        if control_points is not None and trajectory != self.config.trajectory:
            raise BadInputError(
                f"the deblurrer takes {self.config.trajectory} trajectories and the estimator gives {trajectory}; "
                "join an estimator and a deblurrer of one trajectory"
            )
        if control_points is None:
            control_points = self._estimate(pixel_values)
        num_samples = None
        if not (as_exported or torch.compiler.is_compiling()):  # a graph has the config's number
            num_samples = samples_needed(control_points, self.config.trajectory, self.config.num_samples)
        return self(pixel_values, control_points=control_points, num_samples=num_samples).sharp

    def sample_basis(self, device: torch.device | None = None, num_samples: int | None = None) -> Tensor:
        """The ``(N, K)`` float32 basis of the model's trajectory at N sample times, the config's by default."""
        times = sample_times(num_samples or self.config.num_samples, dtype=torch.float32, device=device)
        return trajectory_basis(self.config.trajectory, times)

    def forward(
        self,
        pixel_values: Tensor,
        sharp_pixel_values: Tensor | None = None,
        control_points: Tensor | None = None,
        return_dict: bool | None = None,
        num_samples: int | None = None,
        **kwargs: Any,
    ) -> MotionGuidedOutput | tuple:
        """Deblur ``pixel_values``.

        Args:
            pixel_values: blurred images, ``(B, 3, H, W)`` in [0, 1], sides of 16 pixels or more.
            sharp_pixel_values: ``(B, 3, H, W)``; with them the loss is returned.
            control_points: ``(B, 2K, H, W)``, pixels, of the config's trajectory; by default the model's own estimator
                finds them.
            num_samples: number of samples of the exposure, odd; by default the config's, as in training.

        Raises:
            BadInputError: shapes do not fit, or a model without an estimator gets no control points.
        """
        self._check(pixel_values, sharp_pixel_values, control_points)
        if control_points is None:
            control_points = self._estimate(pixel_values)
        outputs = self._deblur(pixel_values.float(), control_points.float(), num_samples)
        loss = losses = None
        if sharp_pixel_values is not None:
            terms = [functional.mse_loss(output, sharp_pixel_values.float()) for output in outputs]
            losses = {f"mse_{number}": term for number, term in enumerate(terms, 1)}
            loss = torch.stack(terms).sum()
        result = MotionGuidedOutput(loss, losses, outputs[-1], outputs, control_points)
        return result if (self.config.return_dict if return_dict is None else return_dict) else result.to_tuple()

    def _deblur(self, photo: Tensor, control_points: Tensor, num_samples: int | None) -> Images:
        height, width = photo.shape[2:]
        multiple = self.config.size_multiple
        padding = (0, -width % multiple, 0, -height % multiple)
        if any(padding):
            photo, control_points = (functional.pad(one, padding, mode="replicate") for one in (photo, control_points))
        basis = self.sample_basis(photo.device, num_samples)
        trajectory = self.config.trajectory
        along = path_samples(photo, control_points, trajectory, self.config.path_distances)
        hints = torch.cat([motion_features(control_points, trajectory), *along], 1)
        frames = () if self.prior is None else self._frames(self.prior, photo, control_points)
        estimate, outputs = photo, []
        if frames:
            shares = [1 / scale for scale in self.config.prior_scales]
            estimate = torch.stack([share * frame for share, frame in zip(shares, frames, strict=True)]).sum(0)
            estimate = estimate / sum(shares)
        for stage in self.stages:
            estimate = stage(photo, estimate, frames if len(frames) > 1 else (), control_points, hints, basis)
            outputs.append(estimate[:, :, :height, :width].contiguous())
        return tuple(outputs)

    def _frames(self, prior: MaDmphnForImageDeblurring, photo: Tensor, control_points: Tensor) -> Images:
        """The prior's frame, and what it changes at smaller sizes added to the photo, for each of the scales."""
        frames = []
        for scale in self.config.prior_scales:
            small, points = reduced(photo, scale), reduced(control_points, scale) / scale
            change = prior.sharpen(small, points, self.config.trajectory).float() - small
            if scale > 1:
                change = functional.interpolate(change, size=photo.shape[2:], mode="bicubic", align_corners=False)
            frames.append(photo + change)
        return tuple(frames)

    def _estimate(self, pixel_values: Tensor) -> Tensor:
        if self.estimator is None:
            raise BadInputError(
                "control_points is None and the model has no estimator; pass (B, 2K, H, W) control points, or use a "
                "config with an estimator_config"
            )
        return self.estimator(pixel_values, output_motion_offsets=False).control_points

    def _check(self, pixel_values: Tensor, sharp: Tensor | None, control_points: Tensor | None) -> None:
        shape = tuple(pixel_values.shape)
        if len(shape) != 4 or shape[1] != 3 or min(shape[2:]) < MIN_SIDE:
            raise BadInputError(
                f"pixel_values has shape {shape}; it must be (B, 3, H, W) with sides of {MIN_SIDE} or more"
            )
        if sharp is not None and tuple(sharp.shape) != shape:
            raise BadInputError(f"sharp_pixel_values has shape {tuple(sharp.shape)}; pixel_values has {shape}")
        expected = (shape[0], 2 * self.config.num_control_points, *shape[2:])
        if control_points is not None and tuple(control_points.shape) != expected:
            raise BadInputError(f"control_points has shape {tuple(control_points.shape)}; it must be {expected}")


__all__ = ["MotionGuidedForImageDeblurring", "MotionGuidedOutput", "MotionGuidedPreTrainedModel"]
