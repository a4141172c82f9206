"""What is read of the functional groups of enhanced multi-frame instances, and under which name it becomes a column.

Each element is found by its path, the sequence that it stands in and its own tag, since manufacturers keep whole
classic headers inside private sequences: copies of public elements that must not be taken for the frame's own. The
groups are those of PS3.3 C.7.6.16.2 and of the sections on enhanced MR (C.8.13), CT (C.8.15) and PET (C.8.22).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from ..scanning.vr import WANTED_PRIVATE, Key, private_vr, public_vr, swap
from ..vendors.philips import CLASSIC_TYPE

Name: TypeAlias = "str | tuple[str, int, int]"
"""Of a column: the keyword of the classic element, or a private element as (creator, group, element byte)."""

TEXT, ALL = 0, -1
"""In place of the number of values of a column: text, and as many numbers as the frames have."""

SOURCE_INSTANCE, SOURCE_FRAME = "source instance", "source frame"
"""Columns of the image that a frame was derived from: its SOP Instance UID, and the number of its frame."""

MAP_LABEL, MAP_UNITS, MAP_SCHEME = "map label", "map units", "map scheme"
MAP_SLOPE, MAP_INTERCEPT = "map slope", "map intercept"
QUANTITY, QUANTITY_CODE = "quantity", "quantity code"
"""Columns of the first real-world value mapping of a frame, and of the quantity that it gives (PS3.3 C.7.6.16.2.11)."""


@dataclass(frozen=True)
class Column:
    """One element of a frame.

    Attributes
    ----------
    name : str or tuple
        Of the column.
    path : tuple of keys
        The sequences from the frame's item on, and the element itself.
    width : int
        How many numbers are wanted, `TEXT` or `ALL`.
    """

    name: Name
    path: tuple[Key, ...]
    width: int = 1

    @property
    def vr(self) -> str:
        """VR for implicit VR and for elements of VR UN: that of the dictionary, or ours for private ones."""
        key = self.path[-1]
        return public_vr(key) if isinstance(key, int) else _PRIVATE_VR.get(key) or private_vr(key)


_PLAIN: dict[tuple[int, ...], dict[int, tuple[str, int]]] = {
    (0x00209113,): {0x00200032: ("ImagePositionPatient", 3)},
    (0x00209116,): {0x00200037: ("ImageOrientationPatient", 6)},
    (0x0020930E,): {0x00209301: ("ImagePositionVolume", 3)},
    (0x0020930F,): {0x00209302: ("ImageOrientationVolume", 6)},
    (0x00289110,): {
        0x00280030: ("PixelSpacing", 2),
        0x00180050: ("SliceThickness", 1),
        0x00180088: ("SpacingBetweenSlices", 1),
    },
    (0x00289145,): {
        0x00281052: ("RescaleIntercept", 1),
        0x00281053: ("RescaleSlope", 1),
        0x00281054: ("RescaleType", TEXT),
    },
    (0x00209111,): {
        0x00189074: ("AcquisitionDateTime", TEXT),
        0x00189151: ("FrameReferenceDateTime", TEXT),
        0x00189220: ("ActualFrameDuration", 1),
        0x00209056: ("StackID", TEXT),
        0x00209057: ("InStackPositionNumber", 1),
        0x00209128: ("TemporalPositionIdentifier", 1),
        0x00209156: ("AcquisitionNumber", 1),
        0x00209157: ("DimensionIndexValues", ALL),
        0x00189236: ("CardiacCyclePosition", TEXT),
        0x00189214: ("RespiratoryCyclePosition", TEXT),
        0x00209158: ("FrameComments", TEXT),
        0x00209453: ("FrameLabel", TEXT),
    },
    (0x00209310,): {0x0020930D: ("TemporalPositionTimeOffset", 1)},
    (0x00189118,): {
        0x00209153: ("TriggerTime", 1),
        0x00209252: ("ActualCardiacTriggerDelayTime", 1),
        0x00209241: ("NominalPercentageOfCardiacPhase", 1),
        0x00209251: ("RRIntervalTimeNominal", 1),
    },
    (0x00209253,): {
        0x00209255: ("NominalRespiratoryTriggerDelayTime", 1),
        0x00209245: ("NominalPercentageOfRespiratoryPhase", 1),
    },
    (0x0062000A,): {0x0062000B: ("ReferencedSegmentNumber", 1)},
    (0x00089124, 0x00082112): {0x00081155: (SOURCE_INSTANCE, TEXT), 0x00081160: (SOURCE_FRAME, 1)},
    (0x00409096,): {
        0x00409210: (MAP_LABEL, TEXT),
        0x00409224: (MAP_INTERCEPT, 1),
        0x00409225: (MAP_SLOPE, 1),
    },
    (0x00409096, 0x004008EA): {0x00080100: (MAP_UNITS, TEXT), 0x00080102: (MAP_SCHEME, TEXT)},
    (0x00409096, 0x00409220, 0x0040A168): {0x00080100: (QUANTITY_CODE, TEXT), 0x00080104: (QUANTITY, TEXT)},
    # MR
    (0x00189114,): {0x00189082: ("EchoTime", 1)},
    (0x00189112,): {
        0x00180080: ("RepetitionTime", 1),
        0x00181314: ("FlipAngle", 1),
        0x00180091: ("EchoTrainLength", 1),
    },
    (0x00189115,): {0x00189079: ("InversionTimes", ALL)},
    (0x00189006,): {0x00180095: ("PixelBandwidth", 1), 0x00189020: ("MagnetizationTransfer", TEXT)},
    (0x00189119,): {0x00180083: ("NumberOfAverages", 1)},
    (0x00189125,): {0x00181312: ("InPlanePhaseEncodingDirection", TEXT)},
    (0x00189042,): {0x00181250: ("ReceiveCoilName", TEXT)},
    (0x00189152,): {0x00189080: ("MetaboliteMapDescription", TEXT)},
    (0x00189197,): {
        0x00189090: ("VelocityEncodingDirection", 3),
        0x00189091: ("VelocityEncodingMinimumValue", 1),
        0x00189217: ("VelocityEncodingMaximumValue", 1),
    },
    (0x00189117, 0x00189076): {0x00189089: ("DiffusionGradientOrientation", 3)},
    (0x00189117,): {
        0x00189087: ("DiffusionBValue", 1),
        0x00189075: ("DiffusionDirectionality", TEXT),
        0x00189089: ("DiffusionGradientOrientation", 3),  # out of its sequence, as some write it
    },
    (0x00189117, 0x00189601): {
        0x00189602: ("DiffusionBValueXX", 1),
        0x00189603: ("DiffusionBValueXY", 1),
        0x00189604: ("DiffusionBValueXZ", 1),
        0x00189605: ("DiffusionBValueYY", 1),
        0x00189606: ("DiffusionBValueYZ", 1),
        0x00189607: ("DiffusionBValueZZ", 1),
    },
    (0x00189251,): {0x00189257: ("ASLContext", TEXT), 0x00189252: ("ASLTechniqueDescription", TEXT)},
    # CT
    (0x00189304,): {0x00181120: ("GantryDetectorTilt", 1)},
    (0x00189314,): {0x00181210: ("ConvolutionKernel", TEXT)},
    (0x00189321,): {0x00189328: ("ExposureTimeInms", 1), 0x00189330: ("XRayTubeCurrentInmA", 1)},
    (0x00189325,): {0x00180060: ("KVP", 1)},
    (0x00189326,): {0x00189327: ("TablePosition", 1)},
    # X-ray
    (0x00189405,): {0x00181510: ("PositionerPrimaryAngle", 1), 0x00181511: ("PositionerSecondaryAngle", 1)},
    (0x00289443,): {0x00089007: ("ImageType", TEXT), 0x00181164: ("ImagerPixelSpacing", 2)},
    # ultrasound
    (0x00189807,): {0x00189808: ("DataType", TEXT)},
    # PET
    (0x00189736,): {
        0x00541320: ("SliceSensitivityFactor", 1),
        0x00541321: ("DecayFactor", 1),
        0x00541323: ("ScatterFractionFactor", 1),
        0x00541324: ("DeadTimeFactor", 1),
        0x00541310: ("PrimaryPromptsCountsAccumulated", 1),
    },
}
"""Groups, and groups within groups: the elements in them, their columns' names and widths."""

