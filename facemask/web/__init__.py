"""A web page of a video run: the annotated picture, counts, alerts, the state of the camera.

In: the frames that people may see, and their faces. Out: HTTP, for a few viewers, who are asked for
a token unless the address is that of this machine alone. Nothing is stored, and nothing waits for a
viewer. Needs requirements-web.txt; the modules that import it are `app` and `server`.
May use: video, output, detect and the modules directly in facemask.

    page        the page of a run, as the script uses it
    state       what the page says in words and numbers, as JSON
    pictures    the newest frame as JPEG, encoded once for all viewers
    access      the socket, its address, and who may look
    app         the routes
    server      the thread
"""
