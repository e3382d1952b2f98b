"""A bundle in the form of a server or a page: one file a form, each a function of the bundle.

The runtimes' own forms (`openvino`, `litert`, …) are bundles of targets that run them.
"""
