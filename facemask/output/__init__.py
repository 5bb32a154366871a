"""What people and programs see of detections.

In: images and the faces with labels that `detect` finds in them. Out: labels as text, boxes drawn
on pictures, blurred faces, windows, and records as JSON and CSV. Uses the wing `detect` for its
types only. On a picture `layout` says where labels stand, `lettering` sets their type, and
`drawing` draws them.
"""
