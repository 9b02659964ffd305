// One structure, as callers describe it.
#pragma once

#include <cstdint>

#include "nlist.h"

namespace dp {

/// All atoms of a frame, or some of them, one after the other.
struct Part {
  bool all = true;
  int first = 0, count = 0;

  bool holds(int atom) const { return all || (atom >= first && atom - first < count); }
};

/// A frame: views of arrays that the caller owns.
struct Frame {
  int natoms = 0;  // with ghosts, which come last
  int nghost = 0;
  const double* coord = nullptr;  // (natoms, 3) Å
  const int* types = nullptr;     // (natoms,); other numbers than those of types are virtual atoms
  const double* spin = nullptr;   // (natoms, 3) μB, or none
  const double* cell = nullptr;   // (3, 3) Å, rows are lattice vectors; none for open boundaries
  const double* fparam = nullptr;       // (numb_fparam − dim_chg_spin,) or none
  const double* charge_spin = nullptr;  // (dim_chg_spin,) or none
  const double* aparam = nullptr;       // (local atoms, numb_aparam) or none
  const DP_Nlist* nlist = nullptr;      // neighbours of the caller, or none
  int ago = 0;
  Part part;  // whose atoms' outputs are computed, with all their derivatives; needs a frame without neighbour list

  int nlocal() const { return natoms - nghost; }
};

}  // namespace dp
