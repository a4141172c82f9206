"""Run all benchmarks and put their tables into `docs/benchmarks.md`, below the mark there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "benchmarks.md"
MARK = "<!-- made by tests/benchmarks/report.py -->\n"


def main() -> None:
    """Run them one after the other; the page is written when all have run."""
    parts = []
    for script in sorted(HERE.glob("bench_*.py")):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script)], stdout=subprocess.PIPE, text=True, check=True
        )
        parts.append(done.stdout.strip())
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(head + MARK + "\n" + "\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
