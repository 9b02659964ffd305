#include "compute_tensor.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "atom.h"
#include "comm.h"
#include "deepmd/c_api.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neighbor.h"
#include "pair.h"
#include "read_atoms.h"
#include "update.h"

using namespace LAMMPS_NS;

namespace dp {

ComputeTensor::ComputeTensor(LAMMPS *lmp, int narg, char **arg) : Compute(lmp, narg, arg) {
  if (narg != 4) error->all(FLERR, "Illegal compute deeptensor/atom command: write `compute ID group deeptensor/atom MODEL`");
  if (strcmp(update->unit_style, "lj") == 0)
    error->all(FLERR, "compute deeptensor/atom does not support unit style lj: write `units metal` (or real) at the top");
  model_ = DP_NewDeepTensor(arg[3]);
  check();
  peratom_flag = 1;
  size_peratom_cols = DP_DeepTensorGetOutputDim(model_);
  selected_.assign(DP_DeepTensorGetNumbTypes(model_), 0);
  const int *types = DP_DeepTensorGetSelTypes(model_);
  for (int k = 0; k < DP_DeepTensorGetNumbSelTypes(model_); ++k) selected_[types[k]] = 1;
}

ComputeTensor::~ComputeTensor() {
  memory->destroy(values_);
  if (model_) DP_DeleteDeepTensor(model_);
}

void ComputeTensor::check() const {
  const char *text = DP_DeepTensorCheckOK(model_);
  const std::string message = text;
  DP_DeleteChar(text);
  if (!message.empty()) error->one(FLERR, "compute deeptensor/atom: {}", message);
}

void ComputeTensor::init() {
  if (!force->pair)
    error->all(FLERR, "compute deeptensor/atom needs a pair style, which decides how far neighbours are known");
  const double cutoff = DP_DeepTensorGetCutoff(model_) * force->angstrom;
  if (cutoff > force->pair->cutforce)
    error->all(FLERR,
               "compute deeptensor/atom: its model looks {} far, the pair style only {}: write `pair_style zero {}` for "
               "a system without other forces, or take models of one cutoff",
               cutoff, force->pair->cutforce, cutoff);
  neighbor->add_request(this, NeighConst::REQ_FULL | NeighConst::REQ_OCCASIONAL);
}

void ComputeTensor::init_list(int, NeighList *list) { list_ = list; }

void ComputeTensor::compute_peratom() {
  invoked_peratom = update->ntimestep;
  const int nlocal = atom->nlocal, columns = size_peratom_cols;
  if (atom->nmax > allocated_rows_) {
    memory->destroy(values_);
    allocated_rows_ = atom->nmax;
    memory->create(values_, allocated_rows_, columns, "deeptensor/atom:values");
    array_atom = values_;
  }
  for (int i = 0; i < nlocal; ++i) std::fill_n(values_[i], columns, 0.0);
  neighbor->build_one(list_);
  if (nlocal == 0) return;
  const double length = force->angstrom;
  std::vector<int> type_of(atom->ntypes + 1);
  std::iota(type_of.begin(), type_of.end(), -1);  // type n of LAMMPS is type n − 1 of the model
  Atoms atoms;
  read_atoms(lmp, type_of, atoms);
  read_list(list_, atoms);
  DP_Nlist *nlist = new_list(atoms);
  double *tensor = nullptr;
  int size = 0;
  DP_DeepTensorComputeTensorNList(model_, nlocal + atoms.nghost, atoms.coord.data(), atoms.type.data(), atoms.cell,
                                  atoms.nghost, nlist, &tensor, &size);
  DP_DeleteNlist(nlist);
  check();
  // one row for each selected local atom, in order of atoms
  const double *row = tensor;
  for (int i = 0; i < nlocal && row < tensor + size; ++i) {
    if (atoms.type[i] >= static_cast<int>(selected_.size()) || !selected_[atoms.type[i]]) continue;
    if (atom->mask[i] & groupbit)
      for (int c = 0; c < columns; ++c) values_[i][c] = row[c] * length;
    row += columns;
  }
  DP_DeleteChar(reinterpret_cast<char *>(tensor));
}

double ComputeTensor::memory_usage() { return static_cast<double>(allocated_rows_) * size_peratom_cols * sizeof(double); }

}  // namespace dp
