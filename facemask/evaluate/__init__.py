"""Figures of mask classifiers and face detectors.

In: models, face detectors, class folders and annotated scenes. Out: classification and detection
metrics, tables, confusion matrices, sheets of mistakes, evaluation.json. `detection` has the
project's one rule for matching boxes to faces. May use: data, detect, downloads and the modules
directly in facemask.
"""
