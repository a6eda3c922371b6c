"""Run the notebooks, renew their outputs, and write the parts that are generated.

python tools/notebooks.py run               executed pages in build/, with an index
python tools/notebooks.py refresh [NAME …]  execute in place, to renew the committed outputs
python tools/notebooks.py sync [--check]    headers, setup cells, tables, links
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from run import ARCHIVE, refresh, run
from sync import sync


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--elasticsearch", choices=["download"], help="fetch the official archive for notebook 06")
    commands.add_parser("refresh").add_argument("names", nargs="*", metavar="NAME", help="how the file names begin")
    commands.add_parser("sync").add_argument("--check", action="store_true", help="change nothing, fail if stale")
    options = parser.parse_args(arguments)
    if options.command == "run":
        if options.elasticsearch:
            from semsearch_nb.elastic import archives

            os.environ.setdefault(ARCHIVE, archives.official())
        return int(any(result.error for result in run()))
    if options.command == "refresh":
        return int(bool(refresh(options.names)))
    stale = sync(options.check)
    for name in stale:
        print(f"{name}: {'stale, run make sync' if options.check else 'written'}")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
