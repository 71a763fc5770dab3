"""The door to 3D Slicer: MONAI Label's server with safe defaults, and what answers its clicks."""
