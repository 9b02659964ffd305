"""``forking_child.py ARGUMENT…``: the program ``dp`` of this environment, many times, imported once.

The arguments are a command that fails as soon as all is imported. Then every line of the input is a command as JSON,
``{"folder": …, "log": …, "arguments": […]}``; it runs in a fork of this process, and its exit status is printed.
"""

import json
import os
import sys
import traceback
from importlib.metadata import entry_points


def attempt(program, arguments):
    """The exit status of a command in this process."""
    sys.argv = ["dp", *arguments]
    try:
        program()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def write_to(path):
    """Let standard output and error, of libraries too, go to a file."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(file, number)


def in_fork(program, job):
    """The exit status of a command in a fork of this process."""
    pid = os.fork()
    if pid == 0:
        write_to(job["log"])
        os.chdir(job["folder"])
        status = attempt(program, job["arguments"])
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main():
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    write_to(os.devnull)
    program = next(iter(entry_points(group="console_scripts", name="dp"))).load()
    attempt(program, sys.argv[1:])
    for line in sys.stdin:
        print(in_fork(program, json.loads(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
