"""Standard error, which messages and native libraries share."""

import threading

# Held while a message is printed, and while keras_backend.held_back_stderr hides what libraries
# print: a message of another thread would be hidden with it.
STDERR = threading.RLock()
