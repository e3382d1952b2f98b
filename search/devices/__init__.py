"""Devices outside of a study: are they there, how well do they measure, what do they say now?"""
