"""Many images at once: a function over every image of a tree, here or on the workers of a cluster."""
