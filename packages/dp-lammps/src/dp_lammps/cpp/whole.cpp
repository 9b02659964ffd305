// Models that pass messages between atoms, on several ranks. Rank 0 evaluates all atoms: the numbers are those of one
// rank, and so is the time. Ghosts wide enough for all layers and their derivative would hold more atoms than most
// systems have.
#include <algorithm>
#include <stdexcept>

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"
#include "pair_deep.h"

using namespace LAMMPS_NS;

namespace dp {
namespace {

/// Lengths and places of what each rank gives, width numbers an atom.
struct Shares {
  std::vector<int> counts, starts;
  int total = 0;
};

Shares shares(int n, int width, int nprocs, MPI_Comm world) {
  Shares result{std::vector<int>(nprocs), std::vector<int>(nprocs), 0};
  int own = n * width;
  MPI_Allgather(&own, 1, MPI_INT, result.counts.data(), 1, MPI_INT, world);
  for (int k = 0; k < nprocs; ++k) {
    result.starts[k] = result.total;
    result.total += result.counts[k];
  }
  return result;
}

template <typename T>
std::vector<T> gathered(const std::vector<T> &values, int n, int width, int nprocs, MPI_Comm world, MPI_Datatype type) {
  const Shares s = shares(n, width, nprocs, world);
  std::vector<T> all(s.total);
  MPI_Gatherv(values.data(), n * width, type, all.data(), s.counts.data(), s.starts.data(), type, 0, world);
  return all;
}

/// Gives each rank its part, followed by zeros for its ghosts.
void scatter(std::vector<double> &values, int n, int nghost, int width, int nprocs, MPI_Comm world) {
  const Shares s = shares(n, width, nprocs, world);
  std::vector<double> own(static_cast<size_t>(n + nghost) * width, 0);
  MPI_Scatterv(values.data(), s.counts.data(), s.starts.data(), MPI_DOUBLE, own.data(), n * width, MPI_DOUBLE, 0, world);
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
  const int n = atoms_.nlocal, nprocs = comm->nprocs;
  Atoms all;
  all.coord = gathered(atoms_.coord, n, 3, nprocs, world, MPI_DOUBLE);
  all.type = gathered(atoms_.type, n, 1, nprocs, world, MPI_INT);
  if (with_spin_) all.spin = gathered(atoms_.spin, n, 3, nprocs, world, MPI_DOUBLE);
  if (!atoms_.aparam.empty() || sizes_.aparam)
    all.aparam = gathered(atoms_.aparam, n, sizes_.aparam, nprocs, world, MPI_DOUBLE);
  all.nlocal = static_cast<int>(all.type.size());
  all.fparam = atoms_.fparam;
  all.charge_spin = atoms_.charge_spin;
  std::copy_n(atoms_.cell, 9, all.cell);
  separate_images(all, domain->periodicity, cutoff_ / length_);
  result = Result();
  if (comm->me == 0) {
    try {
      model.evaluate_whole(all, per_atom, result);
    } catch (const std::runtime_error &e) {
      error->one(FLERR, "pair_style {}: {}", name_, e.what());
    }
  }
  scatter(result.force, n, atoms_.nghost, 3, nprocs, world);
  if (with_spin_) scatter(result.magnetic, n, atoms_.nghost, 3, nprocs, world);
  if (!per_atom) return;
  scatter(result.atom_energy, n, atoms_.nghost, 1, nprocs, world);
  scatter(result.atom_virial, n, atoms_.nghost, 9, nprocs, world);
}

}  // namespace dp
