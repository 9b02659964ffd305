// What models need of the atoms, the box and a neighbour list of LAMMPS, in angstrom.
#pragma once

#include <vector>

#include "model.h"

namespace LAMMPS_NS {
class LAMMPS;
class NeighList;
}  // namespace LAMMPS_NS

namespace dp {

/// Places of xx yy zz xy xz yz (yx zx zy), LAMMPS' order, among the nine of a row-major virial.
constexpr int kVoigt[9] = {0, 4, 8, 3, 6, 7, 1, 2, 5};

/// Numbers, coordinates and types of the atoms of this rank, and the cell.
///
/// type_of: the type of the model for each type of LAMMPS, from 1 on; −1: none.
void read_atoms(const LAMMPS_NS::LAMMPS *lmp, const std::vector<int> &type_of, Atoms &atoms);

/// Neighbours of the local atoms; the list must live as long as they are used. Atoms that it skips have none.
void read_list(const LAMMPS_NS::NeighList *list, Atoms &atoms);

}  // namespace dp
