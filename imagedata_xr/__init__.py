"""Medical images as labelled arrays: an xarray engine, an accessor and a command."""
