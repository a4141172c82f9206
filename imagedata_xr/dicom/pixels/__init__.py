"""Pixels, read when asked for: how they are stored, decoded, and become values."""
