"""Runs one study: the loop, its ledger, the order of stages, commands, what it tells of itself."""
