"""Train the trajectory estimator or a deblurrer: ``accelerate launch train/train.py --config train/configs/X.yaml``.

See :mod:`motion_offsets.training.run`.
"""

from missing_packages import import_errors_in_one_line

with import_errors_in_one_line():
    from motion_offsets.training.run import run_from_command_line

if __name__ == "__main__":
    run_from_command_line()
