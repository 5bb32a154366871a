"""The TFLite export of a model that is already trained.

In: a `.keras` or HDF5 model, and photographs if its numbers are to be whole ones. Out: the
`.tflite` file that the detection scripts take in its place. May use: ground, downloads, detect,
data, train.
"""
