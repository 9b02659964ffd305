#include "read_atoms.h"

#include "atom.h"
#include "domain.h"
#include "force.h"
#include "lammps.h"
#include "neigh_list.h"

using namespace LAMMPS_NS;

namespace dp {

void read_atoms(const LAMMPS *lmp, const std::vector<int> &type_of, Atoms &atoms) {
  const Atom *atom = lmp->atom;
  const double length = lmp->force->angstrom, *low = lmp->domain->boxlo;
  const double *h = lmp->domain->h;  // xx yy zz yz xz xy
  atoms.nlocal = atom->nlocal;
  atoms.nghost = atom->nghost;
  const int nall = atoms.nlocal + atoms.nghost;
  atoms.coord.resize(3 * static_cast<size_t>(nall));
  atoms.type.resize(nall);
  for (int i = 0; i < nall; ++i) {
    atoms.type[i] = type_of[atom->type[i]];
    for (int d = 0; d < 3; ++d) atoms.coord[3 * static_cast<size_t>(i) + d] = (atom->x[i][d] - low[d]) / length;
  }
  const double cell[9] = {h[0], 0, 0, h[5], h[1], 0, h[4], h[3], h[2]};
  for (int c = 0; c < 9; ++c) atoms.cell[c] = cell[c] / length;
}

void read_list(const NeighList *list, Atoms &atoms) {
  const int nlocal = atoms.nlocal;
  atoms.mask = NEIGHMASK;
  atoms.ilist.resize(nlocal);
  atoms.numneigh.assign(nlocal, 0);
  atoms.firstneigh.assign(nlocal, nullptr);
  for (int i = 0; i < nlocal; ++i) atoms.ilist[i] = i;
  for (int k = 0; k < list->inum; ++k) {
    const int i = list->ilist[k];
    if (i >= nlocal) continue;
    atoms.numneigh[i] = list->numneigh[i];
    atoms.firstneigh[i] = list->firstneigh[i];
  }
}

}  // namespace dp
