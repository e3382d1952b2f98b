"""Errors of the search and its commands.

SearchError              exit code 1
└── UsageFault           the user's mistake: exit code 2
"""

from __future__ import annotations


class SearchError(Exception):
    """The search cannot go on."""


class UsageFault(SearchError):
    """What was asked for cannot be done as asked; the text says what to do."""
