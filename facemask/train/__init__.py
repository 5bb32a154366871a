"""The training of the mask classifier.

In: labelled images with the boxes of their faces, and the backbone that the head is put on. Out:
the trained model, its TFLite export, the curves and a report. May use: ground, downloads,
sample_dataset, detect, data, evaluate.
"""
