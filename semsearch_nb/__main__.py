"""python -m semsearch_nb check: can this computer run the notebooks? Prints what it found, and a line to paste."""

from __future__ import annotations

import argparse


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m semsearch_nb", description=__doc__)
    parser.add_argument("command", choices=["check"])
    parser.parse_args()
    from semsearch_nb.teaching import preflight  # late: --help needs no torch

    return preflight.check()


if __name__ == "__main__":
    raise SystemExit(main())
