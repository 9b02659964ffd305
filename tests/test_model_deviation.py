"""Model deviation: DeePMD-kit's numbers and file format."""

from __future__ import annotations

import numpy as np
import pytest

from dp_core import ConfigError, DataError, DeepPot, calc_model_devi
from dp_core.model_deviation import model_devi, write_model_devi
from dp_core.module import replace

# computed by DeePMD-kit 3.2.0 for the three models below and the three frames of se_e2_a_oneside
EXPECTED = [
    [0, 6.231815085355e-03, 3.367137486012e-04, 2.779279527956e-03,
     3.905597579435e-02, 6.149632154431e-03, 1.938112550042e-02, 1.672974532605e00],
    [5, 1.083618622546e-02, 7.775958025648e-04, 4.296058122868e-03,
     3.721816782432e-02, 8.425859843477e-03, 2.022989651981e-02, 1.673677641201e00],
    [10, 7.683801606570e-03, 9.573078151689e-04, 3.950373770151e-03,
     4.135269385417e-02, 6.584539765129e-03, 2.289678361569e-02, 1.674208697144e00],
]  # fmt: skip
OF_ATOMS = [0.008455867519, 0.017855104381, 0.01278208754, 0.01183506271, 0.029027672242, 0.006149632154,
            0.020758974187, 0.023947309021, 0.039055975794, 0.022458148026, 0.018983984747, 0.021263687684]  # fmt: skip
RELATIVE_FORCE = [1.203613380337e-01, 2.009119954185e-02, 6.116264248521e-02]  # level 0.3, first frame
RELATIVE_VIRIAL = [2.963183737373e-02, 1.601049919389e-03, 1.321527642598e-02]  # level 0.2, first frame
OPEN = [0, 1.691787223768e-03, 6.177134166576e-04, 1.242488573397e-03,
        1.756500670621e-02, 0.0, 6.066722587382e-03, 1.672812181418e00]  # fmt: skip
REAL_ERROR = [0, 6.755723e-03, 4.828717e-04, 3.232665e-03, 1.623543e-01, 2.469679e-02, 7.376312e-02, 2.649071e00,
              3.267989e-02, 7.045121e-02]  # fmt: skip
FILE = """\
# data/system.000
# step      max_devi_v         min_devi_v         avg_devi_v         max_devi_f         min_devi_f         avg_devi_f\
         devi_e             \n\
           0       6.231815e-03       3.367137e-04       2.779280e-03       3.905598e-02       6.149632e-03\
       1.938113e-02       1.672975e+00
"""


@pytest.fixture
def models(golden):
    return [DeepPot(golden(n).path, "numpy") for n in ("se_e2_a_oneside", "se_e2_a_exclude", "se_e2_a_davg_zero")]


@pytest.fixture
def water(golden):
    return golden("se_e2_a_oneside")


def test_numbers(models, water):
    found = calc_model_devi(*water.inputs, models, frequency=5, atomic=True)
    assert found.shape == (3, 8 + 12)
    np.testing.assert_allclose(found[:, :8], EXPECTED, rtol=1e-9)
    np.testing.assert_allclose(found[0, 8:], OF_ATOMS, rtol=1e-9)


def test_second_derivatives_are_not_computed(water, models, monkeypatch):
    """Of models whose ``eval`` gives them."""
    marked = [DeepPot(replace(m.get_model(), script={"hessian_mode": True}), "numpy") for m in models]
    monkeypatch.setattr(DeepPot, "_hessian", None)
    assert all(m.has_hessian for m in marked)
    np.testing.assert_array_equal(calc_model_devi(*water.inputs, marked), calc_model_devi(*water.inputs, models))


def test_atomic_parameters_of_one_frame_serve_all(golden):
    case = golden("ener_fparam_aparam")
    coord, box, types = case.inputs
    given = {"fparam": case.data["fparam"][:1], "aparam": case.data["aparam"][0]}
    energy = DeepPot(case.path, "numpy").eval(coord, box, types, **given)[0]
    real = {"energy": energy, "force": np.zeros(coord.shape), "virial": np.zeros((len(coord), 9))}
    devi = calc_model_devi(coord, box, types, [DeepPot(case.path, "numpy")], real_data=real, **given)
    np.testing.assert_array_equal(devi[:, 7], 0)


