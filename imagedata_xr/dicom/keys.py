"""What images can be ordered by: their values of each order, their clock, and which of them vary."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelError, SortError
from ..model.orders import ORDERS, Order, parse_order
from ..stores.url import file_name
from .clock import Clock, clocks_of, tells_apart
from .frames import Frames
from .header import read_header
from .stacks import cluster

VALUE_ORDERS = ("te", "ti", "fa")


class Keys:
    """Values of the frames of a stack, by order.

    Parameters
    ----------
    frames : Frames
    slot : ndarray, shape (n,)
        Number of the slice of each frame.
    """

    def __init__(self, frames: Frames, slot: NDArray[np.intp]) -> None:
        self.frames, self.slot = frames, slot
        self.slices = int(slot.max()) + 1
        self.instance_number = np.nan_to_num(frames.numbers("InstanceNumber"), nan=np.inf)
        self._own: dict[str, NDArray[np.float64]] = {}

    @cached_property
    def several(self) -> bool:
        """Whether some position has more than one image."""
        return bool(np.bincount(self.slot).max() > 1)

    # --- clocks ----------------------------------------------------------------------------------------------------
    @cached_property
    def clock(self) -> Clock | None:
        """The first clock that tells images of one position and value apart; None if none does."""
        slot = self._value_slot
        clocks = clocks_of(self.frames)
        if not self.several:
            return clocks[0] if clocks else None
        return next((c for c in clocks if tells_apart(c.seconds, slot)), self._repetitions)

    @cached_property
    def _value_slot(self) -> NDArray[np.intp]:
        # echoes of one excitation share a clock; so images of other echo time are no rivals
        slot = self.slot
        for name in VALUE_ORDERS:
            group, values = self._clusters(ORDERS[name])
            if len(values) > 1:
                slot = slot * len(values) + group
        return slot

    @property
    def _repetitions(self) -> Clock | None:
        """Volume number x RepetitionTime, for single-shot 2-D EPI that says that its volumes are a time course.

        In such a sequence every slice is excited once per RepetitionTime, so that is the volume interval.
        """
        f = self.frames
        counts = np.bincount(self._value_slot, minlength=1)
        counts = counts[counts > 0]
        planar = all("EP" in (s or ()) for s in f.strings("ScanningSequence"))
        flat = all((t or ("",))[0] == "2D" for t in f.strings("MRAcquisitionType"))
        tr, volumes = f.numbers("RepetitionTime"), f.numbers("NumberOfTemporalPositions")
        if not (
            planar and flat and counts.min() == counts.max() and (volumes == counts[0]).all() and (tr == tr[0]).all()
        ):
            return None
        if np.isinf(self.instance_number).any():
            return None
        order = np.lexsort((self.instance_number, self._value_slot))
        rank = np.empty(len(order))
        rank[order] = np.arange(len(order)) % counts[0]
        return Clock(rank * tr[0] * 1e-3, "InstanceNumber x RepetitionTime", False)

    def seconds(self, order: Order) -> NDArray[np.float64]:
        """Time of each frame on the clock of an order, s; zeros where the order has none."""
        if order.name == "triggertime":
            return self.frames.numbers("TriggerTime") * 1e-3
        if order.name == "none":
            # the instance number decides; a clock only where that is missing
            missing = np.isinf(self.instance_number).all()
            return self.clock.seconds if missing and self.clock is not None else np.zeros(len(self.frames))
        if self.clock is not None:
            return self.clock.seconds
        have = clocks_of(self.frames)
        return have[0].seconds if have else np.zeros(len(self.frames))

    def source(self, order: Order) -> str:
        """Name of the element or elements behind an order's clock."""
        if order.name == "triggertime":
            return "TriggerTime"
        have = clocks_of(self.frames)
        return self.clock.source if self.clock is not None else have[0].source if have else "time"

    # --- values ------------------------------------------------------------------------------------------------------
    def values(self, order: Order) -> NDArray[np.float64]:
        """Value of each frame in an order of values, in the units of its label."""
        if order.read is not None:
            return self._call(order)
        if order.by in ("rank", "instance"):
            return self.seconds(order)
        if order.label.coord == "b_value":
            return self.frames.diffusion.b_value
        return self.frames.numbers(order.label.keyword) * order.label.factor

    def _call(self, order: Order) -> NDArray[np.float64]:
        """Values of an order of the user's own, from whole headers."""
        if order.name not in self._own:
            assert order.read is not None
            out = np.empty(len(self.frames))
            for k, row in enumerate(self.frames.file):
                value: Any = order.read(read_header(self.frames.scan.files[int(row)]))
                try:
                    out[k] = float(value)
                except (TypeError, ValueError):
                    name = file_name(self.frames.scan.files[int(row)])
                    raise SortError(f"order {order.name!r}: the callable returned no number for {name}") from None
            self._own[order.name] = out
        return self._own[order.name]

    def _clusters(self, order: Order) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Group of each frame and the value of each group; a single group where the element is absent."""
        raw = self.values(order)
        if np.isnan(raw).all():
            return np.zeros(len(raw), dtype=np.intp), np.array([np.nan])
        filled = np.where(np.isnan(raw), np.nanmin(raw) - 10 * order.label.tolerance - 1, raw)
        group = cluster(filled, order.label.tolerance)
        values = np.array([raw[np.flatnonzero(group == g)[0]] for g in range(int(group.max()) + 1)])
        return group, values

    def groups(self, order: Order) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Group of each frame among those of equal value, and each group's value, ascending."""
        if order.by != "diffusion":
            return self._clusters(order)
        d = self.frames.diffusion
        vector = np.nan_to_num(d.vector)
        rows = np.column_stack(
            [cluster(np.nan_to_num(d.b_value), 0.5), np.nan_to_num(d.directionality) == 3, vector.round(3)]
        )
        _, group = np.unique(rows, axis=0, return_inverse=True)
        group = group.ravel().astype(np.intp)
        return group, np.arange(int(group.max()) + 1, dtype=np.float64)

    def require(self, order: Order) -> None:
        """Raise `SortError` where an order's element is missing from some images."""
        if order.by == "instance":
            return
        if order.by == "diffusion":
            values, what = self.frames.diffusion.b_value, "diffusion b-value"
        elif order.name == "time":
            values = (
                np.full(len(self.frames), np.nan)
                if not clocks_of(self.frames) and self.clock is None
                else self.seconds(order)
            )
            what = "acquisition time"
        else:
            values, what = self.values(order), order.label.keyword or order.name
        gaps = int(np.isnan(values).sum())
        if gaps:
            raise SortError(f"order {order.name!r}: {gaps} of {len(values)} images have no {what}. {self._advice()}")

    def _advice(self) -> str:
        found = ",".join(o.name for o in self.find_orders(None))
        return f"What varies here: order={found!r} (found by order='auto')"

    # --- finding out -------------------------------------------------------------------------------------------------
    def varying(self) -> list[Order]:
        """Orders of values (echo time, inversion time, flip angle) that take several values at one position."""
        out = []
        for name in VALUE_ORDERS:
            raw = self.values(ORDERS[name])
            if np.isnan(raw).any():
                continue
            group, values = self._clusters(ORDERS[name])
            if len(values) > 1 and self._varies_at_a_position(group):
                out.append(ORDERS[name])
        return out

    def _varies_at_a_position(self, group: NDArray[np.intp]) -> bool:
        first = np.full(self.slices, -1)
        first[self.slot] = group
        return bool((first[self.slot] != group).any())

    @cached_property
    def diffusion_order(self) -> Order | None:
        """``dti`` where directions or b-values vary; None without diffusion."""
        b = self.frames.diffusion.b_value
        if np.isnan(b).any() or not (b > 0).any():
            return None
        group, values = self.groups(ORDERS["dti"])
        if len(values) < 2 or not self._varies_at_a_position(group):
            return None
        return ORDERS["dti"] if (self.frames.diffusion.vector != 0).any() else ORDERS["b"]

    def find_orders(self, allowed: Sequence[str] | None) -> list[Order]:
        """Orders by which the images vary: diffusion, else all that vary independently, else the one that does.

        Parameters
        ----------
        allowed : sequence of str, optional
            Names that may be found; all by default.
        """
        if allowed is not None:
            parse_order(",".join(allowed), lambda word: False)  # names the unknown ones
        may = set(allowed if allowed is not None else ORDERS)
        if not self.several:
            return [ORDERS["none"]]
        found = [o for o in self.varying() if o.name in may]
        diffusion = self.diffusion_order
        if diffusion is not None and diffusion.name in may:
            return [*found, diffusion] if self._fills(found, diffusion) else [diffusion]
        if found and self._fills(found, None):
            return found
        alone = next((o for o in found if self._fills([o], None)), None)
        if alone is not None:
            return [alone]
        if self.clock is not None and "time" in may and (self.clock.source != "TriggerTime" or "triggertime" in may):
            if self._fills(found, ORDERS["time"]):
                return [ORDERS["time"], *found]
            if tells_apart(self.clock.seconds, self.slot):
                return [ORDERS["time"]]
        return [ORDERS["none"]]

    def _fills(self, orders: list[Order], last: Order | None) -> bool:
        """Whether the orders, and one more, make a full grid with one image in each place."""
        place, size = self.slot, self.slices
        for order in orders:
            group, values = self._clusters(order)
            place, size = place * len(values) + group, size * len(values)
        if last is not None and last.by == "diffusion":
            # repeated directions make volumes of their own, so only the counts must agree
            last = None if not orders else last
            if last is None:
                return True
        counts = np.bincount(place, minlength=size)
        if last is None:
            return bool((counts == 1).all())
        return bool(counts.min() == counts.max() and counts.min() > 0)

    def refuse_mixing(self, orders: list[Order], index: NDArray[np.intp]) -> None:
        """Raise where a volume of the grid holds images of several echo times, b-values and so on."""
        named = {o.name for o in orders}
        rows = index.reshape(-1, index.shape[-1])
        for order in (*self.varying(), *([self.diffusion_order] if self.diffusion_order else [])):
            group = self.groups(order)[0].astype(np.float64)
            table = np.where(rows >= 0, group[rows], np.nan)
            if (np.nanmax(table, axis=1) > np.nanmin(table, axis=1)).any():
                raise SortError(
                    f"order {','.join(o.name for o in orders)!r} puts images of different {order.name} into one volume. "
                    f"order='{','.join([*sorted(named - {'none'}), order.name])}' makes a grid of them; echo=, acquisition= "
                    "or split= selects some"
                )


def known_orders(order: Any, known: Any) -> list[Order] | None:
    """Orders a user asked for, checked for their type first."""
    if not isinstance(order, (str, dict)) and not hasattr(order, "items"):
        raise LabelError(
            f"order={order!r}: it is a text such as 'time', or a mapping of names to keywords or callables"
        )
    return parse_order(order, known)
