"""Segment CT and MR volumes with SAM, adapted by SAM-COBOT."""

__version__ = "0.1.0"
