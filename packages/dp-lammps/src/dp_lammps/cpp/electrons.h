// The temperatures of electrons that fix ttm keeps on a grid.
#pragma once

#include <string>
#include <vector>

namespace LAMMPS_NS {
class Domain;
class LAMMPS;
}  // namespace LAMMPS_NS

namespace dp {

struct Electrons {
  int cells[3] = {};                 // of the grid along x, y, z
  std::vector<double> temperatures;  // K, x fastest

  double mean() const;
  /// In the cell of a place, which may be a little outside of the periodic box.
  double at(const double *place, const LAMMPS_NS::Domain &domain) const;
};

/// Raises an error of LAMMPS where the fix is absent, or is none that keeps the temperatures of all cells.
void check_electrons(LAMMPS_NS::LAMMPS *lmp, const std::string &fix);

/// The temperatures as they are now, on all ranks. Raises an error of LAMMPS.
Electrons electrons(LAMMPS_NS::LAMMPS *lmp, const std::string &fix);

}  // namespace dp
