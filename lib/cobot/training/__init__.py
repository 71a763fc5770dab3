"""Learning: simulated prompts, pretraining of `tiny`, evaluation."""
