"""Many images: from the paths and URLs that a user gives to labels, pictures and records.

In: paths, folders, URLs of object stores. Out: annotated pictures, JSON, CSV, or parts of JSON
lines that several processes write. Uses the wings `detect` and `output`.

    options     the arguments of detect_mask_image.py
    inputs      which images are read, how many pixels at once, where the copies go
    labelling   labelling on threads, and a part of an archive in a worker process
    archive     a run over an archive: its parts and their folder
    dask_engine worker processes on one machine or several
    stores      files in folders and object stores
"""
