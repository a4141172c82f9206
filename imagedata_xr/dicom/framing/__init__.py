"""From instances to planes: mosaics, multi-frame instances, segmentations, and where each plane lies."""