_FRAME_TYPES = (0x00189226, 0x00189227, 0x00189329, 0x00189751, 0x00189504, 0x00189806, 0x00409092)
"""The sequences with a Frame Type: MR, spectroscopy, CT, PET, X-ray 3D, ultrasound, parametric map."""

_FRAME_TYPE = {
    0x00089007: ("ImageType", TEXT),
    0x00089205: ("PixelPresentation", TEXT),
    0x00089206: ("VolumetricProperties", TEXT),
    0x00089208: ("ComplexImageComponent", TEXT),
    0x00089209: ("AcquisitionContrast", TEXT),
}

_CONVERTED = (0x00209171, 0x00209170)
"""Unassigned Per-Frame and Shared Converted Attributes: what a conversion found no group for (PS3.3 C.7.6.16.2.25)."""

_CONVERTED_ELEMENTS = {
    0x00080008: ("ImageType", TEXT),
    0x00080022: ("AcquisitionDate", TEXT),
    0x00080032: ("AcquisitionTime", TEXT),
    0x0008002A: ("AcquisitionDateTime", TEXT),
    0x00180020: ("ScanningSequence", TEXT),
    0x00180024: ("SequenceName", TEXT),
    0x00180060: ("KVP", 1),
    0x00180080: ("RepetitionTime", 1),
    0x00180081: ("EchoTime", 1),
    0x00180082: ("InversionTime", 1),
    0x00180083: ("NumberOfAverages", 1),
    0x00180086: ("EchoNumbers", 1),
    0x00180091: ("EchoTrainLength", 1),
    0x00181060: ("TriggerTime", 1),
    0x00181120: ("GantryDetectorTilt", 1),
    0x00181210: ("ConvolutionKernel", TEXT),
    0x00181242: ("ActualFrameDuration", 1),
    0x00181312: ("InPlanePhaseEncodingDirection", TEXT),
    0x00181314: ("FlipAngle", 1),
    0x00189075: ("DiffusionDirectionality", TEXT),
    0x00189087: ("DiffusionBValue", 1),
    0x00189089: ("DiffusionGradientOrientation", 3),
    0x00200012: ("AcquisitionNumber", 1),
    0x00200013: ("InstanceNumber", 1),
    0x00200100: ("TemporalPositionIdentifier", 1),
    0x00201041: ("SliceLocation", 1),
    0x00541300: ("FrameReferenceTime", 1),
    0x00541320: ("SliceSensitivityFactor", 1),
    0x00541321: ("DecayFactor", 1),
    0x00541323: ("ScatterFractionFactor", 1),
    0x00541324: ("DeadTimeFactor", 1),
}

