"""How long motion is fitted to a photo; see :mod:`.blind_refinement` and :mod:`.refinement`. Loads no torch."""

from ..errors import BadInputError

REFINE_STEPS = 40  # of each fit, by default


def check_refine_steps(steps: int) -> int:
    """Return ``steps``; :class:`BadInputError` if it is not a number of steps."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise BadInputError(
            f"refine_steps is {steps!r}; give a whole number of steps such as {REFINE_STEPS}, or 0 for none"
        )
    return steps
