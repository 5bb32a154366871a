"""What a command does first, before anything that takes time is imported."""

import signal


def end_quietly_on_ctrl_c() -> None:
    """Let Ctrl-C end the process without a traceback, until console.run takes over.

    A process that a shell started with Ctrl-C ignored goes on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
