"""Pages of studies in a browser; `python -m dashboard` serves them."""
