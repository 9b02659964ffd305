#include "electrons.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "comm.h"
#include "domain.h"
#include "error.h"
#include "fix.h"
#include "lammps.h"
#include "modify.h"

using namespace LAMMPS_NS;

namespace dp {
namespace {

/// What a fix writes for a restart: the only place where fix ttm shows its grid. LAMMPS asks for it on all ranks, and
/// rank 0 writes.
std::vector<double> written_by(Fix *fix) {
  char *text = nullptr;
  size_t size = 0;
  FILE *file = open_memstream(&text, &size);
  if (!file) return {};
  fix->write_restart(file);
  std::fclose(file);
  int bytes = 0;
  if (size > sizeof(bytes)) std::memcpy(&bytes, text, sizeof(bytes));
  std::vector<double> numbers;
  if (bytes > 0 && size >= sizeof(bytes) + bytes) {
    numbers.resize(bytes / sizeof(double));
    std::memcpy(numbers.data(), text + sizeof(bytes), numbers.size() * sizeof(double));
  }
  std::free(text);
  return numbers;
}

}  // namespace

double Electrons::mean() const {
  return std::accumulate(temperatures.begin(), temperatures.end(), 0.0) / static_cast<double>(temperatures.size());
}

double Electrons::at(const double *place, const Domain &domain) const {
  size_t cell = 0;
  for (int d = 2; d >= 0; --d) {
    const int k = static_cast<int>(std::floor((place[d] - domain.boxlo[d]) * cells[d] / domain.prd[d])) % cells[d];
    cell = cell * cells[d] + (k < 0 ? k + cells[d] : k);
  }
  return temperatures[cell];
}

void check_electrons(LAMMPS *lmp, const std::string &name) {
  const Fix *fix = lmp->modify->get_fix_by_id(name);
  if (!fix)
    lmp->error->all(FLERR, "ttm fix id is not found: ttm {}; write `fix {} all ttm ...` before the run", name, name);
  if (std::strcmp(fix->style, "ttm") != 0 && std::strcmp(fix->style, "ttm/mod") != 0)
    lmp->error->all(FLERR,
                    "ttm {}: fix {} is of style {}; the temperatures of electrons are read from fix ttm and fix "
                    "ttm/mod alone",
                    name, name, fix->style);
}

Electrons electrons(LAMMPS *lmp, const std::string &name) {
  constexpr int kHead = 4;  // cells along x, y, z, and the seed of its random numbers
  const std::vector<double> numbers = written_by(lmp->modify->get_fix_by_id(name));
  Electrons found;
  long long size = 0;
  if (static_cast<int>(numbers.size()) > kHead) {
    for (int d = 0; d < 3; ++d) found.cells[d] = static_cast<int>(numbers[d]);
    size = static_cast<long long>(found.cells[0]) * found.cells[1] * found.cells[2];
    if (size != static_cast<long long>(numbers.size()) - kHead) size = 0;
  }
  MPI_Bcast(&size, 1, MPI_LONG_LONG, 0, lmp->world);
  if (size == 0)
    lmp->error->all(FLERR, "ttm {}: this LAMMPS keeps the temperatures of electrons in a form that is not known", name);
  MPI_Bcast(found.cells, 3, MPI_INT, 0, lmp->world);
  if (lmp->comm->me == 0) found.temperatures.assign(numbers.begin() + kHead, numbers.end());
  found.temperatures.resize(size);
  MPI_Bcast(found.temperatures.data(), static_cast<int>(size), MPI_DOUBLE, 0, lmp->world);
  return found;
}

}  // namespace dp
