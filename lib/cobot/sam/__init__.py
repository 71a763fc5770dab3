"""Segment Anything: its shape, frame, encoder, weights, and the segmenter that uses them."""
