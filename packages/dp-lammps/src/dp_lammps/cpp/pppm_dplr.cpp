#include "pppm_dplr.h"

#include <cmath>
#include <string>

#include "atom.h"
#include "domain.h"
#include "error.h"
#include "force.h"
#include "modify.h"

using namespace LAMMPS_NS;

namespace dp {
namespace {

constexpr double kPi = 3.14159265358979323846;

}  // namespace

PppmDplr::PppmDplr(LAMMPS *lmp) : KSpace(lmp) {
  const auto creator = force->kspace_map->find("pppm");
  if (creator == force->kspace_map->end())
    error->all(FLERR, "kspace_style pppm/dplr needs the package KSPACE, which this LAMMPS lacks");
  inner_.reset(creator->second(lmp));
  pppmflag = 1;
  triclinic_support = inner_->triclinic_support;
}

PppmDplr::~PppmDplr() {
  eatom = nullptr;  // these belong to the inner object
  vatom = nullptr;
}

void PppmDplr::settings(int narg, char **arg) {
  KSpace::settings(narg, arg);
  inner_->settings(narg, arg);
}

/// kspace_modify has set members of this object; the inner one must know.
void PppmDplr::pass_options() {
  std::vector<std::string> words;
  auto give = [&](std::initializer_list<std::string> more) { words.insert(words.end(), more); };
  if (differentiation_flag) error->all(FLERR, "kspace_style pppm/dplr needs forces on each atom: write `kspace_modify diff ik`");
  give({"diff", "ik", "order", std::to_string(order), "minorder", std::to_string(minorder)});
  give({"overlap", overlap_allowed ? "yes" : "no", "cutoff/adjust", adjust_cutoff_flag ? "yes" : "no"});
  give({"collective", collective_flag ? "yes" : "no"});
  if (gewaldflag) give({"gewald", fmt::format("{:.17g}", g_ewald)});
  if (gridflag) give({"mesh", std::to_string(nx_pppm), std::to_string(ny_pppm), std::to_string(nz_pppm)});
  if (accuracy_absolute >= 0) give({"force", fmt::format("{:.17g}", accuracy_absolute)});
  if (slabflag == 1) give({"slab", fmt::format("{:.17g}", slab_volfactor)});
  if (slabflag == 2) give({"slab", "nozforce"});
  std::vector<char *> pointers;
  for (auto &word : words) pointers.push_back(word.data());
  inner_->modify_params(static_cast<int>(pointers.size()), pointers.data());
  inner_->compute_flag = compute_flag;
}

void PppmDplr::init() {
  if (modify->get_fix_by_style("^dplr$").empty())
    error->all(FLERR, "kspace_style pppm/dplr adds no forces itself: write `fix ID all dplr ...`, or take kspace_style pppm");
  if (!force->newton_pair) error->all(FLERR, "kspace_style pppm/dplr needs newton pair on: write `newton on` before the box is made");
  pass_options();
  inner_->init();
  g_ewald = inner_->g_ewald;
  accuracy = inner_->accuracy;
  nx_pppm = inner_->nx_pppm;
  ny_pppm = inner_->ny_pppm;
  nz_pppm = inner_->nz_pppm;
}

void PppmDplr::setup() { inner_->setup(); }

void PppmDplr::reset_grid() { inner_->reset_grid(); }

void PppmDplr::compute(int eflag, int vflag) {
  const int nall = atom->nlocal + atom->nghost;
  forces_.assign(3 * static_cast<size_t>(nall) + 3, 0);
  std::vector<double *> rows(nall + 1);
  for (int i = 0; i <= nall; ++i) rows[i] = &forces_[3 * static_cast<size_t>(i)];
  double **real = atom->f;
  atom->f = rows.data();
  try {
    inner_->compute(eflag, vflag);
  } catch (...) {
    atom->f = real;
    throw;
  }
  atom->f = real;
  take_results(eflag & ENERGY_ATOM);
}

void PppmDplr::take_results(bool per_atom) {
  qqrd2e = force->qqrd2e;
  qsum_qsq(0);
  const double volume = domain->xprd * domain->yprd * domain->zprd * (slabflag == 1 ? slab_volfactor : 1.0);
  const double g = inner_->g_ewald;
  // energies of charges with themselves and with the background are parts of the model
  const double of_self = qqrd2e * g / std::sqrt(kPi), of_background = qqrd2e * kPi / 2 * qsum / (g * g * volume);
  energy = inner_->energy + of_self * qsqsum + of_background * qsum;
  for (int c = 0; c < 6; ++c) virial[c] = inner_->virial[c];
  eatom = inner_->eatom;
  for (int i = 0; per_atom && i < atom->nlocal; ++i) eatom[i] += (of_self * atom->q[i] + of_background) * atom->q[i];
  vatom = inner_->vatom;
}

double PppmDplr::memory_usage() { return inner_->memory_usage() + static_cast<double>(forces_.capacity()) * sizeof(double); }

}  // namespace dp
