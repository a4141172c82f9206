"""Writing DICOM: unchanged images as they were, others as valid derived ones."""
