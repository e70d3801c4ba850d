"""Measure a model over several processes: ``accelerate launch train/evaluate.py BENCHMARK --images PHOTOS``.

See :mod:`motion_offsets.evaluation.distributed`.
"""

from missing_packages import import_errors_in_one_line

with import_errors_in_one_line():
    from motion_offsets.evaluation.distributed import run_from_command_line

if __name__ == "__main__":
    run_from_command_line()
