"""Training of the built-in face detector: `python -m facemask.train_face_detector`.

In: photographs with annotated faces, portraits and videos, which YuNet labels.
Out: the detector as `.tflite`, its card and the curves of its training.
May use: train, evaluate, data, sample_dataset, detect, downloads, and the ground floor.
"""
