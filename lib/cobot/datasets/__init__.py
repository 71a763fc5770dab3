"""Phantoms made from formulas, and what is known of each body region's data sets."""
