"""Make dipoles and polarizabilities of small water clusters by GFN1-xTB in a finite electric field.

    OMP_NUM_THREADS=1 python make_data.py              writes data/, provenance.json (CPU: a minute)
    OMP_NUM_THREADS=1 python make_data.py --check      compares dipoles in data/ with the slope of the energy

Needs ase and tblite. The clusters are neighbouring molecules of the frames in ../water/data.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from ase import units
from tblite.interface import Calculator
from tblite.library import ffi

HERE = Path(__file__).resolve().parent
WATER = HERE.parent / "water" / "data"
sys.path.insert(0, str(HERE.parent))
from labels import write_provenance  # noqa: E402

SEED = 20250
METHOD = {"method": "GFN1-xTB", "accuracy": 0.01}
FIELD = 1e-3  # step of the finite field, Hartree/(e bohr)
#: system -> frames of the water example, molecules of a cluster, number of clusters
SYSTEMS = {
    "train/two": (("train/300K", "train/600K"), 2, 100),
    "train/three": (("train/300K", "train/600K"), 3, 200),
    "validation/three": (("validation/330K",), 3, 40),
    "validation/four": (("validation/330K",), 4, 20),
}


def singlepoint(positions: np.ndarray, field: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy in eV and dipole (3,) in e·Å of water (N, 3) in Å, ordered O H H, in a field in Hartree/(e·bohr)."""
    calculator = Calculator(METHOD["method"], np.tile([8, 1, 1], len(positions) // 3), positions / units.Bohr)
    calculator.set("verbosity", 0)
    calculator.set("accuracy", METHOD["accuracy"])
    field = np.ascontiguousarray(field, np.float64)
    if field.any():
        calculator.add("electric-field", ffi.cast("double*", ffi.from_buffer(field)))
    result = calculator.singlepoint()
    return result.get("energy") * units.Hartree, result.get("dipole") * units.Bohr


def labels(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dipole (3,) in e·Å, polarizability (3, 3) in Å³: the slope of the dipole with the field, made symmetric."""
    dipole = singlepoint(positions, np.zeros(3))[1]
    slopes = [
        (singlepoint(positions, FIELD * axis)[1] - singlepoint(positions, -FIELD * axis)[1]) / (2 * FIELD)
        for axis in np.eye(3)
    ]
    alpha = np.array(slopes) * units.Bohr**2
    return dipole, (alpha + alpha.T) / 2


def clusters(folders: tuple[str, ...], molecules: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 3·molecules, 3): random molecules with their nearest ones, whole, the first oxygen at the origin."""
    found = []
    for _ in range(count):
        data = WATER / folders[rng.integers(len(folders))] / "set.000"
        coord, box = np.load(data / "coord.npy"), np.load(data / "box.npy")
        k = rng.integers(len(coord))
        atoms, cell = coord[k].reshape(-1, 3, 3), box[k].reshape(3, 3)
        oxygens = nearest_image(atoms[:, 0] - atoms[rng.integers(len(atoms)), 0], cell)
        bonds = nearest_image(atoms - atoms[:, :1], cell)
        chosen = np.argsort(np.linalg.norm(oxygens, axis=1))[:molecules]
        found.append((oxygens[:, None] + bonds)[chosen].reshape(-1, 3))
    return np.array(found)


def nearest_image(vectors: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Vectors (…, 3) without whole lattice vectors, short against the cell."""
    return vectors - np.round(vectors @ np.linalg.inv(cell)) @ cell


def make(name: str, index: int) -> None:
    """Write one system, with open boundaries."""
    folders, molecules, count = SYSTEMS[name]
    coords = clusters(folders, molecules, count, np.random.default_rng([SEED, index]))
    found = [labels(x) for x in coords]
    arrays = HERE / "data" / name / "set.000"
    arrays.mkdir(parents=True, exist_ok=True)
    (arrays.parent / "type.raw").write_text("0\n1\n1\n" * molecules)
    (arrays.parent / "type_map.raw").write_text("O\nH\n")
    (arrays.parent / "nopbc").touch()
    np.save(arrays / "coord.npy", coords.reshape(count, -1))
    np.save(arrays / "dipole.npy", np.array([dipole for dipole, _ in found]))
    np.save(arrays / "polarizability.npy", np.array([alpha.ravel() for _, alpha in found]))
    size = np.linalg.norm([dipole for dipole, _ in found], axis=1).mean()
    trace = np.mean([np.trace(alpha) / 3 for _, alpha in found])
    print(f"{name}: {count} clusters, mean dipole {size:.3f} e Å, mean polarizability {trace:.3f} Å³", flush=True)


def check() -> dict[str, float]:
    """Largest differences of the first cluster of each system: the same again; dipole and −dE/dF, e·Å."""
    again, slope = [], []
    for name in SYSTEMS:
        data = HERE / "data" / name / "set.000"
        x = np.load(data / "coord.npy")[0].reshape(-1, 3)
        dipole, alpha = labels(x)
        stored = np.load(data / "dipole.npy")[0], np.load(data / "polarizability.npy")[0].reshape(3, 3)
        again.append(max(np.abs(dipole - stored[0]).max(), np.abs(alpha - stored[1]).max()))
        rise = [singlepoint(x, FIELD * a)[0] - singlepoint(x, -FIELD * a)[0] for a in np.eye(3)]
        slope.append(np.abs(dipole + np.array(rise) / (2 * FIELD) / units.Hartree * units.Bohr).max())
    found = {"repeated": float(max(again)), "dipole_fd": float(max(slope))}
    print(found)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only check the labels that are there")
    if parser.parse_args().check:
        check()
        return
    for index, name in enumerate(SYSTEMS):
        make(name, index)
    write_provenance(
        HERE / "provenance.json",
        ["numpy", "ase", "tblite"],
        labeler=METHOD,
        field_au=FIELD,
        seed=SEED,
        systems={name: {"from": list(f), "molecules": m, "frames": n} for name, (f, m, n) in SYSTEMS.items()},
        label_errors=check(),
    )


if __name__ == "__main__":
    main()
