"""What can go wrong when the stack is started, said so that a person knows the next step."""

from __future__ import annotations


class StackError(Exception):
    """The root of this package's errors.

    The text is one sentence or two: what happened, and what to do. The command line prints it without a traceback and
    ends with `exit_code`.
    """

    exit_code = 1


class WrongUsage(StackError):
    """A setting or an argument that cannot be meant; the command line ends with 2."""

    exit_code = 2


class PortInUse(StackError):
    """Another program listens on a port that a part of the stack was given."""

    def __init__(self, port: int, name: str, variable: str | None = None) -> None:
        self.port = port
        remedy = f" or choose another port with {variable}" if variable else ""
        super().__init__(
            f"port {port} of 127.0.0.1, which {name} needs, is taken by another program: stop that program"
            f" (`ss -ltnp sport = :{port}` names it){remedy}"
        )


class NotReady(StackError):
    """A part did not answer in time, or ended before it answered."""


class Missing(StackError):
    """A program that the stack needs is not installed."""
