"""Fetches the weights of face detectors and the classic photographs, and checks their sha256.

In: a target folder, the name of what is missing, and a callable for progress messages. Out: files
in that folder, or a FacemaskError that names the address. Uses the ground floor only.
"""
