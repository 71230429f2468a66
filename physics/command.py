"""What the command lines of `physics` share: plain key=value arguments, one line on bad input, exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from physics.errors import InputError, require


def run_command(command: Callable[[list[str]], None], usage: str) -> int:
    """Run `command` on the arguments of this process; InputError becomes `error: <one line>` and exit code 2."""
    argv = sys.argv[1:]
    if any(argument in ("-h", "--help") for argument in argv):
        print(usage, end="")
        return 0
    try:
        command(argv)
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        sys.stderr.close()
    return 0


def key_values(argv: Sequence[str], keys: Sequence[str], flags: Sequence[str] = ()) -> dict[str, str]:
    """The arguments `key=value`, each key once, and `flag`, with the value "". Raises InputError for any other."""
    values: dict[str, str] = {}
    for argument in argv:
        key, equals, value = argument.partition("=")
        known = key in keys if equals else key in flags
        require(known, "the command", f"have only {', '.join([f'{k}=…' for k in keys] + list(flags))}", argument)
        require(key not in values, key, "be given once", argument)
        values[key] = value
    return values
