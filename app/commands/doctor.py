"""`gaussiancross doctor`: report what works on this machine, and how to fix what does not."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from ..doctor.report import is_healthy, print_report, run_checks


def main(args: Sequence[str]) -> int:
    # argparse instead of tyro: this command has to run where packages are missing.
    parser = argparse.ArgumentParser(prog="gaussiancross doctor", description="Report what works on this machine.")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--deep", action="store_true", help="also run the kernels (minutes if they must be compiled)")
    options = parser.parse_args(args)
    results = run_checks(options.deep)
    healthy = is_healthy(results)
    if options.json:
        report = {"ok": healthy, "checks": [asdict(result) for result in results]}
        print(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        print_report(results)
    return 0 if healthy else 1
