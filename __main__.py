"""`python -m gaussiancross` is the command `gaussiancross`; so `torchrun … -m gaussiancross` starts it, too."""

from __future__ import annotations

import sys

from gaussiancross.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
