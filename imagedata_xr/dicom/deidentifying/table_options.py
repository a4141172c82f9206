"""Which element an option of the Basic profile keeps: the other columns of PS3.15 2026c, Table E.1-1.

Elements are named as in `imagedata_xr.dicom.deidentifying.table`. The options for longitudinal temporal information
keep whatever is a date or a time, and what is named here besides.
"""

# fmt: off
from __future__ import annotations

_COLUMNS: dict[str, dict[str, str]] = {
    "retain_uids": {
        "K": """
        AcquisitionUID AffectedSOPInstanceUID AnnotationGroupUID ConcatenationUID ConceptualVolumeUID
        ConstituentConceptualVolumeUID DeviceUID DimensionOrganizationUID DoseReferenceUID
        DosimetricObjectiveUID FailedSOPInstanceUIDList FiducialUID FrameOfReferenceUID InstanceCreatorUID
        IrradiationEventUID LargePaletteColorLookupTableUID ManufacturerDeviceClassUID
        MediaStorageSOPInstanceUID MultiplexGroupUID ObservationSubjectUIDTrial ObservationUID
        PaletteColorLookupTableUID PatientSetupUID PresentationDisplayCollectionUID
        PresentationSequenceCollectionUID PyramidUID RTTreatmentPhaseUID ReferencedConceptualVolumeUID
        ReferencedDoseReferenceUID ReferencedDosimetricObjectiveUID ReferencedFiducialsUID
        ReferencedFrameOfReferenceUID ReferencedGeneralPurposeScheduledProcedureStepTransactionUID
        ReferencedImageSequence ReferencedObservationUIDTrial ReferencedPatientSequence
        ReferencedPerformedProcedureStepSequence ReferencedSOPInstanceUID ReferencedSOPInstanceUIDInFile
        ReferencedStudySequence ReferencedTreatmentPositionGroupUID RelatedFrameOfReferenceUID
        RequestedSOPInstanceUID SOPInstanceUID SeriesInstanceUID SourceConceptualVolumeUID
        SourceFrameOfReferenceUID SourceImageSequence SpecimenUID StorageMediaFileSetUID StudyInstanceUID
        SynchronizationFrameOfReferenceUID TableTopPositionAlignmentUID TargetUID TemplateExtensionCreatorUID
        TemplateExtensionOrganizationUID TrackingUID TransactionUID TreatmentPositionGroupUID
        TreatmentSessionUID
        """,
    },
    "retain_device": {
        "C": """
        DestinationAE NetworkID Originator PerformedStationAETitle ReceivingAE RequestingAE RetrieveAETitle
        ScheduledStationAETitle ScheduledStudyLocationAETitle SelectorAEValue StationAETitle
        """,
        "K": """
        BeamHoldTransitionDateTime CalibrationDate CalibrationDateTime CalibrationTime CassetteID
        DateOfInstallation DateOfLastCalibration DateOfLastDetectorCalibration DateOfManufacture
        DateTimeOfLastCalibration DetectorID DeviceDescription DeviceLabel DeviceSerialNumber DeviceUID GantryID
        GeneratorID HardcopyCreationDeviceID LensMake LensModel LensSerialNumber LensSpecification
        ManufacturerDeviceClassUID ManufacturerDeviceIdentifier ModifyingDeviceID ModifyingSystem
        PerformedStationGeographicLocationCodeSequence PerformedStationName PerformedStationNameCodeSequence
        PlateID ScheduledProcedureStepLocation ScheduledStationGeographicLocationCodeSequence
        ScheduledStationName ScheduledStationNameCodeSequence ScheduledStudyLocation SecondaryCaptureDeviceID
        SourceManufacturer SourceSerialNumber StationName TimeOfLastCalibration TimeOfLastDetectorCalibration
        TransducerIdentificationSequence TreatmentMachineName UDISequence UniqueDeviceIdentifier XRayDetectorID
        XRayDetectorLabel XRaySourceID
        """,
    },
    "retain_institution": {
        "K": """
        ClinicalTrialCoordinatingCenterName ClinicalTrialProtocolEthicsCommitteeName ClinicalTrialSiteID
        ClinicalTrialSiteName InstitutionAddress InstitutionCodeSequence InstitutionName
        InstitutionalDepartmentName InstitutionalDepartmentTypeCodeSequence SourceOfPreviousValues
        """,
    },
    "retain_patient": {
        "C": """
        00100042 Allergies PatientState PreMedication SpecialNeeds
        """,
        "K": """
        00100043 00100046 00100047 00102162 EthnicGroup EthnicGroupCodeSequence PatientAge PatientSex
        PatientSexNeutered PatientSize PatientWeight PregnancyStatus SelectorASValue SmokingStatus
        """,
    },
    "full_dates": {
        "K": """
        TimezoneOffsetFromUTC
        """,
    },
    "modified_dates": {
        "C": """
        TimezoneOffsetFromUTC
        """,
    },
    "clean_descriptors": {
        "C": """
        00081301 00081302 00081303 00081304 00100016 00100042 00100045 0040B03B 0040B03F AcquisitionComments
        AcquisitionContextDescription AcquisitionDeviceProcessingDescription AcquisitionFieldOfViewLabel
        AcquisitionProtocolDescription AdditionalPatientHistory AdmittingDiagnosesCodeSequence
        AdmittingDiagnosesDescription Allergies AnnotationGroupDescription AnnotationGroupLabel BeamDescription
        BolusDescription ChannelDerivationDescription ChannelLabel ClinicalTrialSeriesDescription
        ClinicalTrialTimePointDescription CommentsOnRadiationDose CommentsOnThePerformedProcedureStep
        CompensatorDescription ConceptualVolumeCombinationDescription ConceptualVolumeDescription
        ContainerDescription ContrastBolusAgent ContributionDescription DecompositionDescription
        DerivationDescription DeviceSettingDescription DischargeDiagnosisDescription DisplacementReferenceLabel
        DoseReferenceDescription EntityDescription EntityLabel EntityLongLabel EntityName
        EquipmentFrameOfReferenceDescription FilterLookupTableDescription FixationDeviceDescription
        FractionGroupDescription FractionationNotes FrameComments IdentifyingComments ImageComments
        ImagingServiceRequestComments Impressions InterlockDescription InterlockOriginDescription
        InterpretationDiagnosisDescription InterpretationText LabelText LongDeviceDescription MakerNote
        MedicalAlerts MultienergyAcquisitionDescription MultiplexGroupLabel Occupation PatientComments
        PatientSetupPhotoDescription PatientState PatientTreatmentPreparationMethodDescription
        PatientTreatmentPreparationProcedureParameterDescription PerformedProcedureStepDescription
        PositionAcquisitionTemplateDescription PositionAcquisitionTemplateName PrescriptionDescription
        PrescriptionNotes PrescriptionNotesSequence PriorTreatmentDoseDescription ProtocolName
        PyramidDescription PyramidLabel ROIDescription ROIGenerationDescription ROIName
        ROIObservationDescription ROIObservationLabel RTPhysicianIntentNarrative RTPlanDescription RTPlanLabel
        RTPlanName RTPrescriptionLabel RTToleranceSetLabel RTTreatmentApproachLabel
        RadiationDoseIdentificationLabel RadiationDoseInVivoMeasurementLabel RadiationGenerationModeDescription
        RadiationGenerationModeLabel ReasonForOmissionDescription ReasonForRequestedProcedureCodeSequence
        ReasonForStudy ReasonForSuperseding ReasonForTheAttributeModification ReasonForTheImagingServiceRequest
        ReasonForTheRequestedProcedure ReasonForVisit ReasonForVisitCodeSequence RequestAttributesSequence
        RequestedContrastAgent RequestedProcedureComments RequestedProcedureDescription
        RequestedSeriesDescription RequestingService RespiratoryMotionCompensationTechniqueDescription
        ResultsComments ScheduledProcedureStepDescription SelectorLOValue SelectorLTValue SelectorSHValue
        SelectorSTValue SelectorUTValue SeriesDescription ServiceEpisodeDescription SetupTechniqueDescription
        ShieldingDeviceDescription SpecimenDetailedDescription SpecimenShortDescription StructureSetDescription
        StructureSetLabel StructureSetName StudyComments StudyDescription TreatmentPositionGroupLabel
        TreatmentSite TreatmentSites TreatmentTechniqueNotes TreatmentToleranceViolationDescription
        UnformattedTextValue UserContentLabel UserContentLongLabel VisitComments WaveformFilterDescription
        """,
    },
    "clean_structured": {
        "C": """
        AcquisitionContextSequence ContentSequence SpecimenPreparationSequence WaveformAnnotationSequence
        """,
    },
    "clean_graphics": {
        "C": """
        GraphicAnnotationSequence
        """,
    },
}

KEPT: dict[str, dict[str, str]] = {
    option: {word: action for action, words in column.items() for word in words.split()}
    for option, column in _COLUMNS.items()
}
"""Option -> element -> K where it is kept, C where it is kept when cleaned."""

NO_DATES = frozenset(("PatientBirthDate", "PatientBirthTime", "PatientBirthDateInAlternativeCalendar", "GPSTimeStamp"))
"""Dates and times of the table that the options for longitudinal information do not keep."""
