#include "fix_dplr.h"

#include <algorithm>
#include <cstring>

#include "atom.h"
#include "comm.h"
#include "deepmd/c_api.h"
#include "domain.h"
#include "error.h"
#include "force.h"
#include "input.h"
#include "modify.h"
#include "neighbor.h"
#include "pair_deep.h"
#include "pppm_dplr.h"
#include "read_atoms.h"
#include "update.h"
#include "utils.h"
#include "variable.h"

using namespace LAMMPS_NS;

namespace dp {
namespace {

constexpr const char *kScope = "dipole_charge";

}  // namespace

FixDplr::FixDplr(LAMMPS *lmp, int narg, char **arg) : Fix(lmp, narg, arg) {
  parse(narg, arg);
  virial_global_flag = 1;
  energy_global_flag = 1;
  scalar_flag = vector_flag = 1;
  size_vector = 3;
  extscalar = extvector = 1;
  global_freq = 1;
  comm_reverse = 3;
  centroidstressflag = CENTROID_NOTAVAIL;
}

FixDplr::~FixDplr() {
  if (dipoles_) DP_DeleteDeepTensor(dipoles_);
  if (modifier_) DP_DeleteDipoleChargeModifier(modifier_);
}

void FixDplr::parse(int narg, char **arg) {
  const std::string usage =
      "write `fix ID all dplr model FILE type_associate ATOM CENTROID ... bond_type TYPE ... [efield Ex Ey Ez] "
      "[pair_deepmd_index N]`";
  std::string model;
  centroid_of_.assign(atom->ntypes + 1, 0);
  auto is_number = [&](int k) { return k < narg && std::strspn(arg[k], "0123456789") == std::strlen(arg[k]); };
  for (int k = 3; k < narg;) {
    const std::string key = arg[k++];
    if (key == "model" && k < narg) {
      model = arg[k++];
    } else if (key == "type_associate") {
      for (; is_number(k) && is_number(k + 1); k += 2) {
        const int real = std::atoi(arg[k]), centroid = std::atoi(arg[k + 1]);
        if (std::min(real, centroid) < 1 || std::max(real, centroid) > atom->ntypes)
          error->all(FLERR, "fix dplr: type_associate {} {}, but there are {} atom types", real, centroid, atom->ntypes);
        centroid_of_[real] = centroid;
      }
    } else if (key == "bond_type") {
      for (; is_number(k); ++k) bond_types_.push_back(std::atoi(arg[k]));
    } else if (key == "efield" && k + 2 < narg) {
      for (int d = 0; d < 3; ++d) field_[d] = arg[k++];
    } else if (key == "pair_deepmd_index" && is_number(k)) {
      pair_index_ = std::atoi(arg[k++]);
    } else {
      error->all(FLERR, "Illegal fix dplr command at {}: {}", key, usage);
    }
  }
  if (model.empty() || bond_types_.empty() || std::count(centroid_of_.begin(), centroid_of_.end(), 0) == atom->ntypes + 1)
    error->all(FLERR, "Illegal fix dplr command: {}", usage);
  open(model);
}

void FixDplr::open(const std::string &model) {
  dipoles_ = DP_NewDeepTensorWithParam(model.c_str(), 0, kScope);
  const char *text = DP_DeepTensorCheckOK(dipoles_);
  const std::string message = text;
  DP_DeleteChar(text);
  if (!message.empty())
    error->one(FLERR,
               "fix dplr: {} The file that fix dplr takes is that of the dipoles, not the model of the energy. A model "
               "of the energy with `modifier` holds both; write its dipoles to a file with\n  python -c \"from "
               "dp_core.model_file import load_model, save_model; "
               "save_model(load_model('{}').modifier.dipole, 'dipole.dp')\"",
               message, model);
  modifier_ = DP_NewDipoleChargeModifierWithParam(model.c_str(), 0, kScope);
  check(DP_DipoleChargeModifierCheckOK(modifier_));
  if (DP_DeepTensorGetOutputDim(dipoles_) != 3)
    error->all(FLERR, "fix dplr: {} gives {} numbers for an atom; a model of dipoles gives 3", model,
               DP_DeepTensorGetOutputDim(dipoles_));
  selected_.assign(DP_DeepTensorGetNumbTypes(dipoles_), 0);
  const int *types = DP_DeepTensorGetSelTypes(dipoles_);
  for (int k = 0; k < DP_DeepTensorGetNumbSelTypes(dipoles_); ++k) selected_[types[k]] = 1;
}

void FixDplr::check(const char *message) const {
  const std::string text = message;
  DP_DeleteChar(message);
  if (!text.empty()) error->one(FLERR, "fix dplr: {}", text);
}

int FixDplr::setmask() {
  using namespace FixConst;
  return PRE_EXCHANGE | PRE_FORCE | POST_FORCE | MIN_PRE_EXCHANGE | MIN_PRE_FORCE | MIN_POST_FORCE;
}

void FixDplr::init() {
  if (atom->map_style == Atom::MAP_NONE) error->all(FLERR, "fix dplr looks atoms up by their IDs: write `atom_modify map array`");
  if (!atom->q_flag || atom->molecular == Atom::ATOMIC) error->all(FLERR, "fix dplr needs charges and bonds: write `atom_style full`");
  pair_ = dynamic_cast<PairDeep *>(force->pair_match("deepmd", 1, pair_index_));
  if (!pair_)
    error->all(FLERR,
               "fix dplr needs `pair_style deepmd MODEL` before it; if there are several, write `pair_deepmd_index N` "
               "with the number of the one that it belongs to, from 1 on");
  if (force->kspace && !dynamic_cast<PppmDplr *>(force->kspace))
    error->all(FLERR, "fix dplr needs the forces on centroids, which kspace_style {} adds to them: write `kspace_style pppm/dplr`",
               force->kspace_style);
  const double cutoff = DP_DeepTensorGetCutoff(dipoles_) * force->angstrom;
  if (cutoff > force->pair->cutforce)
    error->all(FLERR, "fix dplr: its model looks {} far, the pair style only {}; train models of one cutoff", cutoff,
               force->pair->cutforce);
  const char *text = DP_DeepTensorGetTypeMap(dipoles_);
  type_of_ = pair_->types_in(utils::split_words(text));
  DP_DeleteChar(text);
  for (int n = 1; n <= atom->ntypes; ++n)
    if (centroid_of_[n] && (type_of_[n] < 0 || !selected_[type_of_[n]]))
      error->all(FLERR, "fix dplr: type_associate {} {}, but the model has no dipoles of atoms of type {}", n,
                 centroid_of_[n], n);
  neighbor->add_request(this, NeighConst::REQ_FULL);
}

void FixDplr::init_list(int, NeighList *list) { list_ = list; }

/// Atoms with their centroids, from the bonds that LAMMPS has found for this step.
void FixDplr::find_pairs() {
  pairs_.clear();
  for (int k = 0; k < neighbor->nbondlist; ++k) {
    const int *bond = neighbor->bondlist[k];
    if (std::find(bond_types_.begin(), bond_types_.end(), bond[2]) == bond_types_.end()) continue;
    int a = atom->map(atom->tag[bond[0]]), w = atom->map(atom->tag[bond[1]]);
    if (centroid_of_[atom->type[a]] != atom->type[w]) std::swap(a, w);
    if (centroid_of_[atom->type[a]] != atom->type[w])
      error->one(FLERR, "fix dplr: a bond of type {} ties atoms of types {} and {}, which type_associate does not", bond[2],
                 atom->type[a], atom->type[w]);
    if (a >= atom->nlocal || w >= atom->nlocal)
      error->one(FLERR, "fix dplr: atom {} and its centroid {} are on different ranks: take fewer ranks, or put centroids "
                 "on their atoms in the data file",
                 atom->tag[a], atom->tag[w]);
    pairs_.insert(pairs_.end(), {a, w});
  }
}

void FixDplr::pre_exchange() {
  // no list of bonds holds here: atoms and centroids are found by the bonds that atoms store
  for (int i = 0; i < atom->nlocal; ++i)
    for (int b = 0; b < atom->num_bond[i]; ++b) {
      if (std::find(bond_types_.begin(), bond_types_.end(), atom->bond_type[i][b]) == bond_types_.end()) continue;
      int a = i, w = atom->map(atom->bond_atom[i][b]);
      if (w < 0) error->one(FLERR, "fix dplr: atom {}, bonded to {}, is on another rank: put centroids on their atoms in the data file, or take fewer ranks", atom->bond_atom[i][b], atom->tag[i]);
      if (centroid_of_[atom->type[a]] != atom->type[w]) std::swap(a, w);
      if (w >= atom->nlocal) continue;  // its owner moves it
      for (int d = 0; d < 3; ++d) {
        atom->x[w][d] = atom->x[a][d];
        atom->v[w][d] = atom->v[a][d];
      }
      if (a < atom->nlocal) atom->image[w] = atom->image[a];
    }
}

void FixDplr::pre_force(int) {
  find_pairs();
  read_atoms(lmp, type_of_, atoms_);
  read_list(list_, atoms_);
  const int nlocal = atoms_.nlocal, natoms = nlocal + atoms_.nghost;
  dipole_.assign(pairs_.size() / 2 * 3, 0);
  if (nlocal == 0) return;
  DP_Nlist *nlist = new_list(atoms_);
  double *tensor = nullptr;
  int size = 0;
  DP_DeepTensorComputeTensorNList(dipoles_, natoms, atoms_.coord.data(), atoms_.type.data(), atoms_.cell, atoms_.nghost,
                                  nlist, &tensor, &size);
  DP_DeleteNlist(nlist);
  check(DP_DeepTensorCheckOK(dipoles_));
  std::vector<int> row(nlocal, -1);
  int rows = 0;
  for (int i = 0; i < nlocal; ++i)
    if (atoms_.type[i] >= 0 && selected_[atoms_.type[i]]) row[i] = rows++;
  for (size_t k = 0; k < pairs_.size() / 2 && size == 3 * rows; ++k) {
    const int a = pairs_[2 * k], w = pairs_[2 * k + 1];
    for (int d = 0; d < 3; ++d) {
      dipole_[3 * k + d] = tensor[3 * row[a] + d] * force->angstrom;
      atom->x[w][d] = atom->x[a][d] + dipole_[3 * k + d];
    }
    atom->image[w] = atom->image[a];
  }
  DP_DeleteChar(reinterpret_cast<char *>(tensor));
  if (rows != static_cast<int>(pairs_.size() / 2))
    error->one(FLERR, "fix dplr: {} atoms have dipoles, but {} of them have a centroid; give each one a bond in the data file",
               rows, pairs_.size() / 2);
}

void FixDplr::read_field() {
  modify->clearstep_compute();
  for (int d = 0; d < 3; ++d) {
    double value;
    if (field_[d].compare(0, 2, "v_") == 0) {
      const int variable = input->variable->find(field_[d].c_str() + 2);
      if (variable < 0 || !input->variable->equalstyle(variable))
        error->all(FLERR, "fix dplr efield: there is no equal-style variable {}", field_[d].substr(2));
      value = input->variable->compute_equal(variable);
    } else {
      value = utils::numeric(FLERR, field_[d], false, lmp);
    }
    efield_[d] = value * force->qe2f;
  }
  modify->addstep_compute(update->ntimestep + 1);
}

/// Adds the force of the field on local charges to their electric forces, and its work to energy and virial.
void FixDplr::add_field(std::vector<double> &electric) {
  std::fill_n(work_, 4, 0.0);
  for (int i = 0; i < atom->nlocal; ++i) {
    double place[3];
    domain->unmap(atom->x[i], atom->image[i], place);
    double f[3];
    for (int d = 0; d < 3; ++d) {
      f[d] = atom->q[i] * efield_[d];
      electric[3 * i + d] += f[d];
      work_[0] -= f[d] * place[d];
      work_[d + 1] += f[d];
    }
    if (vflag_global)
      for (int c = 0; c < 6; ++c) virial[c] += f[kVoigt[c] / 3] * place[kVoigt[c] % 3];
  }
}

void FixDplr::post_force(int vflag) {
  v_init(vflag);
  const int nlocal = atom->nlocal, natoms = nlocal + atom->nghost;
  std::vector<double> electric(3 * static_cast<size_t>(nlocal), 0);
  const auto *kspace = dynamic_cast<PppmDplr *>(force->kspace);
  if (kspace && kspace->compute_flag) std::copy_n(kspace->forces().begin(), electric.size(), electric.begin());
  read_field();
  add_field(electric);
  for (size_t k = 0; vflag_global && k < pairs_.size() / 2; ++k)  // the force on a centroid acts where its atom is
    for (int c = 0; c < 6; ++c)
      virial[c] -= electric[3 * pairs_[2 * k + 1] + kVoigt[c] / 3] * dipole_[3 * k + kVoigt[c] % 3];
  correction_.assign(3 * static_cast<size_t>(natoms), 0);
  const double energy_unit = pair_->energy_unit(), force_unit = energy_unit / force->angstrom;
  if (nlocal > 0) {
    std::vector<double> scaled = electric;
    for (double &f : scaled) f /= force_unit;
    double v[9];
    DP_Nlist *nlist = new_list(atoms_);
    DP_DipoleChargeModifierComputeNList(modifier_, natoms, atoms_.coord.data(), atoms_.type.data(), atoms_.cell,
                                        pairs_.data(), static_cast<int>(pairs_.size() / 2), scaled.data(), atoms_.nghost,
                                        nlist, correction_.data(), v);
    DP_DeleteNlist(nlist);
    check(DP_DipoleChargeModifierCheckOK(modifier_));
    for (int c = 0; vflag_global && c < 6; ++c) virial[c] += v[kVoigt[c]] * energy_unit;
  }
  comm->reverse_comm(this, 3);
  for (int i = 0; i < nlocal; ++i)
    for (int d = 0; d < 3; ++d) atom->f[i][d] += correction_[3 * i + d] * force_unit;
}

double FixDplr::compute_scalar() {
  double sum = 0;
  MPI_Allreduce(&work_[0], &sum, 1, MPI_DOUBLE, MPI_SUM, world);
  return sum;
}

double FixDplr::compute_vector(int n) {
  double sum = 0;
  MPI_Allreduce(&work_[n + 1], &sum, 1, MPI_DOUBLE, MPI_SUM, world);
  return sum;
}

int FixDplr::pack_reverse_comm(int n, int first, double *buf) {
  std::copy_n(&correction_[3 * static_cast<size_t>(first)], 3 * n, buf);
  return 3 * n;
}

void FixDplr::unpack_reverse_comm(int n, int *list, double *buf) {
  for (int k = 0; k < n; ++k)
    for (int d = 0; d < 3; ++d) correction_[3 * static_cast<size_t>(list[k]) + d] += *buf++;
}

}  // namespace dp
