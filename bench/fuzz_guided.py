"""Damaged files for one parser, chosen by coverage of mmkd's own code (atheris), where `fuzz.py` draws them at random.

    pip install atheris                 # not among the extras: it needs a wheel for your platform
    python bench/fuzz_guided.py NAME [--seconds 60] [--seed 1]

Ends with 0 when the time is over. Stops at the first fault, and leaves its input in the working folder (crash-...).
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mmkd"]):
    from fuzz_parsers import PARSERS

LIMIT_S = 5
LIMIT_MB = 4096  # of the whole process, whose libraries need a quarter of it


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("parser", choices=PARSERS, metavar="NAME")
    asked.add_argument("--seconds", type=int, default=60)
    asked.add_argument("--seed", type=int, default=1)
    found = asked.parse_args()
    parser, folder = PARSERS[found.parser], Path(tempfile.mkdtemp(prefix="fuzz-"))
    sound = folder / "sound"
    sound.mkdir()
    for place, data in enumerate(parser.seeds()):
        (sound / str(place)).write_bytes(data)

    def once(data: bytes) -> None:
        parser.outcome(folder / "input", parser.mended(data))

    limits = [f"-max_total_time={found.seconds}", f"-timeout={LIMIT_S}", f"-rss_limit_mb={LIMIT_MB}"]
    atheris.Setup([sys.argv[0], *limits, f"-seed={found.seed}", "-close_fd_mask=2", str(sound)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
