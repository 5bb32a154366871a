"""From a camera, file, folder or stream to labelled, tracked faces.

In: frames (sources). Out: an annotated video (writer), with blurred faces if wanted (hiding), a
window (viewer), a table of the faces (track_log) and alerts. The loop over the frames is in
detect_mask_video.py.
May use: output, detect, downloads and the modules directly in facemask.
"""
