// What pair_style, pair_coeff and the start of a run ask of the pair styles.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <sys/stat.h>

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "info.h"
#include "memory.h"
#include "neighbor.h"
#include "pair_deep.h"
#include "update.h"
#include "utils.h"

using namespace LAMMPS_NS;

namespace dp {
namespace {

constexpr double kBoltzmann = 8.617343e-5;  // eV/K

bool ends_with(const std::string &text, const std::string &end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// The content of a model file that rank 0 reads for all; empty where each rank must open it by its path.
std::string shared_bytes(const std::string &path, int me, int nprocs, MPI_Comm world) {
  // these are folders, or packages that their framework opens itself
  if (nprocs == 1 || ends_with(path, ".pt2") || ends_with(path, ".savedmodel") || ends_with(path, ".savedmodeltf")) return "";
  std::string bytes;
  if (me == 0) {
    std::ifstream file(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  int size = static_cast<int>(bytes.size());
  MPI_Bcast(&size, 1, MPI_INT, 0, world);
  bytes.resize(size);
  MPI_Bcast(bytes.data(), size, MPI_CHAR, 0, world);
  return bytes;
}

/// The number of this rank among those of its node, by the names of nodes: what a LAMMPS without MPI has too.
int rank_in_node(int me, int nprocs, MPI_Comm world) {
  constexpr int kLength = MPI_MAX_PROCESSOR_NAME;
  char own[kLength] = {};
  int length = 0;
  MPI_Get_processor_name(own, &length);
  std::vector<char> names(static_cast<size_t>(nprocs) * kLength);
  MPI_Allgather(own, kLength, MPI_CHAR, names.data(), kLength, MPI_CHAR, world);
  int rank = 0;
  for (int k = 0; k < me; ++k) rank += std::strncmp(own, &names[static_cast<size_t>(k) * kLength], kLength) == 0;
  return rank;
}

/// Whether a restart file was read and no run followed: files of deviations go on. LAMMPS is asked, because the pair
/// style cannot remember it: hybrid styles make their parts anew at the pair_style line that follows.
bool restarted(const LAMMPS &lmp) { return lmp.restart_ver >= 0 && lmp.update->first_update == 0; }

}  // namespace

void PairDeep::settings(int narg, char **arg) {
  const std::vector<std::string> words(arg, arg + narg);
  const std::vector<std::string> files = model_files(words);
  if (files.empty())
    error->all(FLERR, "Illegal pair_style command: name a model, as in `pair_style {} frozen_model.pth`", name_);
  if (strcmp(update->unit_style, "lj") == 0)
    error->all(FLERR, "pair_style {} does not support unit style lj: write `units metal` (or real) at the top", name_);
  length_ = force->angstrom;
  energy_unit_ = force->boltz / kBoltzmann;
  load(files);
  std::string problem;
  try {
    options_ = parse_options(words, sizes_, name_);
    cutoff_ = models_[0].cutoff() * length_;
    whole_ = false;
    for (auto &model : models_) whole_ = whole_ || (comm->nprocs > 1 && model.passes_messages());
    open_file();
  } catch (const std::runtime_error &e) {
    problem = e.what();
  }
  agree(problem);
  atoms_ = Atoms();
  atoms_.charge_spin = options_.charge_spin;
  comm_forward = std::max(1, sizes_.aparam);
  comm_reverse = (with_spin_ ? 6 : 3) * static_cast<int>(models_.size());
  report();
}

void PairDeep::load(const std::vector<std::string> &files) {
  models_.clear();
  files_ = files;
  const int device = rank_in_node(comm->me, comm->nprocs, world);
  for (auto &file : files) {
    const std::string bytes = shared_bytes(file, comm->me, comm->nprocs, world);
    std::string problem;
    try {
      models_.emplace_back(file, with_spin_, device, bytes);
    } catch (const std::runtime_error &e) {
      problem = e.what();
    }
    agree(problem);
  }
  const Model &first = models_[0];
  sizes_ = {first.dim_fparam(), first.dim_aparam(), first.dim_charge_spin()};
  for (size_t k = 1; k < models_.size(); ++k) {
    const Model &other = models_[k];
    if (other.cutoff() != first.cutoff() || other.type_map() != first.type_map() || other.types() != first.types() ||
        other.dim_fparam() != sizes_.fparam || other.dim_aparam() != sizes_.aparam)
      agree("models " + files[0] + " and " + files[k] +
            " differ in cutoff, type map or parameters; model deviation is of models that agree in them");
  }
}

/// Stops where a rank has a problem. Not all need have it: a rank that raises the error of all waits for the others.
void PairDeep::agree(const std::string &problem) {
  int own = !problem.empty(), ranks = 0;
  MPI_Allreduce(&own, &ranks, 1, MPI_INT, MPI_SUM, world);
  if (!ranks) return;
  models_.clear();
  if (ranks == comm->nprocs) error->all(FLERR, "{}", problem);
  if (own) error->one(FLERR, "{}", problem);
  MPI_Barrier(world);  // until the rank with the problem has ended all
}

void PairDeep::open_file() {
  file_.close();
  if (models_.size() > 1 && options_.out_freq > 0 && comm->me == 0) {
    std::vector<std::string> names{"max_devi_v", "min_devi_v", "avg_devi_v"};
    for (const char *part : with_spin_ ? std::vector<const char *>{"fr", "fm"} : std::vector<const char *>{"f"})
      for (const char *kind : {"max", "min", "avg"}) names.push_back(std::string(kind) + "_devi_" + part);
    file_.open(options_.out_file, restarted(*lmp), names, options_.atomic && !with_spin_ ? "atm_devi_f(N)" : "");
  }
}

void PairDeep::report() {
  if (comm->me != 0) return;
  std::string text = "Summary of lammps deepmd module ...\n  >>> Info of model(s):\n";
  text += fmt::format("  using {:3d} model(s): ", files_.size());
  for (auto &file : files_) text += file + " ";
  text += fmt::format("\n  rcut in model:      {}\n  ntypes in model:    {}\n", models_[0].cutoff(), models_[0].types());
  if (strcmp(update->unit_style, "metal") != 0)
    text += fmt::format("  units: 1 eV = {:.6g}, 1 angstrom = {:.6g}\n", energy_unit_, length_);
  if (whole_) text += "  messages pass between atoms: each rank evaluates its own and those that they hear from\n";
  utils::logmesg(lmp, text);
}

void PairDeep::allocate() {
  const int n = atom->ntypes + 1;
  memory->create(setflag, n, n, "pair:setflag");
  memory->create(cutsq, n, n, "pair:cutsq");
  memory->create(scale_, n, n, "pair:scale");
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      setflag[i][j] = 0;
      cutsq[i][j] = 0;
      scale_[i][j] = 1;
    }
  allocated = 1;
}

void PairDeep::coeff(int narg, char **arg) {
  if (models_.empty()) error->all(FLERR, "pair_coeff before `pair_style {} MODEL`: write the pair_style line first", name_);
  if (!allocated) allocate();
  int ilo = 1, ihi = 1, jlo = 1, jhi = 1;
  if (narg >= 2) {
    utils::bounds(FLERR, arg[0], 1, atom->ntypes, ilo, ihi, error);
    utils::bounds(FLERR, arg[1], 1, atom->ntypes, jlo, jhi, error);
  }
  if (narg < 2 || ilo != 1 || jlo != 1 || ihi != atom->ntypes || jhi != atom->ntypes)
    error->all(FLERR, "deepmd requires that the scale should be set to all atom types, i.e. pair_coeff * *.");
  const std::vector<std::string> known = models_[0].type_map();
  const int given = narg - 2;
  if (given > atom->ntypes)
    error->all(FLERR, "pair_coeff: {} elements for {} atom types; name one for each type", given, atom->ntypes);
  type_of_.assign(atom->ntypes + 1, -1);
  for (int n = 1; n <= atom->ntypes; ++n) {
    if (given == 0) {
      type_of_[n] = n <= models_[0].types() ? n - 1 : -1;
      continue;
    }
    if (n > given || strcmp(arg[n + 1], "NULL") == 0) continue;
    const auto place = std::find(known.begin(), known.end(), std::string(arg[n + 1]));
    if (place == known.end()) {
      std::string names;
      for (auto &name : known) names += " " + name;
      error->all(FLERR, "pair_coeff: element {} not found in the model; it knows:{} (and NULL for types it shall not see)",
                 arg[n + 1], names);
    }
    type_of_[n] = static_cast<int>(place - known.begin());
  }
  if (comm->me == 0 && given == 0 && models_[0].types() > atom->ntypes)
    error->warning(FLERR,
                   "pair_coeff * * names no elements: types are taken in the order of the model, which has {} types, the "
                   "system {}",
                   models_[0].types(), atom->ntypes);
  if (comm->me == 0 && given > 0 && given < atom->ntypes)
    error->warning(FLERR, "pair_coeff names {} elements for {} atom types: the model does not see the other types", given,
                   atom->ntypes);
  for (int i = 1; i <= atom->ntypes; ++i)
    for (int j = i; j <= atom->ntypes; ++j) setflag[i][j] = 1;
}

std::vector<int> PairDeep::types_in(const std::vector<std::string> &names) const {
  const std::vector<std::string> own = models_[0].type_map();
  std::vector<int> result(type_of_.size(), -1);
  for (size_t n = 1; n < type_of_.size(); ++n) {
    if (type_of_[n] < 0) continue;
    const auto place = std::find(names.begin(), names.end(), own[type_of_[n]]);
    if (place != names.end()) result[n] = static_cast<int>(place - names.begin());
  }
  return result;
}

void PairDeep::init_style() {
  if (models_.empty()) error->all(FLERR, "pair_style {} has no model: write `pair_style {} MODEL`", name_, name_);
  if (!force->newton_pair)
    error->all(FLERR,
               "pair_style {} needs newton pair on, because its forces on ghost atoms belong to their owners: write "
               "`newton on` before the box is made",
               name_);
  if (!with_spin_ && atom->sp_flag)
    error->all(FLERR, "pair_style deepmd does not use the spins of atom_style spin: write `pair_style deepspin`");
  if (with_spin_ && !atom->sp_flag)
    error->all(FLERR, "pair_style deepspin needs spins: write `atom_style spin`");
  if (with_spin_ && strcmp(update->unit_style, "metal") != 0)
    error->all(FLERR, "pair_style deepspin gives magnetic forces in rad/ps, as all spins of LAMMPS: write `units metal`");
  if (with_spin_) reach_virtual_atoms();
  check_special_bonds();
  check_sources();
  neighbor->add_request(this, NeighConst::REQ_FULL);
  for (auto &model : models_) model.forget_list();
  calls_ = -1;
}

/// A spin is a virtual atom beside its atom: two may be within the cutoff although their atoms are not.
void PairDeep::reach_virtual_atoms() {
  double own = 0;
  for (int i = 0; i < atom->nlocal; ++i) own = std::max(own, std::fabs(atom->sp[i][3]));
  MPI_Allreduce(&own, &max_spin_, 1, MPI_DOUBLE, MPI_MAX, world);
  cutoff_ = 0;
  try {
    for (auto &model : models_) cutoff_ = std::max(cutoff_, model.list_cutoff(max_spin_) * length_);
  } catch (const std::runtime_error &e) {
    error->all(FLERR, "pair_style {}: {}", name_, e.what());
  }
}

void PairDeep::check_special_bonds() {
  if (atom->molecular == Atom::ATOMIC || force->kspace) return;  // with a k-space style LAMMPS keeps all pairs
  int hides = 0, all = 0;
  for (int k = 1; k < 4; ++k)
    if (force->special_lj[k] == 0 && force->special_coul[k] == 0)
      for (int i = 0; i < atom->nlocal; ++i)
        hides = hides || atom->molecular == Atom::TEMPLATE || atom->nspecial[i][k - 1] > (k > 1 ? atom->nspecial[i][k - 2] : 0);
  MPI_Allreduce(&hides, &all, 1, MPI_INT, MPI_MAX, world);
  if (all)
    error->all(FLERR,
               "pair_style {}: special_bonds hides bonded pairs from the model, which needs all neighbours: write "
               "`special_bonds lj/coul 1 1 1 angle no`",
               name_);
}

double PairDeep::init_one(int i, int j) {
  if (setflag[i][j] == 0) error->all(FLERR, "All pair coeffs are not set: write `pair_coeff * * ELEMENT ...`");
  scale_[j][i] = scale_[i][j];
  return cutoff_;
}

void *PairDeep::extract(const char *name, int &dim) {
  dim = 0;
  if (strcmp(name, "cut_coul") == 0) return &cutoff_;
  dim = 2;
  if (strcmp(name, "scale") == 0) return scale_;
  return nullptr;
}

}  // namespace dp
