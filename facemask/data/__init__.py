"""From photographs on disk to labelled batches.

In: class folders, scenes with annotated faces, records of earlier splits. Out: labelled images
with the boxes of their faces, near-duplicate groups, splits, batches for training, masks drawn onto
faces. May use: ground, downloads, sample_dataset, detect.
"""
