"""A few steps of deconvolution along the trajectories: Landweber's iteration with Nesterov's momentum.

With ``B`` the exposure along the trajectories (eq. 3) and ``B*`` the exposure along the reversed trajectories, which
is its adjoint wherever the motion is locally constant, a step is ``x_n = z_n + s B*(y - B z_n)``,
``z_{n+1} = x_n + (n - 1) / (n + 2) (x_n - x_{n-1})``. It has no prior: it is stopped early.
"""

from __future__ import annotations

from torch import Tensor

from .blur import expose


def deconvolution_estimates(
    photo: Tensor,
    start: Tensor,
    control_points: Tensor,
    basis: Tensor,
    steps: tuple[int, ...],
    step_size: float = 1.0,
    padding_mode: str = "border",
) -> tuple[tuple[Tensor, Tensor], ...]:
    """Estimates of the sharp image after some numbers of steps of accelerated deconvolution along the motion.

    ``x_n = z_n + s B*(y - B z_n)`` with ``z_{n+1} = x_n + (n - 1) / (n + 2) (x_n - x_{n-1})``.

    Args:
        photo: the blurred image ``y``, ``(B, 3, H, W)``.
        start: the first ``z``, ``(B, 3, H, W)``.
        control_points: ``(B, 2K, H, W)``, pixels.
        basis: ``(N, K)``, see :func:`~motion_offsets.exposure.trajectories.trajectory_basis`.
        steps: rising numbers of steps after which the estimate is returned; after 0 it is ``start``.
        step_size: ``s``, above 0; 1 is the largest that is sure to converge.
        padding_mode: as in :func:`~motion_offsets.exposure.blur.create_blur`.

    Returns:
        For each of ``steps`` the estimate ``x`` and what it leaves unexplained, ``y - B x``, both ``(B, 3, H, W)``.
        Differentiable in ``start`` and ``control_points``.
    """
    if not steps:
        return ()
    estimate = ahead = start
    residual = photo - expose(ahead, control_points, basis, padding_mode)
    found = [(start, residual)] if steps[0] == 0 else []
    for step in range(1, max(steps) + 1):
        following = ahead + step_size * expose(residual, -control_points, basis, padding_mode)
        if step in steps:
            found.append((following, photo - expose(following, control_points, basis, padding_mode)))
        # Nesterov's momentum: n steps reach what about n^2 / 4 plain ones would.
        ahead = following + (step - 1) / (step + 2) * (following - estimate)
        estimate = following
        if step < max(steps):
            residual = photo - expose(ahead, control_points, basis, padding_mode)
    return tuple(found)
