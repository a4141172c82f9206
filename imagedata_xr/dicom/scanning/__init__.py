"""Headers of many files as columns: the scan, what it leaves to pydicom, and the files that a source stands for."""
