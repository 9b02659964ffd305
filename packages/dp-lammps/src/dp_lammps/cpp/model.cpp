#include "model.h"

#include <dlfcn.h>

#include <sstream>
#include <stdexcept>
#include <utility>

#include "deepmd/c_api.h"

namespace dp {
namespace {

constexpr const char *kTooOld =
    "this libdeepmd_c.so does not evaluate models that pass messages on several ranks: update dp-ops, or run one rank";

std::string taken(const char *text) {
  std::string result = text ? text : "";
  if (text) DP_DeleteChar(text);
  return result;
}

/// Where the library names the object of its interface to open a file with: the line of an input that does so.
std::string in_words_of_lammps(std::string message, const std::string &path) {
  const std::pair<std::string, std::string> words[] = {
      {"open it as a DeepTensor", "give it to `compute ID all deeptensor/atom " + path + "` instead"},
      {"open it as a DeepSpin", "write `pair_style deepspin " + path + "`"},
      {"open it as a DeepPot", "write `pair_style deepmd " + path + "`"}};
  for (auto &[object, line] : words)
    if (const auto at = message.find(object); at != std::string::npos) message.replace(at, object.size(), line);
  return message;
}

const double *or_null(const std::vector<double> &values) { return values.empty() ? nullptr : values.data(); }

void size(Result &result, size_t natoms, bool with_spin, bool per_atom) {
  result.force.assign(3 * natoms, 0);
  result.magnetic.assign(with_spin ? 3 * natoms : 0, 0);
  result.atom_energy.assign(per_atom ? natoms : 0, 0);
  result.atom_virial.assign(per_atom ? 9 * natoms : 0, 0);
}

}  // namespace

DP_Nlist *new_list(const Atoms &atoms) {
  // the C API takes pointers to what it does not write
  auto &list = const_cast<Atoms &>(atoms);
  DP_Nlist *nlist = DP_NewNlist(atoms.nlocal, list.ilist.data(), list.numneigh.data(), list.firstneigh.data());
  DP_NlistSetMask(nlist, atoms.mask);
  if (!atoms.owner.empty()) DP_NlistSetMapping(nlist, list.owner.data());
  return nlist;
}

Model::Model(const std::string &path, bool with_spin, int device, const std::string &bytes) : path_(path) {
  if (with_spin)
    spin_ = DP_NewDeepSpinWithParam2(path.c_str(), device, bytes.data(), static_cast<int>(bytes.size()));
  else
    pot_ = DP_NewDeepPotWithParam2(path.c_str(), device, bytes.data(), static_cast<int>(bytes.size()));
  try {
    check();
  } catch (...) {
    DP_DeleteDeepPot(pot_);
    DP_DeleteDeepSpin(spin_);
    throw;
  }
}

Model::~Model() {
  if (pot_) DP_DeleteDeepPot(pot_);
  if (spin_) DP_DeleteDeepSpin(spin_);
}

Model::Model(Model &&other) noexcept
    : path_(std::move(other.path_)),
      pot_(std::exchange(other.pot_, nullptr)),
      spin_(std::exchange(other.spin_, nullptr)),
      seen_(other.seen_) {}

void Model::check() const {
  const std::string message = taken(pot_ ? DP_DeepPotCheckOK(pot_) : DP_DeepSpinCheckOK(spin_));
  if (message.empty()) return;
  const bool named = message.compare(0, path_.size(), path_) == 0;
  throw std::runtime_error((named ? "" : "model " + path_ + ": ") + in_words_of_lammps(message, path_));
}

double Model::cutoff() const { return pot_ ? DP_DeepPotGetCutoff(pot_) : DP_DeepSpinGetCutoff(spin_); }
int Model::types() const { return pot_ ? DP_DeepPotGetNumbTypes(pot_) : DP_DeepSpinGetNumbTypes(spin_); }
int Model::dim_fparam() const { return pot_ ? DP_DeepPotGetDimFParam(pot_) : DP_DeepSpinGetDimFParam(spin_); }
int Model::dim_aparam() const { return pot_ ? DP_DeepPotGetDimAParam(pot_) : DP_DeepSpinGetDimAParam(spin_); }
int Model::dim_charge_spin() const { return pot_ ? DP_DeepPotGetDimChgSpin(pot_) : DP_DeepSpinGetDimChgSpin(spin_); }
bool Model::default_fparam() const {
  return pot_ ? DP_DeepPotHasDefaultFParam(pot_) : DP_DeepSpinHasDefaultFParam(spin_);
}
bool Model::aparam_of_ghosts() const { return pot_ ? DP_DeepPotIsAParamNAll(pot_) : DP_DeepSpinIsAParamNAll(spin_); }

double Model::list_cutoff(double max_spin) const {
  if (pot_) return cutoff();
  const auto ask = reinterpret_cast<double (*)(const void *, double)>(dlsym(RTLD_DEFAULT, "DP_DeepSpinGetListCutoff"));
  if (!ask) throw std::runtime_error("libdeepmd_c.so is not that of dp-ops: name the one of dp-ops in DP_C_LIBRARY");
  return ask(spin_, max_spin);
}

bool Model::passes_messages() const {
  // younger than the libraries that some programs bring along, so it may be absent
  const char *name = pot_ ? "DP_DeepPotPassesMessages" : "DP_DeepSpinPassesMessages";
  const auto ask = reinterpret_cast<bool (*)(const void *)>(dlsym(RTLD_DEFAULT, name));
  return ask && ask(pot_ ? static_cast<const void *>(pot_) : spin_);
}

std::vector<std::string> Model::type_map() const {
  std::istringstream words(taken(pot_ ? DP_DeepPotGetTypeMap(pot_) : DP_DeepSpinGetTypeMap(spin_)));
  std::vector<std::string> names;
  for (std::string name; words >> name;) names.push_back(name);
  return names;
}

void Model::evaluate(const Atoms &atoms, bool per_atom, Result &result) {
  const int natoms = atoms.nlocal + atoms.nghost;
  size(result, natoms, spin_, per_atom);
  DP_Nlist *nlist = new_list(atoms);
  const int ago = std::exchange(seen_, true) ? 1 : 0;
  double *energies = per_atom ? result.atom_energy.data() : nullptr;
  double *virials = per_atom ? result.atom_virial.data() : nullptr;
  const double *fparam = or_null(atoms.fparam), *aparam = or_null(atoms.aparam), *charge = or_null(atoms.charge_spin);
  if (pot_)
    DP_DeepPotComputeNList3(pot_, 1, natoms, atoms.coord.data(), atoms.type.data(), atoms.cell, atoms.nghost, nlist, ago,
                            fparam, aparam, charge, &result.energy, result.force.data(), result.virial, energies, virials);
  else
    DP_DeepSpinComputeNList3(spin_, 1, natoms, atoms.coord.data(), atoms.spin.data(), atoms.type.data(), atoms.cell,
                             atoms.nghost, nlist, ago, fparam, aparam, charge, &result.energy, result.force.data(),
                             result.magnetic.data(), result.virial, energies, virials);
  DP_DeleteNlist(nlist);
  check();
}

void Model::evaluate_part(const Atoms &atoms, int first, int count, bool per_atom, Result &result) {
  size(result, atoms.nlocal, spin_, per_atom);
  double *energies = per_atom ? result.atom_energy.data() : nullptr;
  double *virials = per_atom ? result.atom_virial.data() : nullptr;
  const double *fparam = or_null(atoms.fparam), *aparam = or_null(atoms.aparam), *charge = or_null(atoms.charge_spin);
  // functions of dp-ops alone, as passes_messages is
  if (pot_) {
    const auto call = reinterpret_cast<decltype(&DP_DeepPotComputePart)>(dlsym(RTLD_DEFAULT, "DP_DeepPotComputePart"));
    if (!call) throw std::runtime_error(kTooOld);
    call(pot_, atoms.nlocal, atoms.coord.data(), atoms.type.data(), atoms.cell, first, count, fparam, aparam, charge,
         &result.energy, result.force.data(), result.virial, energies, virials);
  } else {
    const auto call = reinterpret_cast<decltype(&DP_DeepSpinComputePart)>(dlsym(RTLD_DEFAULT, "DP_DeepSpinComputePart"));
    if (!call) throw std::runtime_error(kTooOld);
    call(spin_, atoms.nlocal, atoms.coord.data(), atoms.spin.data(), atoms.type.data(), atoms.cell, first, count, fparam,
         aparam, charge, &result.energy, result.force.data(), result.magnetic.data(), result.virial, energies, virials);
  }
  check();
}

}  // namespace dp
