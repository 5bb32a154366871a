"""Draws portraits with and without a face mask, to try the training without photographs.

In: a folder, a number of images, their size and a seed; or a photograph and the points of a face.
Out: a labelled data set of drawings; or the photograph with a mask drawn onto the face. Uses the
ground floor only.
"""
