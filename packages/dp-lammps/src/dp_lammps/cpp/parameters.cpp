// Frame and atomic parameters that computes and fixes of the input give.
#include "atom.h"
#include "comm.h"
#include "compute.h"
#include "domain.h"
#include "electrons.h"
#include "error.h"
#include "fix.h"
#include "modify.h"
#include "pair_deep.h"
#include "update.h"

using namespace LAMMPS_NS;

namespace dp {

/// Whether what the input names as sources is there and gives as many numbers as the model takes.
void PairDeep::check_sources() {
  const int frame = sizes_.fparam;
  const bool electrons = !options_.electrons.empty();
  if (electrons) check_electrons(lmp, options_.electrons);
  const bool frame_given = (electrons && sizes_.aparam == 0) || !options_.fparam.empty() ||
                           !options_.fparam_compute.empty() || !options_.fparam_fix.empty();
  if (frame && !frame_given && !models_[0].default_fparam())
    error->all(FLERR, "pair_style {}: the model takes {} frame parameters: write `fparam` and their values on its line",
               name_, frame);
  if (sizes_.aparam && !electrons && options_.aparam.empty() && options_.aparam_compute.empty())
    error->all(FLERR,
               "pair_style {}: the model takes {} atomic parameters: write `aparam` and their values, or "
               "`aparam_from_compute COMPUTE-ID`, on its line",
               name_, sizes_.aparam);
  if (!options_.fparam_compute.empty()) {
    const Compute *c = modify->get_compute_by_id(options_.fparam_compute);
    if (!c) error->all(FLERR, "compute id is not found: fparam_from_compute {}", options_.fparam_compute);
    const bool fits = frame == 1 ? c->scalar_flag || (c->vector_flag && c->size_vector >= 1)
                                 : c->vector_flag && c->size_vector == frame;
    if (!fits)
      error->all(FLERR, "fparam_from_compute: compute {} does not give the {} numbers that the model takes",
                 options_.fparam_compute, frame);
  }
  if (!options_.fparam_fix.empty()) {
    const Fix *f = modify->get_fix_by_id(options_.fparam_fix);
    if (!f) error->all(FLERR, "fix id is not found: fparam_from_fix {}", options_.fparam_fix);
    const bool fits = (frame == 1 && options_.fparam_index == 1 && f->scalar_flag) ||
                      (f->vector_flag && f->size_vector >= options_.fparam_index + frame - 1);
    if (!fits)
      error->all(FLERR, "fparam_from_fix: fix {} does not give the {} numbers from index {} that the model takes",
                 options_.fparam_fix, frame, options_.fparam_index);
  }
  if (!options_.aparam_compute.empty()) {
    const Compute *c = modify->get_compute_by_id(options_.aparam_compute);
    if (!c) error->all(FLERR, "compute id is not found: aparam_from_compute {}", options_.aparam_compute);
    const int columns = sizes_.aparam == 1 ? 0 : sizes_.aparam;
    if (!c->peratom_flag || c->size_peratom_cols != columns)
      error->all(FLERR, "aparam_from_compute: compute {} does not give the {} numbers per atom that the model takes",
                 options_.aparam_compute, sizes_.aparam);
  }
}

void PairDeep::fill_fparam() {
  const int n = sizes_.fparam;
  atoms_.fparam = options_.fparam;
  if (!options_.electrons.empty() && sizes_.aparam == 0) {
    atoms_.fparam = {electrons(lmp, options_.electrons).mean()};
  } else if (!options_.fparam_compute.empty()) {
    Compute *c = modify->get_compute_by_id(options_.fparam_compute);
    if (n == 1 && c->scalar_flag) {
      atoms_.fparam = {c->compute_scalar()};
    } else {
      c->compute_vector();
      atoms_.fparam.assign(c->vector, c->vector + n);
    }
    // computes of pressures and energies are evaluated only on steps that are known before
    if (c->timeflag) c->addstep(update->ntimestep + 1);
  } else if (!options_.fparam_fix.empty()) {
    Fix *f = modify->get_fix_by_id(options_.fparam_fix);
    atoms_.fparam.clear();
    if (n == 1 && options_.fparam_index == 1 && f->scalar_flag)
      atoms_.fparam = {f->compute_scalar()};
    else
      for (int k = 0; k < n; ++k) atoms_.fparam.push_back(f->compute_vector(options_.fparam_index - 1 + k));
  }
}

void PairDeep::fill_aparam() {
  const int n = sizes_.aparam;
  atoms_.aparam.clear();
  if (n == 0) return;
  const bool ghosts = models_[0].aparam_of_ghosts() && !whole_;
  const int nlocal = atoms_.nlocal, rows = nlocal + (ghosts ? atoms_.nghost : 0);
  if (!options_.aparam.empty()) {
    for (int i = 0; i < rows; ++i)
      atoms_.aparam.insert(atoms_.aparam.end(), options_.aparam.begin(), options_.aparam.end());
    return;
  }
  exchanged_.assign(static_cast<size_t>(n) * (nlocal + atoms_.nghost), 0);
  if (!options_.electrons.empty()) {
    const Electrons found = electrons(lmp, options_.electrons);
    for (int i = 0; i < nlocal; ++i) exchanged_[i] = found.at(atom->x[i], *domain);
  } else {
    Compute *c = modify->get_compute_by_id(options_.aparam_compute);
    c->compute_peratom();
    if (c->timeflag) c->addstep(update->ntimestep + 1);
    for (int i = 0; i < nlocal; ++i)
      for (int k = 0; k < n; ++k) exchanged_[n * i + k] = n == 1 ? c->vector_atom[i] : c->array_atom[i][k];
  }
  width_ = n;
  if (ghosts) comm->forward_comm(this, width_);
  atoms_.aparam.assign(exchanged_.begin(), exchanged_.begin() + static_cast<size_t>(n) * rows);
}

}  // namespace dp
