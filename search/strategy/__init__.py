"""Decides: what to try, what to go on with, what a trial came to.

Pure functions of records: no clock, no files, no executor. A decision is a value of `moves`.
"""
