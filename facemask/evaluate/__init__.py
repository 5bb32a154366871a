"""Figures of mask classifiers and face detectors.

In: models, face detectors, class folders, annotated scenes, and faces whose groups are known. Out:
classification and detection metrics, figures by group and by light, tables, confusion matrices,
sheets of mistakes, evaluation.json. `detection` has the project's one rule for matching boxes to
faces. May use: data, detect, downloads and the modules directly in facemask.
"""
