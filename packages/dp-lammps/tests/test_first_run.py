"""``dp lammps``: an input that works."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ase.io import write

pytest.importorskip("dp_cli")

from dp_cli.main import main
from dp_core import save_model
from dp_core.models.protocol import new_model
from dp_core.schema import parse_model
from dp_lammps import first_run

TABLE = Path(__file__).parents[3] / "tests" / "golden" / "pair_table_OH.txt"


@pytest.fixture
def files(lammps, water, monkeypatch):
    lammps.model("se_e2_a_oneside")
    write(lammps.folder / "water.xyz", water)
    monkeypatch.chdir(lammps.folder)
    for name, value in lammps.environment.items():
        monkeypatch.setenv(name, value)
    return lammps.folder


@pytest.mark.parametrize("ranks", ["1", "2"])
def test_ten_steps(files, capfd, ranks):
    assert main(["lammps", "se_e2_a_oneside.dp", "water.xyz", "-o", "run", "-n", ranks]) == 0
    said = capfd.readouterr().out
    assert "dp itself gives the same energy for step 0" in said
    assert "step 10:" in said
    assert (files / "run" / "in.lammps").exists()
    assert main(["lammps", "se_e2_a_oneside.dp", "water.xyz", "-o", "run"]) == 1
    assert "--force" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.dp", "water.xyz"], "none.dp"),
        (["se_e2_a_oneside.dp", "none.xyz"], "No file none.xyz"),
        (["se_e2_a_oneside.dp", "."], "is a folder, as systems of training data are"),
        (["se_e2_a_oneside.dp", "copper.xyz"], "the structure has Cu"),
        (["se_e2_a_oneside.dp", "slab.xyz"], "periodic in some directions"),
        (["se_e2_a_oneside.dp", "water.xyz", "--options", "fparam 1"], "Illegal fparam"),
        (["dpa3_charge_spin.dp", "water.xyz"], "Write `charge_spin CHARGE MULTIPLICITY` on the pair_style line"),
        (["dpa3_charge_spin.dp", "water.xyz", "-n", "2"], "Write `charge_spin CHARGE MULTIPLICITY`"),
        (["spin_se_e2_a.dp", "water.xyz"], "pair_style deepspin spin_se_e2_a.dp"),
        (["dplr.dp", "water.xyz"], "fix dplr and kspace_style pppm/dplr"),
        (["sum.dp", "water.xyz"], "has an ewald among the models of its sum"),
    ],
)
def test_messages(files, lammps, water, capfd, arguments, message):
    from ase.build import bulk

    lammps.model("spin_se_e2_a")
    lammps.model("dplr")
    lammps.model("dpa3_charge_spin")
    members = [
        {"type": "pairtab", "tab_file": str(TABLE), "rcut": 4.0, "sel": 30},
        {"type": "ewald", "charges": [1, -1]},
    ]
    section = parse_model({"type": "linear_ener", "models": members, "weights": "sum"})
    save_model(new_model(section, ["O", "H"]), files / "sum.dp")
    write(files / "copper.xyz", bulk("Cu"))
    water.pbc = [True, True, False]
    write(files / "slab.xyz", water)
    assert main(["lammps", *arguments]) == 1
    assert message in " ".join(capfd.readouterr().err.split())


def test_an_error_behind_half_a_line(tmp_path, monkeypatch):
    """As a rank leaves it that is ended while it writes."""
    script = """
import sys
open("log.lammps", "w").write("  stencil: full/b")
sys.stdout.write("      bin: stERROR on proc 1: write that (pair.cpp:1)\\nAbort(1) on node 1")
sys.exit(1)
"""
    monkeypatch.setattr(first_run, "command", lambda *given: [sys.executable, "-c", script])
    with pytest.raises(first_run.RunError, match=r"^ERROR on proc 1: write that \(pair.cpp:1\)$"):
        first_run.run(tmp_path / "in.lammps")
