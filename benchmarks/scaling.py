"""Time, cost and storage of very many photos, from a measured time a photo: the sums of ``docs/guides/folders.md``.

    python benchmarks/scaling.py --seconds-per-photo S [--price-per-hour P --machines M --megabytes-per-photo B ...]

Nothing is measured here, nor assumed about prices: those given are multiplied, what is not given is left out. Take the
seconds from ``benchmarks/folder.py`` (1 / photos per second) or, one photo at a time, from ``benchmarks/pipeline.py``,
and the megabytes from ``du`` of a result folder. The formulas are those of :func:`plan`. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass

HOUR, DAY, YEAR = 3600, 86_400, 365.25 * 86_400


@dataclass(frozen=True)
class Plan:
    """What a number of photos takes; costs are ``None`` where no price was given."""

    photos: int
    machine_hours: float
    days: float
    repeated_hours: float
    compute_cost: float | None
    terabytes: float | None
    storage_cost_per_month: float | None


def plan(
    photos: int,
    seconds_per_photo: float,
    machines: int = 1,
    efficiency: float = 1.0,
    kills_per_machine_day: float = 0.0,
    price_per_hour: float | None = None,
    megabytes_per_photo: float | None = None,
    price_per_terabyte_month: float | None = None,
) -> Plan:
    """The arithmetic.

    Args:
        photos: N.
        seconds_per_photo: s, wall-clock on one machine that does nothing else.
        machines: M, which share the photos evenly.
        efficiency: e, the part of a machine's time in which it works on photos, 1 at most.
        kills_per_machine_day: k. A kill costs at most the photos in flight, here taken as three.
        price_per_hour: of one machine.
        megabytes_per_photo: of a result folder.
        price_per_terabyte_month: of storage.
    """
    work = photos * seconds_per_photo / efficiency
    repeated = work / DAY * kills_per_machine_day * 3 * seconds_per_photo
    hours = (work + repeated) / HOUR
    terabytes = None if megabytes_per_photo is None else photos * megabytes_per_photo / 1e6
    storage = None
    if terabytes is not None and price_per_terabyte_month is not None:
        storage = terabytes * price_per_terabyte_month
    return Plan(
        photos=photos,
        machine_hours=hours,
        days=hours * HOUR / DAY / machines,
        repeated_hours=repeated / HOUR,
        compute_cost=None if price_per_hour is None else hours * price_per_hour,
        terabytes=terabytes,
        storage_cost_per_month=storage,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds-per-photo", type=float, required=True)
    parser.add_argument("--photos", type=float, nargs="*", default=[1e6, 1e9])
    parser.add_argument("--machines", type=int, default=1)
    parser.add_argument("--efficiency", type=float, default=1.0)
    parser.add_argument("--kills-per-machine-day", type=float, default=0.0)
    parser.add_argument("--price-per-hour", type=float, help="of one machine, in any currency")
    parser.add_argument("--megabytes-per-photo", type=float)
    parser.add_argument("--price-per-terabyte-month", type=float)
    arguments = parser.parse_args()
    if min(arguments.seconds_per_photo, arguments.efficiency, arguments.machines) <= 0:
        parser.error("seconds per photo, efficiency and machines must be above 0")
    options = {name: value for name, value in vars(arguments).items() if name != "photos"}
    plans = [plan(int(photos), **options) for photos in arguments.photos]
    header = ("photos", "machine hours", "days on M", "years on one", "compute", "TB", "storage a month")
    print(" | ".join(header))
    for each in plans:
        years = each.machine_hours * HOUR / YEAR
        numbers = (
            each.machine_hours,
            each.days,
            years,
            each.compute_cost,
            each.terabytes,
            each.storage_cost_per_month,
        )
        print(" | ".join([f"{each.photos:.0e}", *("-" if number is None else f"{number:,.4g}" for number in numbers)]))
    print(json.dumps({"inputs": options, "plans": [asdict(each) for each in plans]}))


if __name__ == "__main__":
    main()
