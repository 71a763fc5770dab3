"""Which study Slicer's Next Sample brings."""
