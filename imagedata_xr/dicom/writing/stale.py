"""Elements of a source that are not those of a derived image."""

from __future__ import annotations

STALE = frozenset(
    """
    PixelData FloatPixelData DoubleFloatPixelData PixelDataProviderURL ExtendedOffsetTable
    ExtendedOffsetTableLengths SmallestImagePixelValue LargestImagePixelValue SmallestPixelValueInSeries
    LargestPixelValueInSeries SmallestImagePixelValueInPlane LargestImagePixelValueInPlane RescaleSlope
    RescaleIntercept RescaleType ModalityLUTSequence VOILUTSequence WindowCenter WindowWidth
    WindowCenterWidthExplanation VOILUTFunction RealWorldValueMappingSequence IconImageSequence
    PixelPaddingValue PixelPaddingRangeLimit NumberOfFrames FrameIncrementPointer SharedFunctionalGroupsSequence
    PerFrameFunctionalGroupsSequence DimensionOrganizationSequence DimensionIndexSequence DimensionIndexValues
    DimensionOrganizationType ConcatenationUID InConcatenationNumber InConcatenationTotalNumber
    ConcatenationFrameOffsetNumber SOPInstanceUIDOfConcatenationSource FrameTime FrameTimeVector FrameDelay
    CineRate RecommendedDisplayFrameRate StartTrim StopTrim DigitalSignaturesSequence MACParametersSequence
    EncryptedAttributesSequence DataSetTrailingPadding ReferencedImageSequence SourceImageSequence
    ReferencedImageEvidenceSequence SliceLocation ImagesInAcquisition ImageIndex NumberOfSlices
    NumberOfTimeSlices TemporalPositionIdentifier NumberOfTemporalPositions TemporalPositionIndex StackID
    InStackPositionNumber RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor
    BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData GreenPaletteColorLookupTableData
    BluePaletteColorLookupTableData SegmentedRedPaletteColorLookupTableData
    SegmentedGreenPaletteColorLookupTableData SegmentedBluePaletteColorLookupTableData
    PaletteColorLookupTableUID PlanarConfiguration InstanceCreatorUID SamplesPerPixel BitsAllocated BitsStored
    HighBit PixelRepresentation AcquisitionDateTime ReferencedFrameNumber EnergyWindowVector DetectorVector PhaseVector
    RotationVector RRIntervalVector TimeSlotVector SliceVector AngularViewVector TimeSliceVector GridFrameOffsetVector
    DoseGridScaling
    """.split()  # noqa: SIM905
)
"""Elements that speak of the source's pixels, files or series, and so not of a derived image."""
