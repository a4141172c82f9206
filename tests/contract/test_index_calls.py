"""When xarray asks an index, and with what: the ground of our alignment."""

from __future__ import annotations

import contextlib
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from recording import CALLS, RecordingIndex, note_of, recorded
from xarray.indexes import Index, PandasIndex

A, NEAR, FAR = [0.0, 1.0, 2.0, 3.0], [0.01, 1.0, 2.0, 3.0], [0.5, 1.5, 2.5, 3.5]


def test_an_index_makes_its_parts_by_the_private_method_replace() -> None:
    signature = inspect.signature(PandasIndex._replace)
    assert list(signature.parameters) == ["self", "index", "dim", "coord_dtype"]
    assert [p.default for p in signature.parameters.values()][2:] == [None, None]


@pytest.mark.parametrize(
    "name", ["equals", "join", "reindex_like", "sel", "isel", "roll", "concat", "from_variables", "create_variables"]
)
def test_the_methods_that_we_override_are_there(name: str) -> None:
    assert callable(getattr(Index, name))


def test_equals_is_called_with_exclude_or_without() -> None:
    assert "exclude" in inspect.signature(PandasIndex.equals).parameters


def test_isel_rename_and_copy_keep_what_replace_passes_on() -> None:
    da = recorded(A, "kept")
    parts = [da.isel(row=slice(None, None, 2)), da.isel(row=[0, 1]), da[::-1], da.copy(), da.roll(row=1)]
    assert [note_of(p) for p in parts] == ["kept"] * 5
    assert da.rename(row="line").xindexes["line"].note == "kept"  # type: ignore[attr-defined]
    assert "_replace" in CALLS


def test_create_variables_is_called_after_isel_so_that_attrs_stay_true() -> None:
    assert recorded(A).isel(row=slice(0, 2)).row.attrs["size"] == 2


def test_an_index_drops_out_where_a_label_is_selected_and_its_attrs_stay() -> None:
    one = recorded(A).isel(row=1)
    assert "row" not in one.xindexes
    assert one.row.attrs["size"] == 4


def test_arithmetic_asks_equals_and_keeps_the_left_labels() -> None:
    total = recorded(A, "left") + recorded(NEAR, "right")
    assert total.row.values.tolist() == A
    assert note_of(total) == "left"
    assert "equals" in CALLS
    assert not any(c.startswith("join") for c in CALLS)


def test_arithmetic_asks_join_where_equals_says_no() -> None:
    with pytest.raises(xr.AlignmentError, match="told by the index"):
        recorded(A) + recorded(FAR)
    assert "join inner" in CALLS


@pytest.mark.parametrize("how", ["inner", "outer"])
def test_align_asks_join(how: str) -> None:
    with pytest.raises(xr.AlignmentError, match="told by the index"):
        xr.align(recorded(A), recorded(FAR), join=how)  # type: ignore[call-overload]
    assert f"join {how}" in CALLS


def test_left_joins_ask_reindex_like_and_not_join() -> None:
    with pytest.raises(xr.AlignmentError, match="told by reindex_like"):
        xr.align(recorded(A), recorded(FAR), join="left")
    with pytest.raises(xr.AlignmentError, match="told by reindex_like"):
        recorded(A).fillna(recorded(FAR))
    with pytest.raises(xr.AlignmentError, match="told by reindex_like"):
        recorded(A).to_dataset().assign(other=recorded(FAR))
    assert not any(c.startswith("join") for c in CALLS)


def test_exact_joins_raise_xarrays_own_text() -> None:
    with pytest.raises(xr.AlignmentError, match="row") as caught:
        xr.apply_ufunc(np.add, recorded(A), recorded(FAR))
    assert "told by" not in str(caught.value)


def test_in_place_arithmetic_refuses_other_labels() -> None:
    left = recorded(A)
    with pytest.raises((xr.AlignmentError, xr.MergeError)):
        left += recorded(FAR)


def test_item_assignment_asks_no_index() -> None:
    left, right = recorded(A), recorded(FAR)
    left[{"row": slice(None)}] = right.drop_vars("row")
    assert not {"equals", "join inner", "reindex_like"} & set(CALLS)


def test_an_index_is_not_compared_with_a_plain_one_but_other_labels_are_refused() -> None:
    plain = recorded(A).drop_indexes("row").set_xindex("row")
    with contextlib.suppress(xr.AlignmentError):  # some versions refuse equal labels as well
        assert (recorded(A) + plain).sizes["row"] == 4
    assert "equals" not in CALLS
    with pytest.raises(xr.AlignmentError, match="conflicting indexes"):
        recorded(NEAR) + plain


def test_reindex_with_new_labels_always_raises() -> None:
    with pytest.raises(xr.AlignmentError, match="conflicting indexes"):
        recorded(A).reindex(row=[0.0, 1.0])


OPERATIONS: dict[str, Callable[[xr.DataArray, xr.DataArray], Any]] = {
    "where": lambda a, b: a.where(b > 0),
    "merge": lambda a, b: xr.merge([a.rename("a"), b.rename("b")], join="outer", compat="no_conflicts"),
    "concat": lambda a, b: xr.concat([a, b], "tag", join="outer", coords="minimal", compat="override"),
    "combine_first": lambda a, b: a.combine_first(b),
    "dot": lambda a, b: a.dot(b),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_other_operations_on_two_images_ask_the_index(name: str) -> None:
    with pytest.raises(xr.AlignmentError, match="told by"):
        OPERATIONS[name](recorded(A), recorded(FAR))


def test_concat_along_the_axis_calls_the_class_method(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def concat(cls: type[RecordingIndex], indexes: list[RecordingIndex], dim: str, positions: object = None) -> object:
        calls.append(len(indexes))
        return super(RecordingIndex, cls).concat(indexes, dim, positions)  # type: ignore[arg-type]

    monkeypatch.setattr(RecordingIndex, "concat", classmethod(concat))
    da = recorded(A)
    assert xr.concat([da[:2], da[2:]], "row").row.values.tolist() == A
    assert calls == [2]


def test_an_index_survives_pickle_and_deep_copy() -> None:
    da = recorded(A, "kept")
    assert note_of(pickle.loads(pickle.dumps(da))) == "kept"
    assert note_of(da.copy(deep=True)) == "kept"
    assert note_of(da.to_dataset(name="x")) == "kept"


def test_repr_is_asked_with_the_keyword_max_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecordingIndex, "_repr_inline_", lambda self, max_width: "INLINE", raising=False)
    with xr.set_options(display_default_indexes=True):
        assert "INLINE" in repr(recorded(A))


def test_xindexes_does_not_cast_and_indexes_gives_the_pandas_index() -> None:
    da = recorded(A)
    assert isinstance(da.xindexes["row"], RecordingIndex)
    assert da.indexes["row"].tolist() == A