def test_relative(models, water):
    found = calc_model_devi(*water.inputs, models, relative=0.3, relative_v=0.2)
    np.testing.assert_allclose(found[0, 4:7], RELATIVE_FORCE, rtol=1e-9)
    np.testing.assert_allclose(found[0, 1:4], RELATIVE_VIRIAL, rtol=1e-9)
    assert found[0, 7] == pytest.approx(EXPECTED[0][7])


def test_open_boundaries(models, water):
    coord, _, types = water.inputs
    np.testing.assert_allclose(calc_model_devi(coord, None, types, models)[0], OPEN, rtol=1e-8, atol=1e-15)


def test_real_error(models, water):
    labels = {k: water.data[k] for k in ("energy", "force", "virial")}
    found = calc_model_devi(*water.inputs, models, real_data=labels, relative=0.3, atomic=True)
    np.testing.assert_allclose(found[0, :10], REAL_ERROR, rtol=1e-6)
    exact = calc_model_devi(*water.inputs, models[:1], real_data=labels)
    np.testing.assert_allclose(exact[:, 1:], 0.0, atol=1e-9)


def test_file(models, water, tmp_path):
    path = tmp_path / "model_devi.out"
    coord, box, types = water.inputs
    found = calc_model_devi(coord[:1], box[:1], types, models, fname=path)
    assert path.read_text() == FILE.replace("data/system.000", "")
    write_model_devi(path, found, system="data/system.000")
    assert path.read_text() == FILE
    write_model_devi(path, found, system="data/system.000", append=True)
    assert path.read_text() == 2 * FILE
    np.testing.assert_allclose(np.loadtxt(path)[1], found[0], rtol=1e-5)

    atomic = calc_model_devi(coord[:1], box[:1], types, models, fname=path, atomic=True)
    header, row = path.read_text().splitlines()[1:]
    assert header.endswith("devi_e             atm_devi_f(N)      ")
    assert row.split() == ["0", *(f"{x:.6e}" for x in atomic[0, 1:])]


def test_virtual_atoms_do_not_count(models, water):
    coord, box, types = water.inputs
    absent = np.where(np.arange(12) == 3, -1, types)
    rest = np.delete(np.arange(12), 3)
    found = calc_model_devi(coord, box, np.tile(absent, (3, 1)), models, mixed_type=True, atomic=True)
    expected = calc_model_devi(coord[:, rest], box, types[rest], models, atomic=True)
    np.testing.assert_allclose(found[:, :8], expected[:, :8], rtol=1e-9)
    np.testing.assert_allclose(np.delete(found[:, 8:], 3, axis=1), expected[:, 8:], rtol=1e-9)
    assert not found[:, 11].any()


def test_definition():
    random = np.random.default_rng(0)
    energy, force, virial = (random.normal(size=(4, 2, *s)) for s in ((), (5, 3), (9,)))
    found = model_devi(energy, force, virial, np.ones((2, 5), bool), atomic=True)
    of_atoms = np.sqrt(force.var(axis=0).sum(axis=-1))
    spread = virial.std(axis=0) / 5
    np.testing.assert_allclose(found[:, 7:], of_atoms)
    np.testing.assert_allclose(found[:, 0], spread.max(axis=1))
    np.testing.assert_allclose(found[:, 2], np.sqrt((spread**2).mean(axis=1)))
    np.testing.assert_allclose(found[:, 6], energy.std(axis=0) / 5)


def test_wrong_models_and_labels(models, water, golden):
    with pytest.raises(ConfigError, match="1 models were given; a model deviation needs at least 2"):
        calc_model_devi(*water.inputs, models[:1])
    other = golden("se_e2_a_twoside").path
    with pytest.raises(ConfigError, match=r"Model 1 has the type map \['O', 'H', 'N'\], but model 0 has \['O', 'H'\]"):
        calc_model_devi(*water.inputs, [models[0], DeepPot(other, "numpy")])
    with pytest.raises(DataError, match="real_data has no virial"):
        calc_model_devi(*water.inputs, models, real_data={k: water.data[k] for k in ("energy", "force")})
    with pytest.raises(DataError, match=r"The label energy has the shape \(4,\); expected \(3,\)"):
        calc_model_devi(*water.inputs, models, real_data={"energy": np.zeros(4)})
    with pytest.raises(DataError, match="Frame 1 has no real atoms"):
        model_devi(np.zeros((2, 2)), np.zeros((2, 2, 1, 3)), np.zeros((2, 2, 9)), np.array([[True], [False]]))
