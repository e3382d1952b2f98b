"""The views of the Front page: each draws what `Seen` holds."""
