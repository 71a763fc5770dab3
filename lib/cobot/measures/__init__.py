"""How far a segmentation is from the truth, in numbers that have units."""
