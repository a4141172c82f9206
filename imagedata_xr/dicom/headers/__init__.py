"""Whole headers of an image, found again, kept as a table, and what they say of real-world values."""
