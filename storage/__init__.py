"""The record of every study, and its files. The only package that speaks SQL."""
