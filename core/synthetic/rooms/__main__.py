"""``python -m gaussiancross.core.synthetic.rooms --seeds 0 1 2 3 --out sheet.png`` draws a contact sheet."""

from __future__ import annotations

import argparse
import sys

from ...errors import InputError
from .preview import save_sheet
from .recipes import KINDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="gaussiancross.core.synthetic.rooms", description="Draw procedural rooms.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--out", default="sheet.png", help="image file to write")
    parser.add_argument("--views", type=int, default=4, help="pictures per room")
    parser.add_argument("--kind", choices=KINDS, default=None, help="make every room one of this kind")
    arguments = parser.parse_args()
    try:
        save_sheet(arguments.seeds, arguments.out, arguments.views, arguments.kind)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
