"""What an image is: geometry, indexes, orders, identity. numpy and xarray only, no input or output."""
