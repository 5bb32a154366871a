"""Standard error, which messages and native libraries share."""

import threading

# Held while a message is printed there, and while keras_backend.held_back_stderr hides what
# libraries print: a message of another thread would be hidden with it. It is no RLock, because the
# thread that ends the hiding may be another one than began it.
STDERR = threading.Lock()
