"""What every command line of the project shares: one line on bad input, exit code 2, never a traceback for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Sequence

from physics.errors import InputError, require


def run_command(command: Callable[[list[str]], int | None], usage: str | Callable[[], str]) -> int:
    """Run `command` on the arguments of this process and return its exit code.

    Prints `usage` for -h and --help. InputError and OSError become `error: <one line>` on stderr and exit
    code 2; any other exception is a fault of the program and keeps its traceback.
    """
    argv = sys.argv[1:]
    if any(argument in ("-h", "--help") for argument in argv):
        print(usage if isinstance(usage, str) else usage())
        return 0
    try:
        return command(argv) or 0
    except (InputError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


def counted(count: int, noun: str) -> str:
    """"1 image", "7 images"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def one_line(error: BaseException) -> str:
    """The message of an exception on one line; an OSError names its file."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fspath(error.filename)!s}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def positional(argv: Sequence[str], keys: Collection[str], count: int, usage: str) -> tuple[list[str], dict[str, str]]:
    """Split `argv` into exactly `count` positional arguments and the `key=value` pairs whose key is in `keys`.

    An argument whose part before "=" is not in `keys` is positional when it names something that exists or no
    key at all, so that a path with "=" in it works.
    """
    places: list[str] = []
    pairs: dict[str, str] = {}
    for argument in argv:
        key, equals, value = argument.partition("=")
        if equals and key in keys:
            pairs[key] = value
            continue
        unknown = bool(equals) and key.isidentifier() and not os.path.exists(argument)
        require(not unknown, key, f"be one of {', '.join(sorted(keys)) or 'no key at all'}", "an unknown key")
        places.append(argument)
    what = f"{counted(count, 'argument')} besides key=value"
    require(len(places) == count, "the command", f"have {what}", len(places), usage.splitlines()[0])
    return places, pairs
