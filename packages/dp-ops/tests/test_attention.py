"""The kernel of attention against its formula by automatic differentiation, and its threads."""

import sys
from pathlib import Path

import numpy as np
import pytest

autograd = pytest.importorskip("autograd")
import autograd.numpy as anp  # noqa: E402

from dp_ops import training  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from test_training import RTOL, address, close, printed, random_arrays  # noqa: E402

SCALE, EPS = -0.3, 1e-5
PLAIN = {"normalize": True, "smooth": False, "spare": 0.0}
FORMS = {
    "plain": PLAIN,
    "smooth": PLAIN | {"smooth": True, "spare": 3.0},
    "of any length": PLAIN | {"normalize": False},
    "smooth, of any length": PLAIN | {"normalize": False, "smooth": True},
}


def transposed(x):
    return anp.swapaxes(x, -1, -2)


def evaluated(g, direction, weight, params, *, normalize, smooth, spare):
    """The layer where all slots take part."""
    w_in, b_in, w_out, b_out, w_norm, b_norm = params
    query, key, value = anp.split(anp.dot(g, w_in) + (0.0 if b_in is None else b_in), 3, axis=-1)
    if normalize:
        query, key, value = (x / anp.sqrt(anp.sum(x * x, axis=-1, keepdims=True)) for x in (query, key, value))
    logits = SCALE * anp.matmul(query, transposed(key))
    if smooth:
        logits = (logits + 20.0) * weight * transposed(weight)
    p = anp.exp(logits)
    p = p / (anp.sum(p, axis=-1, keepdims=True) + spare)
    y = g + anp.dot(anp.matmul(p * anp.matmul(direction, transposed(direction)), value), w_out)
    y = y if b_out is None else y + b_out
    y = y - anp.mean(y, axis=-1, keepdims=True)
    return y / anp.sqrt(anp.mean(y * y, axis=-1, keepdims=True) + EPS) * w_norm + b_norm


def parameters(width, hidden, dtype, biased=True):
    shapes = (width, 3 * hidden), (3 * hidden,), (hidden, width), (width,), (width,), (width,)
    return [x if biased or k not in (1, 3) else None for k, x in enumerate(random_arrays(dtype, *shapes))]


def computed(given, params, gu, gy, v, *, normalize, smooth, spare, second=True):
    """Value, slopes, tangent, and gradients of g and the weights by the kernel; given: g, direction, weight, valid."""
    g, direction = given[:2]
    of_params = [None if p is None else np.full_like(p, np.nan) for p in params]
    layers = [
        training.Layer(0, 0, 0, 1, *map(address, params[k : k + 2]), 0, *map(address, of_params[k : k + 2]), 0)
        for k in (0, 2, 4)
    ]
    spares = np.full((len(g), 1, 1), spare, g.dtype)
    sizes = (*g.shape, params[2].shape[0], direction.shape[2])
    problem = training.Attention(
        sizes, [*map(address, (*given, spares))], layers, (SCALE, EPS, normalize, smooth),
        float64=g.dtype == np.float64,
    )  # fmt: skip
    kept, tangents = np.full((2, problem.kept()), np.nan, g.dtype)
    y, of_gy, of_g = (np.full_like(g, np.nan) for _ in range(3))
    slopes = [np.full_like(x, np.nan) for x in given[:3]]
    problem.run("value", address(y), address(kept))
    problem.run("slope", address(gy), address(kept), *map(address, slopes))
    problem.run("tangent", *map(address, v), address(kept), address(of_gy), address(tangents))
    directions = (gy, *v, kept, tangents) if second else (None, None, None, None, kept, None)
    problem.run("gradients", *map(address, (gu, *directions, of_g)))
    return y, *slopes, of_gy, of_g, *(x for x in of_params if x is not None)


