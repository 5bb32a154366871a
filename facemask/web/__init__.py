"""A web page of a video run: the annotated picture, counts, alerts, the state of the camera.

In: the frames that people may see, and their faces. Out: HTTP, for a few viewers, who are asked for
a token unless the address is that of this machine alone. Nothing is stored, and nothing waits for a
viewer. Needs requirements-web.txt, which `app` and `server` import.
May use: video, output, detect and the modules directly in facemask.
"""
