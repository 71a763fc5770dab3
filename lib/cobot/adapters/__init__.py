"""Adapters of a frozen SAM image encoder: LoRA and AdaptFormer, plain or orchestrated (SAM-COBOT).

Import from the modules themselves; this package imports nothing, so that reading a configuration
or counting parameters does not load torch.
"""
