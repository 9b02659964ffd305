"""``dp lammps``: a first run of a model in LAMMPS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dp_cli.log import start_logging
from dp_cli.options import LogLevel, LogPath, is_checkpoint

#: Relative difference of energies that rounding explains: LAMMPS reads coordinates of 16 digits and prints 10.
SAME = 1e-7


def command(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Frozen model, or .dp file.")],
    structure: Annotated[str, typer.Argument(metavar="STRUCTURE", help="Any file that ASE reads.")],
    output: Annotated[str, typer.Option("-o", "--output", help="Folder for in.lammps and structure.data.")] = ".",
    options: Annotated[
        str, typer.Option("--options", help="Further words of the pair_style line, as 'fparam 0.5'.")
    ] = "",
    temperature: Annotated[float, typer.Option("-t", "--temperature", help="K.")] = 300.0,
    ranks: Annotated[int, typer.Option("-n", "--ranks", help="Number of MPI processes.", min=1)] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace the files if they exist.")] = False,
    log_level: LogLevel = "WARNING",
    log_path: LogPath = None,
) -> None:
    """Write in.lammps for a model and a structure, and run ten steps of it.

    The energy of the first step is compared with that of dp itself. dp-lammps must be installed.
    """
    from dp_core.errors import BackendError, ConfigError, DataError

    start_logging(log_level, log_path)
    try:
        from dp_lammps import first_run
    except ImportError as error:
        raise BackendError("dp-lammps is not installed. Install it with `pip install dp-lammps`.") from error
    path = Path(context.obj.model_file(model))
    if is_checkpoint(path):
        raise ConfigError(f"{path} is a checkpoint. Freeze it first: dp freeze -c {path} -o model.dp")
    folder = Path(output)
    for name in (first_run.INPUT, first_run.DATA):
        if (folder / name).exists() and not force:
            raise ConfigError(f"{folder / name} exists. Choose another folder with -o, or replace it with --force.")
    atoms = _read(structure)
    with context.obj.potential(model) as potential:
        _refuse_others(path, potential.get_model())
        try:
            made = first_run.write_input(
                folder, path, potential.get_type_map(), atoms, options=options, temperature=temperature
            )
        except ValueError as error:
            raise DataError(f"{structure} does not fit {path}: {error}.") from error
        typer.echo(f"Wrote {made} and {folder / first_run.DATA}.")
        try:
            rows = first_run.run(made, ranks=ranks)
        except first_run.RunError as error:
            raise BackendError(f"LAMMPS stopped: {error}") from error
        for row in (rows[0], rows[-1]):
            typer.echo(
                f"step {row['Step']:.0f}: energy {row['PotEng']:.6f} eV, temperature {row['Temp']:.1f} K, "
                f"largest force {row['Fmax']:.4f} eV/Å"
            )
        if not options:
            _compare(potential, atoms, rows[0]["PotEng"])
    typer.echo("Ten steps ran. Next:")
    typer.echo(f"  cd {folder} && lmp -in {first_run.INPUT} -var steps 100000")


def _refuse_others(path: Path, model: Any) -> None:
    """Raise ConfigError for a model that needs more of LAMMPS than pair_style deepmd and a structure."""
    from dp_core.errors import ConfigError
    from dp_core.long_range import long_range
    from dp_core.virtual_atoms import virtual_atoms

    if virtual_atoms(model) is not None:
        raise ConfigError(
            f"{path} is a model with spins, which a structure does not tell. Write an input with atom_style spin and "
            f"pair_style deepspin {path.name}: docs/lammps.md."
        )
    if getattr(model, "modifier", None) is not None:
        raise ConfigError(
            f"{path} has charges on centroids (modifier), which are atoms of their own in LAMMPS. Write an input with "
            "fix dplr and kspace_style pppm/dplr: docs/lammps.md."
        )
    if long_range(model):
        raise ConfigError(
            f"{path} has an ewald among the models of its sum, which pair_style deepmd cannot add. Train it as a "
            "modifier, or run it with the ASE calculator: docs/electrostatics.md."
        )


def _read(structure: str) -> Any:
    """The last structure of a file. Raises DataError."""
    from dp_core.errors import DataError

    try:
        from ase.io import read
    except ImportError as error:
        raise DataError("Structures are read by ASE, which is not installed: pip install ase") from error
    if not Path(structure).exists():
        raise DataError(f"No file {structure}. Give a structure in a format of ASE: .xyz, .cif, POSCAR, …")
    if Path(structure).is_dir():
        raise DataError(
            f"{structure} is a folder, as systems of training data are. Give one structure in a file: .xyz, .cif, "
            "POSCAR, …"
        )
    try:
        return read(structure)
    except Exception as error:
        raise DataError(f"ASE cannot read {structure}: {error}. Give .xyz, .cif, POSCAR, …") from error


def _compare(potential: Any, atoms: Any, energy: float) -> None:
    from dp_core.ase import DP
    from dp_core.errors import BackendError

    atoms.calc = DP(potential)
    expected = atoms.get_potential_energy()
    if abs(energy - expected) > SAME * max(1.0, abs(expected)):
        raise BackendError(
            f"LAMMPS gives the energy {energy:.8f} eV, dp itself {expected:.8f} eV. Please report this with the model "
            "file and what `dp doctor --report` prints."
        )
    typer.echo(f"dp itself gives the same energy for step 0, {expected:.6f} eV.")
