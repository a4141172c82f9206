"""The page "xarray operations, one by one": each row is run, judged by its voxels, and stands in the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import operations
import pytest
from operations_list import OPERATIONS

Rows = dict[str, operations.Outcome]


@pytest.fixture(scope="module")
def rows(require_module: Callable[[str], Any]) -> Rows:
    """Outcome of each line of code."""
    require_module("matplotlib").use("Agg")
    return {operation.code: outcome for operation, outcome in operations.outcomes()}


@pytest.mark.parametrize("code", [operation.code for operation in OPERATIONS])
def test_an_operation_does_what_the_page_says(code: str, rows: Rows) -> None:
    (expected,) = {operation.expected for operation in OPERATIONS if operation.code == code}
    assert rows[code].verdict == expected


def test_what_is_not_true_stands_among_what_cannot_be_guarded_and_nowhere_else(rows: Rows) -> None:
    wrong = {operation.group for operation in OPERATIONS if rows[operation.code].verdict == "WRONG"}
    assert wrong == {"What cannot be guarded"}


def test_whose_voxels_they_are_is_what_the_page_says(rows: Rows) -> None:
    whose = [rows[operation.code].patient for operation in OPERATIONS if "another's" in operation.group]
    assert whose == ["", "", "c", "a", "a", ""]
    assert rows["a += 0 * b"].patient == "a"


def test_what_raises_and_what_is_not_true_has_advice() -> None:
    silent = [operation.code for operation in OPERATIONS if operation.expected != "right" and not operation.advice]
    assert not silent


def test_indexes_that_are_lost_are_mentioned(rows: Rows) -> None:
    silent = [
        operation.code for operation in OPERATIONS if rows[operation.code].indexes == "lost" and not operation.advice
    ]
    assert not silent


def test_the_page_is_up_to_date() -> None:
    text = operations.PAGE.read_text(encoding="utf-8")
    assert operations.page(text, operations.outcomes()) == text, "run examples/operations.py --write"
