"""``python -m gaussiancross.core.synthetic.objects --out sheet.png`` draws a contact sheet."""

from __future__ import annotations

import argparse
import sys

from ...errors import InputError
from .catalogue import CATEGORIES
from .preview import save_sheet


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="gaussiancross.core.synthetic.objects", description="Draw procedural objects."
    )
    parser.add_argument("--out", default="sheet.png", help="image file to write")
    parser.add_argument("--categories", nargs="+", default=list(CATEGORIES), metavar="NAME", help="all by default")
    parser.add_argument("--instances", type=int, default=4, help="pictures per category")
    parser.add_argument("--size", type=int, default=96, help="pixels per picture")
    parser.add_argument("--columns", type=int, default=4, help="categories side by side")
    parser.add_argument("--first", type=int, default=0, help="seed of the first instance")
    a = parser.parse_args()
    try:
        save_sheet(a.out, a.categories, a.instances, a.size, a.columns, a.first)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {a.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
