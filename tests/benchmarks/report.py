"""Run the benchmarks and put their tables into `docs/benchmarks.md`, below the mark there.

Arguments: numbers of files to open beside 2000 (10000 without).
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from harness import GOAL

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "benchmarks.md"
MARK = "<!-- made by tests/benchmarks/report.py -->\n"
SCRIPTS = ("process", "many", "cluster", "http", "archives", "series")
"""Those on the page, in its order; the scan alone is run by hand."""


def ran(script: str, words: list[str]) -> str:
    """Run one script; what it prints."""
    start = time.perf_counter()
    command = [sys.executable, "-W", "ignore", str(HERE / f"bench_{script}.py"), *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    print(f"{script}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return done.stdout.strip()


def main(words: list[str]) -> None:
    """Run them one after the other; the page is written when all have run."""
    parts = [ran(script, words if script == "many" else []) for script in SCRIPTS]
    lines = "\n\n".join(parts).splitlines()
    goals = [line.removeprefix(GOAL).removesuffix("-->").strip() for line in lines if line.startswith(GOAL)]
    first = lines[0]  # versions and machine, the same in all
    tables = "\n".join(line for line in lines if not line.startswith(GOAL) and line != first)
    top = f"{first}\n\n## What is aimed at\n\n| | aimed at | measured | met |\n|---|--:|--:|---|\n" + "\n".join(goals)
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(f"{head}{MARK}\n{top}\n\n## Processes, clusters, the web\n\n{tables.strip()}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
