"""Segmentation without a prompt: each label asks for itself, on the embeddings of one adapter."""
