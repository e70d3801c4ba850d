"""``python -m motion_offsets.training`` is ``train/train.py``."""

import sys

from ..errors import BadInputError
from ..runtime.extras import require

if __name__ == "__main__":
    try:
        require("training", "accelerate")
    except BadInputError as error:
        sys.stderr.write(f"train.py: {error}\n")
        sys.exit(2)
    from .run import run_from_command_line

    run_from_command_line()