_SDI, _IMAGING = "SIEMENS MR SDI 02", "Philips Imaging DD 001"
_MR1, _MR5 = "Philips MR Imaging DD 001", "Philips MR Imaging DD 005"
_SIEMENS: dict[tuple[Key, ...], dict[Key, tuple[str, int]]] = {
    ((_SDI, 0x21, 0xFE),): {
        (_SDI, 0x21, 0x03): ("DS", 1),  # duration of the acquisition, ms
        (_SDI, 0x21, 0x04): ("DS", 1),  # start of the slice, s since the series began
        (_SDI, 0x21, 0x06): ("LO", TEXT),  # place in the order of reconstruction
        (_SDI, 0x21, 0x1C): ("IS", 1),  # whether phase is encoded along rising indices
        (_SDI, 0x21, 0x53): ("FD", 1),  # bandwidth along it, Hz per pixel
        (_SDI, 0x21, 0x75): ("CS", TEXT),  # the image type of the classic export
        (_SDI, 0x21, 0x88): ("DS", 1),  # slice location, mm
        (_SDI, 0x21, 0x8A): ("IS", 1),
    },
}
_PHILIPS: dict[tuple[Key, ...], dict[Key, tuple[str, int]]] = {
    ((_MR5, 0x2005, element),): {
        (_IMAGING, 0x2001, 0x03): ("FL", 1),  # b-value
        (_IMAGING, 0x2001, 0x04): ("CS", TEXT),  # I: isotropic, a trace
        (_IMAGING, 0x2001, 0x08): ("IS", 1),  # number of the phase
        (_IMAGING, 0x2001, 0x0A): ("IS", 1),  # number of the slice
        (_MR1, 0x2005, 0x0D): ("FL", 1),  # scale intercept
        (_MR1, 0x2005, 0x0E): ("FL", 1),  # scale slope
        (_MR1, 0x2005, 0x11): ("CS", TEXT),  # component: M, P, R, I
        (_MR1, 0x2005, 0x6E): ("CS", TEXT),  # scanning sequence
        (_MR1, 0x2005, 0xB0): ("FL", 1),  # direction of the gradient: right to left
        (_MR1, 0x2005, 0xB1): ("FL", 1),  # anterior to posterior
        (_MR1, 0x2005, 0xB2): ("FL", 1),  # feet to head
        (_MR5, 0x2005, 0x12): ("IS", 1),  # number of the b-value
        (_MR5, 0x2005, 0x13): ("IS", 1),  # number of the direction
        (_MR5, 0x2005, 0x29): ("CS", TEXT),  # label or control
    }
    for element in (0x0F, 0x0E)  # per frame, shared
}
_PRIVATE = _SIEMENS | _PHILIPS
"""Private groups: the elements in them, their VRs (pydicom's dictionary knows few of them) and widths."""

