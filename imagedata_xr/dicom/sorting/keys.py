"""What images can be ordered by: their values of each order, their clock, and which values vary."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import LabelError, SortError
from ...model.orders import LABELS, ORDERS, Order, label_for, parse_order
from ...stores.url import file_name
from ..framing.frames import Frames
from ..framing.vendor_words import interval, volume_numbers
from ..headers.header import read_header
from .clock import Clock, tells_apart
from .stacks import cluster

VALUE_ORDERS = ("te", "ti", "fa")
LABELLING = Order("ASLContext", "asl_context", LABELS["asl_context"])
"""Spin labelling: found where label and control share a clock, else a label of the volumes of a time course."""
SIMULTANEOUS = tuple(
    Order(word, label_for(word).coord, label_for(word)) for word in ("DetectorVector", "EnergyWindowVector")
)
"""What a gamma camera counts at the same time (PS3.3 C.8.4.8)."""


NUMBERED = ("TemporalPositionIdentifier", "AcquisitionNumber")
"""Elements that count volumes."""
REPETITIONS = "InstanceNumber x RepetitionTime"
"""Name of the clock of a time course that only its instance numbers and its interval tell."""


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
        number = _sequence(frames)
        self.numbered = bool(np.isfinite(number).all())
        # instances without a number come last; finite, for their frames follow each other all the same
        number = np.where(np.isfinite(number), number, np.nan_to_num(number, nan=0.0).max(initial=0.0) + 1)
        self.instance_number = number + _within_instance(frames)
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
        clocks = self.frames.clocks
        if not self.several:
            return clocks[0] if clocks else None
        found = next((c for c in clocks if tells_apart(self.moments(c), slot)), None)
        if found is None and self.companions:
            for order in self.companions:
                group, values = self._clusters(order)
                slot = slot * len(values) + group
            found = next((c for c in clocks if tells_apart(self.moments(c), slot)), None)
        return found or self._repetitions

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

        In such a sequence every slice is excited once per RepetitionTime, so that is the volume interval; and where the
        manufacturer says that a delay follows each volume, that is added.
        """
        f = self.frames
        counts = np.bincount(self._value_slot, minlength=1)
        counts = counts[counts > 0]
        planar = all("EP" in (s or ()) for s in f.strings("ScanningSequence"))
        flat = all((t or ("",))[0] == "2D" for t in f.strings("MRAcquisitionType"))
        tr, volumes = interval(f), f.numbers("NumberOfTemporalPositions")
        # a part of the volumes still says how many there were
        course = bool((volumes >= counts[0]).all() and volumes[0] > 1 and (volumes == volumes[0]).all())
        if not (planar and flat and counts.min() == counts.max() and course and (tr == tr[0]).all()):
            return None
        if not self.numbered:
            return None
        order = np.lexsort((self.instance_number, self._value_slot))
        rank = np.empty(len(order))
        rank[order] = np.arange(len(order)) % counts[0]
        return Clock(rank * tr[0] * 1e-3, REPETITIONS, False)

    def moments(self, clock: Clock) -> NDArray[np.float64]:
        """Seconds by which a clock tells volumes apart, shape (n,).

        All planes of an instance that is one whole volume, as a mosaic is, are of the moment when it began: they
        belong together, whatever their own times say.
        """
        file, count = self.frames.file, len(self.frames.scan)
        whole = np.bincount(file, minlength=count) == self.slices
        if self.slices < 2 or not whole.any() or len(np.unique(file * self.slices + self.slot)) < len(file):
            return clock.seconds
        began = np.full(count, np.inf)
        np.minimum.at(began, file, clock.seconds)
        return np.where(whole[file], began[file], clock.seconds)

    def seconds(self, order: Order) -> NDArray[np.float64]:
        """Time of each frame on the clock of an order, s; zeros where there is no clock."""
        if _counts_from_trigger(order):
            return self.frames.numbers("TriggerTime") * 1e-3
        if self.clock is not None:
            return self.moments(self.clock)
        have = self.frames.clocks
        return self.moments(have[0]) if have else np.zeros(len(self.frames))

    @cached_property
    def acquired(self) -> tuple[NDArray[np.float64], ...]:
        """The sequence of acquisition of each frame.

        The vendor's numbers of volumes come first, then the instance number, the time, and what numbers volumes
        where these are equal or missing.
        """
        numbers = [np.nan_to_num(self.frames.numbers(keyword)) for keyword in NUMBERED]
        return (*volume_numbers(self.frames), self.instance_number, self.seconds(ORDERS["none"]), *numbers)

    def source(self, order: Order) -> str:
        """Name of the element or elements behind an order's clock."""
        if _counts_from_trigger(order):
            return "TriggerTime"
        have = self.frames.clocks
        return self.clock.source if self.clock is not None else have[0].source if have else "time"

    # --- values ------------------------------------------------------------------------------------------------------
    def values(self, order: Order) -> NDArray[np.float64]:
        """Value of each frame in an order of values, in the units of its label."""
        if order.read is not None:
            return self._call(order)
        if order.by in ("rank", "instance"):
            return self.seconds(order) * order_factor(order)
        if order.label.coord == "b_value":
            return self.frames.diffusion.b_value
        if order.label.coord == "asl_context":
            return self.frames.asl_context
        return self.frames.numbers(order.label.keyword) * order.label.factor

    def _call(self, order: Order) -> NDArray[np.float64]:
        """Values of an order of the user's own, from whole headers."""
        if order.name not in self._own:
            assert order.read is not None
            out = np.empty(len(self.frames))
            for k, row in enumerate(self.frames.file):
                file = self.frames.scan.files[int(row)]
                header = read_header(file)
                try:
                    out[k] = float(order.read(header))
                except (TypeError, ValueError):  # their text may hold the value, such as a name
                    why = f"order {order.name!r}: the callable returned no number for {file_name(file)}"
                    raise SortError(why) from None
                except (AttributeError, LookupError) as error:
                    why = f"order {order.name!r}: the callable failed for {file_name(file)}: {error}"
                    raise SortError(why) from error
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
        vector = [cluster(component, 1e-4) for component in np.nan_to_num(d.vector).T]
        rows = np.column_stack([cluster(np.nan_to_num(d.b_value), 0.5), np.nan_to_num(d.directionality) == 3, *vector])
        _, group = np.unique(rows, axis=0, return_inverse=True)
        group = group.ravel().astype(np.intp)
        return group, np.arange(int(group.max()) + 1, dtype=np.float64)

    def require(self, order: Order) -> None:
        """Raise `SortError` where an order's element is missing from some images."""
        if order.by == "instance":
            return
        if order.by == "diffusion":
            values, what = self.frames.diffusion.b_value, "diffusion b-value"
        elif order.by == "rank" and not _counts_from_trigger(order):
            values = (
                np.full(len(self.frames), np.nan)
                if not self.frames.clocks and self.clock is None
                else self.seconds(order)
            )
            what = "acquisition time"
        else:
            values, what = self.values(order), f"number in {order.label.keyword or order.name}"
        gaps = int(np.isnan(values).sum())
        if gaps:
            raise SortError(f"order {order.name!r}: {gaps} of {len(values)} images have no {what}. {self._advice()}")

    def _advice(self) -> str:
        names = [o.name for o in self.differing] + (["time"] if self.several and self.clock is not None else [])
        return f"What varies here: {', '.join(names) or 'nothing that has a name'}; order='auto' takes what fits"

    # --- what varies -------------------------------------------------------------------------------------------------
    def varying(self) -> list[Order]:
        """Orders of values (echo time, inversion time, flip angle) that take several values at one position."""
        out = []
        for name in VALUE_ORDERS:
            raw = self.values(ORDERS[name])
            if np.isnan(raw).any():
                continue
            group, values = self._clusters(ORDERS[name])
            if len(values) > 1 and self._varies_at_a_position(group) and not self._is_of_slices(group):
                out.append(ORDERS[name])
        return out

    @cached_property
    def of_slices(self) -> list[Order]:
        """Orders of values that vary at one position, and from slice to slice as well: they name no volumes."""
        groups = [(ORDERS[name], self._clusters(ORDERS[name])[0]) for name in VALUE_ORDERS]
        return [o for o, group in groups if self._varies_at_a_position(group) and self._is_of_slices(group)]

    def _is_of_slices(self, group: NDArray[np.intp]) -> bool:
        """Whether each value is that of one slice alone, or of fewer than half of them where it is of several.

        So are the inversion times of a heart whose slices are measured one after the other: they follow its beats.
        """
        places = np.unique(group * self.slices + self.slot) // self.slices
        most = int(np.bincount(places).max())
        return self.slices > 1 and (most == 1 or most < self.slices / 2)

    def _varies_at_a_position(self, group: NDArray[np.intp]) -> bool:
        first = np.full(self.slices, -1)
        first[self.slot] = group
        return bool((first[self.slot] != group).any())

    @cached_property
    def labelling(self) -> Order | None:
        """``ASLContext`` where a position has images of label and of control; None without spin labelling."""
        if np.isnan(self.frames.asl_context).any():
            return None
        return LABELLING if self._varies_at_a_position(self._clusters(LABELLING)[0]) else None

    @cached_property
    def companions(self) -> list[Order]:
        """Orders of images that may share a clock: spin labelling; detectors and energy windows of a gamma camera."""
        out = [] if self.labelling is None else [self.labelling]
        if not any(np.ptp(clock.seconds) > 0 for clock in self.frames.clocks):
            return out  # views of one moment are no time course
        for order in SIMULTANEOUS:
            numbers = self.values(order)
            if not np.isnan(numbers).any() and self._varies_at_a_position(self._clusters(order)[0]):
                out.append(order)
        return out

    @property
    def differing(self) -> list[Order]:
        """All that may tell images of one position apart, but clocks."""
        return [*self.varying(), *(o for o in (self.diffusion_order, self.labelling) if o is not None)]

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

    def refuse_mixing(self, orders: list[Order], index: NDArray[np.intp]) -> None:
        """Raise where a volume of the grid holds images of several echo times, b-values and so on."""
        named = {o.name for o in orders}
        rows = index.reshape(-1, index.shape[-1])
        for order in self.differing:
            group = self.groups(order)[0].astype(np.float64)
            high = np.where(rows >= 0, group[rows], -np.inf).max(axis=1)
            if (high > np.where(rows >= 0, group[rows], np.inf).min(axis=1)).any():
                names = [o.name for o in orders]
                grid = ",".join([*sorted(named - {"none"}), order.name])
                word = order.label.keyword or "KEYWORD"
                raise SortError(
                    f"order {','.join(names)!r} puts images of different {order.name} into one volume. order={grid!r} "
                    f"makes a grid of them, where each place has one image; split={word!r} makes images of their own "
                    "of them, and echo= or acquisition= selects some"
                )


