"""``dp neighbor-stat``: the shortest distance and the largest numbers of neighbours in data."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from dp_cli.log import start_logging
from dp_cli.options import LogLevel, LogPath
from dp_cli.screen import progress
from dp_cli.systems import open_chosen

log = logging.getLogger("deepmd.entrypoints.neighbor_stat")

#: The longest cutoff radius, Å. An atom has some hundred thousand neighbours within it, far more than any model takes.
LONGEST = 100.0


def command(
    rcut: Annotated[float, typer.Option("-r", "--rcut", help="Cutoff radius in Å.")],
    system: Annotated[str, typer.Option("-s", "--system", help="Data set, or folder to search.")] = ".",
    type_map: Annotated[
        list[str] | None, typer.Option("-t", "--type-map", help="Elements, as in -t O H.", show_default="of the data")
    ] = None,
    mixed_type: Annotated[
        bool, typer.Option("--mixed-type", "--one-type", help="Count neighbours of all types together.")
    ] = False,
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """Count neighbours in data.

    The shortest distance, and how many neighbours an atom has at most; for choosing sel.
    """
    from dp_core.errors import ConfigError
    from dp_core.statistics import auto_sel, neighbor_statistics, whole

    start_logging(log_level, log_path)
    if not 0 < rcut <= LONGEST:
        raise ConfigError(
            f"The cutoff radius is {rcut:g}; give a number of Å, more than 0 and up to {LONGEST:g}, with -r."
        )
    systems = open_chosen(type_map, system)
    with progress("Counting neighbours") as show:
        found = neighbor_statistics(whole(systems), rcut, len(systems[0].type_map), mixed=mixed_type, progress=show)
    log.info(f"min_nbor_dist: {found.min_distance:f}")
    log.info(f"max_nbor_size: {list(found.most)}")
    log.info(f"type_map: {' '.join(systems[0].type_map)}; with some reserve, sel: {auto_sel('auto', found.most)}")
