"""The child's side: tasks from standard input, answers to standard output, until the parent closes the pipe or dies."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from typing import Any, BinaryIO


def main() -> None:
    questions = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b") as nothing:  # Blender talks on standard output, which carries the answers here
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    serve(questions, answers)
    answers.close()
    # Blender's own clean-up at exit can hang; everything it holds is memory of this process.
    sys.stderr.flush()
    os._exit(0)


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer pickled (task, arguments) with ("value", v), ("input", message) or ("error", one line)."""
    while True:
        try:
            task, arguments = pickle.load(questions)
        except EOFError:
            return
        pickle.dump(_answer(task, arguments), answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _answer(task: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    from physics.errors import InputError

    try:
        from render.blender.tasks import TASKS  # bpy starts here, in the main thread

        return "value", TASKS[task](*arguments)
    except InputError as error:
        return "input", str(error)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return "error", f"{type(error).__name__}: {lines[-1]}"


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
