"""What Slicer may ask for: one task a module."""