_PRIVATE_VR = {key: vr for elements in _PRIVATE.values() for key, (vr, _) in elements.items()}
_PRIVATE_TEXT = {key for elements in _PRIVATE.values() for key, (_, width) in elements.items() if width == TEXT}


def _columns() -> tuple[Column, ...]:
    groups: list[tuple[tuple[int, ...], dict[int, tuple[str, int]]]] = [*_PLAIN.items()]
    groups += [((sequence,), _FRAME_TYPE) for sequence in _FRAME_TYPES]
    groups += [((sequence,), _CONVERTED_ELEMENTS) for sequence in _CONVERTED]
    out = [Column(name, (*path, tag), width) for path, elements in groups for tag, (name, width) in elements.items()]
    for parents, known in _PRIVATE.items():
        out += [Column(key, (*parents, key), width) for key, (_, width) in known.items() if isinstance(key, tuple)]
    out.append(Column(CLASSIC_TYPE, ((_MR5, 0x2005, 0x0F), 0x00080008), TEXT))
    for sequence in _CONVERTED:
        for (creator, group), bytes_ in WANTED_PRIVATE.items():
            keys = [(creator, group, element) for element in bytes_ if private_vr((creator, group, element)) != "SQ"]
            out += [Column(key, (sequence, key), TEXT if key in _PRIVATE_TEXT else ALL) for key in keys]
    return tuple(out)


COLUMNS = _columns()
"""Where several columns have one name, the first that says anything is the one."""


@dataclass(eq=False)
class Node:
    """What is wanted of the items of a sequence: a `Node` for a sequence in it, a number for an element."""

    public: dict[int, Node | int] = field(default_factory=dict)
    """By the tag as it stands in the file (see `swap`)."""
    private: dict[tuple[bytes, int], dict[int, Node | int]] = field(default_factory=dict)
    """By creator and group, then by element byte."""

    def place(self, key: Key) -> tuple[dict[int, Node | int], int]:
        """Where the entry for an element is."""
        if isinstance(key, int):
            return self.public, swap(key)
        creator, group, element = key
        return self.private.setdefault((creator.encode(), group), {}), element


@dataclass(frozen=True, eq=False)
class Layout:
    """Columns arranged as the sequences that they lie in, where elements are numbered as in `columns`."""

    columns: tuple[Column, ...]
    tree: Node
    vrs: tuple[str, ...]
    """Of each column, by the dictionary."""

    @classmethod
    def of(cls, columns: tuple[Column, ...]) -> Layout:
        """Arrange columns."""
        top = Node()
        for number, column in enumerate(columns):
            node = top
            for key in column.path[:-1]:
                entries, at = node.place(key)
                inner = entries.setdefault(at, Node())
                assert isinstance(inner, Node)
                node = inner
            entries, at = node.place(column.path[-1])
            entries[at] = number
        return cls(columns, top, tuple(column.vr for column in columns))
