"""The space language: what may be tried, and one point of it. No torch, no Optuna, no SQL."""
