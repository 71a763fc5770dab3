"""What Slicer may train: one trainer a data set."""
