"""From data to a report: train a potential of copper, freeze it, test it, run it, compare it with its labeler.

    hatch run demo              (or: make demo) writes demo-output/report.html in a few minutes on two cores
    python demo.py --quick      goes through all steps with a fraction of the training, to see that they work

Needs dp-core[ase,plot], dp-torch and dp-cli.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import report
from ase.calculators.emt import EMT
from physics import Properties, properties

from dp_core import DeepPot
from dp_core.ase import DP
from dp_core.data import open_systems

HERE = Path(__file__).resolve().parent
MODEL = "copper.pth"
NVE_STEPS, LIQUID_STEPS = 2000, 3000
QUICK = 20  # so much less is done with --quick
#: The demonstration has failed if errors are larger: forces in eV/Å, lattice constant in percent, drift in meV/atom/ps
LIMITS = {"force": 0.06, "lattice": 0.5, "drift": 0.5}


class Commands:
    """Runs ``dp`` in the output folder, and remembers what was run and how long it took."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.done: list[tuple[str, float]] = []

    def dp(self, line: str) -> str:
        """Run ``dp LINE``; its log goes to the screen, what it prints is shown and returned."""
        print(f"\n$ dp {line}", flush=True)
        words, start = [sys.executable, "-m", "dp_cli", *line.split()], time.monotonic()
        finished = subprocess.run(words, cwd=self.folder, stdout=subprocess.PIPE, text=True, check=False)
        print(finished.stdout, end="", flush=True)
        if finished.returncode:
            sys.exit(f"`dp {line}` ended with status {finished.returncode}.")
        self.done.append((f"dp {line}", time.monotonic() - start))
        return finished.stdout


def prepare(folder: Path, quick: bool) -> dict:
    """A new output folder with the data and the input file; returns the settings."""
    mark = folder / ".demo"
    if folder.exists() and not mark.exists():
        sys.exit(f"{folder} exists and is not of this demonstration; move it away, or choose another --output.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark.touch()
    shutil.copytree(HERE.parent / "copper" / "data", folder / "data")
    settings = json.loads((HERE / "input.json").read_text())
    if quick:
        settings["training"]["numb_steps"] //= QUICK
        settings["training"]["disp_freq"] //= QUICK
    (folder / "input.json").write_text(json.dumps(settings, indent=2) + "\n")
    return settings


def train_and_test(commands: Commands) -> tuple[dict[str, report.Errors], list[report.Check]]:
    """The commands of a user; returns the errors on the validation data and the checks of the model."""
    commands.dp("--pt train input.json")
    commands.dp(f"--pt freeze -o {MODEL}")
    commands.dp(f"test -m {MODEL} -s data/validation -d validation -l test.log")
    checks = commands.dp(f"check {MODEL}")
    return report.read_errors(commands.folder / "test.log"), report.read_checks(checks)


def compare(commands: Commands, quick: bool) -> tuple[Properties, Properties]:
    """The same properties from the labeler, in a process beside this one, and from the potential."""
    lengths = [steps // (QUICK if quick else 1) for steps in (NVE_STEPS, LIQUID_STEPS)]
    print("\nCrystal, defects, phonons and dynamics, with the potential and with the labeler …", flush=True)
    start = time.monotonic()
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        waiting = other.submit(properties, EMT(), *lengths)
        dp = properties(DP(commands.folder / MODEL), *lengths)
        labeler = waiting.result()
    commands.done.append(("# crystal, defects, phonons and dynamics with ASE: physics.py", time.monotonic() - start))
    return labeler, dp


def verdict(errors: dict[str, report.Errors], labeler: Properties, dp: Properties) -> list[str]:
    """What is worse than it should be."""
    found = {
        "force": errors["all"].force,
        "lattice": 100 * abs(dp.rest.lattice / labeler.rest.lattice - 1),
        "drift": abs(dp.motion.drift),
    }
    return [f"{name} {value:.3g} > {LIMITS[name]:g}" for name, value in found.items() if not value <= LIMITS[name]]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE.parents[1] / "demo-output", help="folder")
    parser.add_argument("--quick", action="store_true", help="train and run for a moment only")
    arguments = parser.parse_args()
    start = time.monotonic()
    settings = prepare(arguments.output, arguments.quick)
    commands = Commands(arguments.output)
    errors, checks = train_and_test(commands)
    labeler, dp = compare(commands, arguments.quick)
    findings = report.Findings(
        folder=arguments.output,
        settings=settings,
        errors=errors,
        checks=checks,
        labeler=labeler,
        dp=dp,
        steps=commands.done,
        parameters=DeepPot(arguments.output / MODEL).get_model_size()["total"],
        training=sum(system.nframes for system in open_systems(str(arguments.output / "data" / "train"))),
    )
    path = report.write(findings)
    print("\n" + report.as_text(findings))
    print(f"\nReport: {path.resolve()}  ({time.monotonic() - start:.0f} s in all)")
    worse = verdict(errors, labeler, dp)
    if worse and not arguments.quick:
        sys.exit("This is not good enough: " + "; ".join(worse))


if __name__ == "__main__":
    main()
