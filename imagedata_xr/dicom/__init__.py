"""DICOM: from files to frames to a grid, and back."""
