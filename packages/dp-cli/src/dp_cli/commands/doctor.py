"""``dp doctor``: what is installed, what does not work, and how to repair it."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    report: Annotated[bool, typer.Option("--report", help="Plain text to paste into a bug report.")] = False,
) -> None:
    """What is installed and what does not work.

    For each problem, the command that repairs it.
    Exit status 1 if something that is installed does not work.
    """
    from dp_cli.examination import examine
    from dp_cli.screen import print_status, print_table

    found = examine()
    if report:
        lines = [f"{name}: {value}" for name, value in (*found.system, *found.packages, *found.compiled)]
        lines += [f"backend {b.name}: {b.text}" for b in found.backends]
        lines += [f"PROBLEM: {p.what} Repair: {p.repair}" for p in found.problems]
        typer.echo("```\n" + "\n".join(lines) + "\n```")
    else:
        print_table("System", ("", ""), found.system)
        print_table("Packages", ("", ""), found.packages)
        if found.compiled:
            print_table("Compiled parts", ("", ""), found.compiled)
        for backend in found.backends:
            word, color = {True: ("ok", "green"), False: ("broken", "red"), None: ("absent", "yellow")}[backend.works]
            print_status(word, color, f"backend {backend.name}: {backend.text}")
        for problem in found.problems:
            print_status("Problem:", "red", f"{problem.what}\n  repair: {problem.repair}")
        typer.echo("No problems." if not found.problems else f"{len(found.problems)} problem(s).")
    if found.problems:
        raise typer.Exit(1)
