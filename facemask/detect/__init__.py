"""From an image to its faces and their labels.

In: images (H, W, 3) uint8, BGR, and the files of the two networks. Out: MaskDetection objects.
`registry` loads a face detector by its name, `classifier` the mask classifier, `pool` both, and
`pipeline` runs them on an image. Uses the ground floor and `downloads`. Keras and TensorFlow are
imported only to load a classifier that is not a `.tflite` file.
"""