def _sequence(frames: Frames) -> NDArray[np.float64]:
    """Instance Number of each frame; of PET its Image Index, which counts slices within volumes (C.8.9.4.1.9)."""
    index = frames.numbers("ImageIndex")
    if len(frames) and not np.isnan(index).any() and len(np.unique(index)) == len(index):
        return index
    return frames.numbers("InstanceNumber")


def _within_instance(frames: Frames) -> NDArray[np.float64]:
    """Fraction from 0 to less than 1 that sorts the frames of each instance, shape (n,).

    Frames may be stored in any order: Dimension Index Values tell theirs, the slowest dimension first (PS3.3
    C.7.6.17); where they are absent or equal, the temporal position, and then the number of the frame.
    """
    if not len(frames) or frames.number.max() == 1:
        return np.zeros(len(frames))
    own = frames.own.numbers.get("DimensionIndexValues")
    dimensions = [] if own is None else list(np.nan_to_num(own.reshape(len(frames), -1)).T)
    position = np.nan_to_num(frames.numbers("TemporalPositionIdentifier"))
    order = np.lexsort((frames.number, position, *reversed(dimensions), frames.file))
    file = frames.file[order]
    out = np.empty(len(frames))
    out[order] = np.arange(len(frames)) - np.searchsorted(file, file, side="left")
    return np.asarray(out / (out.max() + 1.0))


def order_factor(order: Order) -> float:
    """From seconds to the units of an order by rank."""
    return 1e3 if _counts_from_trigger(order) else 1.0


def _counts_from_trigger(order: Order) -> bool:
    return order.by == "rank" and order.label.coord == "trigger_time"


def known_orders(order: Any, known: Any) -> list[Order] | None:
    """Orders a user asked for, checked for their type first."""
    if not isinstance(order, (str, dict)) and not hasattr(order, "items"):
        raise LabelError(
            f"order={order!r}: it is a text such as 'time', or a mapping of names to keywords or callables"
        )
    return parse_order(order, known)
