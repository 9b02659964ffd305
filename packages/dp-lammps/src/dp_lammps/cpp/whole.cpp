// Models that pass messages between atoms, on several ranks. Every rank knows all atoms and evaluates the energies of its
// own: dp-ops finds the atoms of other ranks that these depend on, each of them once, and no others. Ghosts as wide as
// that would burden all of LAMMPS, and be more than all atoms where the system is not much wider than the messages come.
#include <algorithm>

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "pair_deep.h"

using namespace LAMMPS_NS;

namespace dp {
namespace {

/// How many atoms each rank has, and how many all before it.
struct Shares {
  std::vector<int> counts, starts;
  int total = 0;

  Shares scaled(int width) const {
    Shares result{counts, starts, total * width};
    for (int &n : result.counts) n *= width;
    for (int &n : result.starts) n *= width;
    return result;
  }
};

Shares shares(int n, int nprocs, MPI_Comm world) {
  Shares result{std::vector<int>(nprocs), std::vector<int>(nprocs), 0};
  MPI_Allgather(&n, 1, MPI_INT, result.counts.data(), 1, MPI_INT, world);
  for (int k = 0; k < nprocs; ++k) {
    result.starts[k] = result.total;
    result.total += result.counts[k];
  }
  return result;
}

/// The values of the atoms of all ranks; those of ghosts, behind the others, are left out. Nothing that MPI reads is
/// const, as LAMMPS' stand-in for it takes pointers to what may be written.
template <typename T>
std::vector<T> gathered(std::vector<T> &values, int n, int width, const Shares &atoms, MPI_Comm world,
                        MPI_Datatype type) {
  Shares s = atoms.scaled(width);
  std::vector<T> all(s.total);
  MPI_Allgatherv(values.data(), n * width, type, all.data(), s.counts.data(), s.starts.data(), type, world);
  return all;
}

/// Gives each rank what all have found of its atoms, followed by zeros for its ghosts.
void sum(std::vector<double> &values, int n, int nghost, int width, const Shares &atoms, MPI_Comm world) {
  Shares s = atoms.scaled(width);
  std::vector<double> own(static_cast<size_t>(n + nghost) * width, 0);
  MPI_Reduce_scatter(values.data(), own.data(), s.counts.data(), MPI_DOUBLE, MPI_SUM, world);
  values = std::move(own);
}

/// Makes the cell so long where it is not periodic that its images do not meet.
void separate_images(Atoms &atoms, const int *periodic, double cutoff) {
  for (int d = 0; d < 3; ++d) {
    if (periodic[d] || atoms.nlocal == 0) continue;
    double lo = atoms.coord[d], hi = lo;
    for (int i = 0; i < atoms.nlocal; ++i) {
      lo = std::min(lo, atoms.coord[3 * i + d]);
      hi = std::max(hi, atoms.coord[3 * i + d]);
    }
    for (int i = 0; i < atoms.nlocal; ++i) atoms.coord[3 * i + d] -= lo;
    for (int c = 0; c < 3; ++c) atoms.cell[3 * d + c] = c == d ? hi - lo + 2 * cutoff + 1 : 0;
  }
}

}  // namespace

void PairDeep::evaluate_whole(Model &model, bool per_atom, Result &result) {
  const int n = atoms_.nlocal, nghost = atoms_.nghost;
  const Shares ranks = shares(n, comm->nprocs, world);
  Atoms all;
  all.coord = gathered(atoms_.coord, n, 3, ranks, world, MPI_DOUBLE);
  all.type = gathered(atoms_.type, n, 1, ranks, world, MPI_INT);
  if (with_spin_) all.spin = gathered(atoms_.spin, n, 3, ranks, world, MPI_DOUBLE);
  if (sizes_.aparam) all.aparam = gathered(atoms_.aparam, n, sizes_.aparam, ranks, world, MPI_DOUBLE);
  all.nlocal = ranks.total;
  all.fparam = atoms_.fparam;
  all.charge_spin = atoms_.charge_spin;
  std::copy_n(atoms_.cell, 9, all.cell);
  separate_images(all, domain->periodicity, cutoff_ / length_);
  result = Result();
  const int first = ranks.starts[comm->me];
  agree(attempt([&] { model.evaluate_part(all, first, n, per_atom, result); }));
  sum(result.force, n, nghost, 3, ranks, world);
  if (with_spin_) sum(result.magnetic, n, nghost, 3, ranks, world);
  if (!per_atom) return;
  std::vector<double> energies(n + nghost, 0);
  std::copy_n(result.atom_energy.begin() + first, n, energies.begin());
  result.atom_energy = std::move(energies);
  sum(result.atom_virial, n, nghost, 9, ranks, world);
}

}  // namespace dp
