"""Face mask detection: find the faces in a picture, say which of them wear a mask."""
