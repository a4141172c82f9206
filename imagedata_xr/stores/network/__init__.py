"""Archives of images over the network: what DIMSE and DICOMweb share, and each of them."""
