"""A process on a pseudo-terminal, and what a person sees there."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from typing import Any

from tests.services.driving import Place

COLUMNS, ROWS = 200, 50
_CONTROL = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|([\r\n\x07])|([^\x1b\r\n\x07]+)")


class Terminal:
    """A command with a terminal for all its streams; Ctrl-C is typed, and reaches its whole group."""

    def __init__(self, place: Place, *arguments: object) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
        streams: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.process = place.start(*arguments, environment=environment, preexec_fn=_take_terminal, **streams)
        os.close(slave)
        self.output = ""

    def read_until(self, mark: str, seconds: float = 150) -> None:
        """Reads until ``mark`` has been written, or to the end if it is empty."""
        limit = time.monotonic() + seconds
        while (mark not in self.output or not mark) and time.monotonic() < limit:
            ready, _, _ = select.select([self._master], [], [], 0.1)
            if not ready:
                continue
            try:
                self.output += os.read(self._master, 65536).decode(errors="replace")
            except OSError:  # the other side is closed
                break
        assert mark in self.output, self.output

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        """The exit code, after everything is read."""
        self.read_until("")
        code = self.process.wait(60)
        os.close(self._master)
        return code

    def screen(self) -> list[str]:
        """The lines that are left to see, from the first on (as if the terminal were high enough for all of them)."""
        return screen(self.output)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def screen(output: str) -> list[str]:
    """What a terminal shows of ``output``: it knows the moves that progress is made of, and no colours."""
    lines, row, column = [""], 0, 0
    for parameters, command, control, text in _CONTROL.findall(output):
        if control == "\r":
            column = 0
        elif control == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif command == "A":
            row = max(0, row - int(parameters or 1))
        elif command == "K":
            lines[row] = "" if parameters == "2" else lines[row][:column]
        for sign in text:
            if column == COLUMNS:
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row][:column].ljust(column) + sign + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]
