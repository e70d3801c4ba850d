"""Losses of an estimator where the true motion is known: of the motion, and of how sure it says it is."""

from __future__ import annotations

import torch
from torch import Tensor

from ..exposure.doubled_angle import to_doubled_angle
from ..models.modeling_etraj import EtrajModel


def known_motion_loss(model: EtrajModel, control_points: Tensor, ends: Tensor, known: Tensor, count: Tensor) -> Tensor:
    """L1 between the offsets at both ends of the exposure and the true ones, where these are known; pixels.

    For a model whose last network predicts doubled angles, between what the offsets and the true ones are in these
    terms (see :mod:`motion_offsets.exposure.doubled_angle`), so that the direction of time does not count.

    Args:
        model: whose trajectory the control points belong to.
        control_points: ``(B, 2K, H, W)``.
        ends: ``(B, 2, 2, H, W)``, the true offsets at -1 and 1.
        known: ``(B, 1, H, W)``, 1 where they are right and 0 elsewhere.
        count: what the sum is divided by: how many pixels are known, in this batch or as a mean over processes.
    """
    found = model.offsets_at(control_points, [-1.0, 1.0])
    if model.config.direction == "doubled-angle" or model.config.context_widths:
        # The ends are the control points of a quadratic path.
        code, true = (to_doubled_angle(one.flatten(1, 2), "quadratic") for one in (found, ends))
        difference = (code - true).abs().mean(1)
    else:
        difference = (found - ends).abs().mean((1, 2))
    return (difference * known[:, 0]).sum() / count.clamp(min=1)


def uncertainty_loss(uncertainty: Tensor, found: Tensor, batch: dict[str, Tensor], count: Tensor) -> Tensor:
    """Negative log-likelihood ``log u + e / u`` of the errors ``e`` under an exponential distribution of mean ``u``.

    Its minimum is where ``u`` is the mean error.

    Args:
        uncertainty: ``u``, ``(B, 1, H, W)``, pixels.
        found: ``(B, 2, 2, H, W)``, estimated offsets at -1 and 1, pixels. ``e`` is the mean distance of both ends
            from the true ones, in the direction of time in which it is smaller.
        batch: ``ends``, the true ones, likewise; ``known``, ``(B, 1, H, W)``, 1 where they are right and 0 elsewhere.
        count: as in :func:`known_motion_loss`.
    """
    ends, known = batch["ends"], batch["known"]
    distances = [(found - one).square().sum(2).sqrt().mean(1) for one in (ends, ends.flip(1))]
    error = torch.minimum(*distances)
    scale = uncertainty[:, 0]
    return ((scale.log() + error / scale) * known[:, 0]).sum() / count.clamp(min=1)
