"""XNAT: projects, subjects, experiments, scans and their resources as sources and targets."""
