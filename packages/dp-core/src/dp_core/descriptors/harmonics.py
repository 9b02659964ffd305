"""Real solid harmonics of a vector, of degree 2 to 4: polynomials that rotate among themselves."""

from __future__ import annotations

from math import sqrt

from dp_core.arrays import namespace
from dp_core.module import Array


def harmonics(e: Array, lmax: int) -> list[Array]:
    """The 2l + 1 harmonics of each degree l = 2 … lmax (at most 4), normalised to |e|ˡ: (…, 3) -> (…, 2l + 1) each."""
    xp = namespace(e)
    x, y, z = e[..., 0], e[..., 1], e[..., 2]
    xx, yy, zz = x * x, y * y, z * z
    q, d = xx + yy + zz, xx - yy
    degrees = [
        [sqrt(3) * x * y, sqrt(3) * y * z, 0.5 * (3 * zz - q), sqrt(3) * x * z, 0.5 * sqrt(3) * d],
    ]
    if lmax > 2:
        degrees.append(
            [
                sqrt(5 / 8) * y * (3 * xx - yy),
                sqrt(15) * x * y * z,
                sqrt(3 / 8) * y * (5 * zz - q),
                0.5 * z * (5 * zz - 3 * q),
                sqrt(3 / 8) * x * (5 * zz - q),
                0.5 * sqrt(15) * z * d,
                sqrt(5 / 8) * x * (xx - 3 * yy),
            ]
        )
    if lmax > 3:
        degrees.append(
            [
                0.5 * sqrt(35) * x * y * d,
                0.25 * sqrt(70) * y * z * (3 * xx - yy),
                0.5 * sqrt(5) * x * y * (7 * zz - q),
                0.25 * sqrt(10) * y * z * (7 * zz - 3 * q),
                0.125 * (35 * zz * zz - 30 * zz * q + 3 * q * q),
                0.25 * sqrt(10) * x * z * (7 * zz - 3 * q),
                0.25 * sqrt(5) * d * (7 * zz - q),
                0.25 * sqrt(70) * x * z * (xx - 3 * yy),
                0.125 * sqrt(35) * (xx * xx - 6 * xx * yy + yy * yy),
            ]
        )
    return [xp.stack(of_degree, axis=-1) for of_degree in degrees]
