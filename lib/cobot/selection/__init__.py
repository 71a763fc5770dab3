"""Which case is worth an annotator's time next: scores of cases, and the choice between them."""
