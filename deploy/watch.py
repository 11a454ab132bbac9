"""Ends the process that started this one, the server, when its node of Ray is gone.

A node ends when it has been without the head for a minute, or when a new head has begun a new cluster. The server is of
the old one then: it must be started again, which whoever runs the container does.
"""

import os
import signal
import socket
import time

NODE = ("127.0.0.1", 6380)
LOOK_SECONDS, END_SECONDS = 5.0, 60.0


def alive() -> bool:
    try:
        socket.create_connection(NODE, 8).close()
    except OSError:
        return False
    return True


def watch(server: int) -> None:
    while os.getppid() == server and alive():
        time.sleep(LOOK_SECONDS)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if os.getppid() == server:
            os.kill(server, number)
            time.sleep(END_SECONDS)


if __name__ == "__main__":
    watch(os.getppid())
