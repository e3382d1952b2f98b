"""What pruning rules score units by, beside the weights themselves."""
