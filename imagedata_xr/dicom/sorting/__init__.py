"""From planes to images: series, stacks, orders, the grid of volumes and slices, its labels and attrs."""
