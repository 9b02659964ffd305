"""Make the charged-water data: frames of the water example, labelled by a classical model with point charges.

    python make_data.py              writes data/, provenance.json (CPU: a minute)
    python make_data.py --check      compares the labels in data/ with finite differences

Needs ase, scipy, vesin and dp-core. Labels are the energy, forces and virial of the whole, and the displacements of the
centroids, ``atomic_dipole``. ``short_*.npy`` beside them is the exact short-range part, to judge a model of it by.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from charged_water import BETA, CHARGES, SPACING, centroids, long_range, short_range, whole_molecules

HERE = Path(__file__).resolve().parent
WATER = HERE.parent / "water" / "data"
sys.path.insert(0, str(HERE.parent))
from labels import write_provenance  # noqa: E402

#: system -> frames of the water example, every so many of them, how many
SYSTEMS = {
    "train/300K": ("train/300K", 5, 20),
    "train/350K": ("train/350K", 5, 20),
    "train/600K": ("train/600K", 4, 20),
    "validation/330K": ("validation/330K", 4, 10),
    "validation/400K_large": ("validation/400K_large", 3, 3),
}


def labels(molecules: np.ndarray, cell: np.ndarray) -> dict[str, np.ndarray]:
    """All labels of one frame, flat."""
    short, long = short_range(molecules, cell), long_range(molecules, cell)
    return {
        "coord": molecules.ravel(),
        "box": cell.ravel(),
        "energy": np.array(short.energy + long.energy),
        "force": (short.force + long.force).ravel(),
        "virial": (short.virial + long.virial).ravel(),
        "atomic_dipole": centroids(molecules).ravel(),
        "short_energy": np.array(short.energy),
        "short_force": short.force.ravel(),
    }


def make(name: str) -> None:
    """Write one system."""
    source, every, count = SYSTEMS[name]
    data = WATER / source / "set.000"
    coords, boxes = (np.load(data / f"{key}.npy")[::every][:count] for key in ("coord", "box"))
    frames = [labels(whole_molecules(x, h.reshape(3, 3)), h.reshape(3, 3)) for x, h in zip(coords, boxes)]
    arrays = HERE / "data" / name / "set.000"
    arrays.mkdir(parents=True, exist_ok=True)
    (arrays.parent / "type.raw").write_text("0\n1\n1\n" * (coords.shape[1] // 9))
    (arrays.parent / "type_map.raw").write_text("O\nH\n")
    for key in frames[0]:
        np.save(arrays / f"{key}.npy", np.array([frame[key] for frame in frames]))
    force = np.concatenate([frame["force"] for frame in frames])
    short = np.concatenate([frame["short_force"] for frame in frames])
    print(f"{name}: {len(frames)} frames, rms force {force.std():.2f} eV/Å, without long range {short.std():.2f}")


def check(step: float = 1e-4) -> dict[str, float]:
    """Largest differences of force and virial from central differences of the energy, in one frame of each system."""
    force_fd, virial_fd = [], []
    for name in SYSTEMS:
        data = HERE / "data" / name / "set.000"
        stored = {key: np.load(data / f"{key}.npy")[-1] for key in ("coord", "box", "force", "virial")}
        x, h = stored["coord"].reshape(-1, 3, 3), stored["box"].reshape(3, 3)

        def energy(x: np.ndarray, h: np.ndarray) -> float:
            return short_range(x, h).energy + long_range(x, h).energy

        rng = np.random.default_rng(0)
        shift = rng.normal(size=x.shape)
        shift /= np.linalg.norm(shift)
        rise = (energy(x + step * shift, h) - energy(x - step * shift, h)) / (2 * step)
        force_fd.append(abs(rise + np.sum(stored["force"].reshape(x.shape) * shift)))
        strain = rng.normal(size=(3, 3))
        strain = (strain + strain.T) / np.linalg.norm(strain + strain.T)
        up, down = np.eye(3) + step * strain, np.eye(3) - step * strain
        rise = (energy(x @ up, h @ up) - energy(x @ down, h @ down)) / (2 * step)
        virial_fd.append(abs(rise + np.sum(stored["virial"].reshape(3, 3) * strain)))
    found = {"force_fd": float(max(force_fd)), "virial_fd": float(max(virial_fd))}
    print(found)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only check the labels that are there")
    if parser.parse_args().check:
        check()
        return
    for name in SYSTEMS:
        make(name)
    write_provenance(
        HERE / "provenance.json",
        ["numpy", "scipy", "ase", "vesin"],
        labeler={"model": "q-TIP4P/F, point charges", "charges": CHARGES.tolist(), "beta": BETA, "spacing": SPACING},
        systems={name: {"from": source, "frames": count} for name, (source, _, count) in SYSTEMS.items()},
        label_errors=check(),
    )


if __name__ == "__main__":
    main()
