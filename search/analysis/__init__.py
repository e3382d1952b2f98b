"""Reads: pure functions of what the store holds, written once for commands, report and pages."""
