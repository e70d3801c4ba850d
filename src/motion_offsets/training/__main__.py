"""``python -m motion_offsets.training`` is ``train/train.py``."""

from .run import run_from_command_line

if __name__ == "__main__":
    run_from_command_line()
