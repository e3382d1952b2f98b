"""Runs the stages of a study on the nodes of a Ray cluster: the extra `ray`."""
