"""A sharp frame keeps the mean of each colour of its photo: deblurring moves light and makes none."""

from __future__ import annotations

from torch import Tensor


def keep_colour_means(photo: Tensor, sharp: Tensor) -> Tensor:
    """Add to each colour of the sharp frames what makes their means those of the photos, in place.

    Networks darken photos by up to a level of 255. Exactly, blur keeps means in linear light, so that the encoded
    means of a photo and of its true sharp frame may differ a little.
    Keeping the linear means instead would depend on how the photo was made, and is worse on synthetic blur.

    Args:
        photo: ``(B, 3, H, W)`` in [0, 1].
        sharp: of the same shape, not clamped; it is changed.
    """
    for one, made in zip(photo, sharp, strict=True):  # one by one, so that no photo's sums depend on its neighbours
        missing = one.to(made.dtype).mean((1, 2), keepdim=True) - made.mean((1, 2), keepdim=True)
        # A value that is not finite stays where it is.
        made += missing.where(missing.isfinite(), 0)
    return sharp
