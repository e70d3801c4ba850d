"""``python -m motion_offsets.cli``, for ``accelerate launch -m motion_offsets.cli``."""

from . import main

if __name__ == "__main__":
    main()