def expected(given, params, gu, gy, v, second=True, **settings):
    """The same by automatic differentiation; ``given`` without the slots that are empty."""

    def along(given, gy, params):
        return autograd.grad(lambda given: anp.sum(evaluated(*given, params, **settings) * gy))(given)

    def loss(g, gy, *some):
        rest = iter(some)
        now = (g, *given[1:]), [None if p is None else next(rest) for p in params]
        total = anp.sum(evaluated(*now[0], now[1], **settings) * gu)
        return total + second * sum(anp.sum(a * b) for a, b in zip(along(now[0], gy, now[1]), v, strict=True))

    of_g, _, *of_params = autograd.grad(lambda x: loss(*x))((given[0], gy, *(p for p in params if p is not None)))
    slope = along(given, gy, params)
    if not settings["smooth"]:
        slope = [*slope[:2], np.zeros_like(given[2])]
    of_gy = autograd.grad(lambda gy: sum(anp.sum(a * b) for a, b in zip(along(given, gy, params), v, strict=True)))(gy)
    return evaluated(*given, params, **settings), *slope, of_gy, of_g, *of_params


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize(("slots", "width", "hidden", "components"), [(1, 3, 2, 1), (13, 8, 8, 3), (40, 21, 50, 1)])
@pytest.mark.parametrize("form", FORMS)
def test_attention(form, slots, width, hidden, components, second, dtype):
    settings, shapes = FORMS[form], ((3, slots, width), (3, slots, components), (3, slots, 1))
    (*sides, gu, gy), v = random_arrays(dtype, *shapes, shapes[0], shapes[0]), random_arrays(dtype, *shapes)
    v = [0.5 * x for x in v]
    sides[2] = 0.5 + 0.1 * sides[2]
    params = parameters(width, hidden, dtype, biased=slots != 13)
    if not settings["normalize"]:
        params[:2] = [None if p is None else p / width for p in params[:2]]
    wanted = expected(sides, params, gu, gy, v, second, **settings)
    # the same with empty slots between those that take part, whose numbers are not to be read
    all_slots = np.sort(np.random.default_rng(3).permutation(slots + 4)[:slots])

    def spread(x, filled=np.nan):
        out = np.full((3, slots + 4, x.shape[2]), filled, dtype)
        out[:, all_slots] = x
        return out

    given = [*map(spread, sides), spread(np.ones_like(sides[2]), 0.0)]
    found = computed(given, params, spread(gu), spread(gy), [*map(spread, v)], second=second, **settings)
    close([x[:, all_slots] for x in found[:6]], wanted[:6], dtype)
    close(found[6:], wanted[6:], dtype)
    assert not any(np.delete(x, all_slots, 1).any() for x in found[:6])


def test_no_neighbors():
    for rows, slots in ((2, 3), (0, 3), (2, 0)):
        shapes = (rows, slots, 5), (rows, slots, 3), (rows, slots, 1)
        given = random_arrays("float64", *shapes)
        found = computed([*given, np.zeros(shapes[2])], parameters(5, 4, "float64"), given[0], given[0], given, **PLAIN)
        assert not any(x.any() for x in found)


@pytest.mark.parametrize("other", ["2", "3"])
def test_threads_change_no_bit(other):
    script = """
import hashlib, test_attention as a
shapes = (90, 30, 25), (90, 30, 3), (90, 30, 1)
given = t.random_arrays("float64", *shapes)
valid = (given[2] > -1).astype(float)
found = a.computed([*given, valid], a.parameters(25, 32, "float64"), given[0], given[0], given, **a.PLAIN)
print(hashlib.sha256(b"".join(x.tobytes() for x in found)).hexdigest())
"""
    assert printed(script, "1") == printed(script, other)


def test_no_memory_is_said_and_survived():
    """Weights of 4.3 million numbers, which the kernel copies, where there is room for a tenth of them."""
    script = """
import resource, test_attention as a
from pathlib import Path
from dp_ops import training
width = 1200
g, direction, one = np.ones((1, 2, width)), np.ones((1, 2, 3)), np.ones((1, 2, 1))
params = a.parameters(width, width, "float64")
layers = [training.Layer(0, 0, 0, 1, *map(t.address, params[k : k + 2]), 0, 0, 0, 0) for k in (0, 2, 4)]
arrays = [*map(t.address, (g, direction, one, one, one))]
problem = training.Attention((1, 2, width, width, 3), arrays, layers, (1.0, 1e-5, 1, 0), float64=True)
kept = np.empty(problem.kept())
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (size + 2**22, before[1]))
try:
    problem.run("value", t.address(g), t.address(kept))
except MemoryError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, before)
problem.run("value", t.address(g), t.address(kept))
print(np.isfinite(g).all())
"""
    said, finite = printed(script, "1").splitlines()
    assert said == "No memory for the kernel attention_value: give it fewer atoms or frames at once."
    assert finite == "True"
