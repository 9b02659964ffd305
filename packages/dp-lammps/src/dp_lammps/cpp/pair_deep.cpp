#include "pair_deep.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neighbor.h"
#include "read_atoms.h"
#include "update.h"
#include "utils.h"

using namespace LAMMPS_NS;

namespace dp {
namespace {

constexpr double kHbar = 6.5821191e-04;  // eV ps

}  // namespace

PairDeep::PairDeep(LAMMPS *lmp, bool with_spin)
    : Pair(lmp), with_spin_(with_spin), name_(with_spin ? "deepspin" : "deepmd") {
  restartinfo = 1;
  writedata = 0;
  respa_enable = 0;
  single_enable = 0;
  manybody_flag = 1;
  pppmflag = 1;
  spinflag = with_spin;
  centroidstressflag = CENTROID_AVAIL;
  // the virial comes from the model: that of "F·r" would need the forces before ghosts are added to their owners
  no_virial_fdotr_compute = 1;
}

PairDeep::~PairDeep() {
  if (copymode) return;
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
    memory->destroy(scale_);
  }
}

void PairDeep::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  if (vflag_atom)
    error->all(FLERR,
               "6-element atomic virial is not supported. Use compute centroid/stress/atom command for 9-element "
               "atomic virial.");
  if (models_.empty()) return;
  fill_atoms();
  const bool deviation =
      models_.size() > 1 && options_.out_freq > 0 && update->ntimestep % options_.out_freq == 0;
  results_.resize(deviation ? models_.size() : 1);
  for (size_t k = 0; k < results_.size(); ++k) evaluate(models_[k], (eflag_atom || cvflag_atom) && k == 0, results_[k]);
  if (deviation) write_deviation();
  // the forces on ghosts are then with their owners already
  add(results_[0], !deviation);
  if (eflag_atom || cvflag_atom) add_per_atom(results_[0]);
}

void PairDeep::add(const Result &result, bool ghosts) {
  const double s = scale_[1][1];
  const int n = atoms_.nlocal + (ghosts ? atoms_.nghost : 0);
  double **f = atom->f;
  for (int i = 0; i < n; ++i)
    for (int d = 0; d < 3; ++d) f[i][d] += s * result.force[3 * i + d] * energy_unit_ / length_;
  if (with_spin_)
    for (int i = 0; i < n; ++i)
      for (int d = 0; d < 3; ++d)
        atom->fm[i][d] += s * result.magnetic[3 * i + d] * energy_unit_ / (kHbar / atom->sp[i][3]);
  if (eflag_global) eng_vdwl += s * result.energy * energy_unit_;
  if (vflag_global)
    for (int c = 0; c < 6; ++c) virial[c] += s * result.virial[kVoigt[c]] * energy_unit_;
}

void PairDeep::add_per_atom(const Result &result) {
  const double s = scale_[1][1] * energy_unit_;
  if (eflag_atom)
    for (int i = 0; i < atoms_.nlocal; ++i) eatom[i] += s * result.atom_energy[i];
  if (cvflag_atom)
    for (int i = 0; i < atoms_.nlocal + atoms_.nghost; ++i)
      for (int c = 0; c < 9; ++c) cvatom[i][c] += s * result.atom_virial[9 * i + kVoigt[c]];
}

void PairDeep::fill_atoms() {
  const std::vector<int> types = std::move(atoms_.type);
  const int before = atoms_.nlocal, nall = atom->nlocal + atom->nghost;
  read_atoms(lmp, type_of_, atoms_);
  // types may change between builds of the list (fix atom/swap), and runs may begin without one
  const bool changed =
      neighbor->ago == 0 || neighbor->ncalls != calls_ || atoms_.nlocal != before || atoms_.type != types;
  calls_ = neighbor->ncalls;
  if (with_spin_) {
    atoms_.spin.resize(3 * nall);
    for (int i = 0; i < nall; ++i) {
      for (int d = 0; d < 3; ++d) atoms_.spin[3 * i + d] = atom->sp[i][d] * atom->sp[i][3];
      if (std::fabs(atom->sp[i][3]) > max_spin_ * (1 + 1e-9))
        error->one(FLERR,
                   "pair_style {}: the spin of atom {} has grown to {}, more than the {} that neighbours were looked up "
                   "for: change spins between runs",
                   name_, atom->tag[i], atom->sp[i][3], max_spin_);
    }
  }
  if (changed) fill_list();
  fill_fparam();
  fill_aparam();
}

void PairDeep::fill_list() {
  const int nlocal = atoms_.nlocal;
  read_list(list, atoms_);
  atoms_.owner.clear();
  if (comm->nprocs == 1) {
    width_ = 1;
    exchanged_.assign(nlocal + atoms_.nghost, 0);
    for (int i = 0; i < nlocal; ++i) exchanged_[i] = i;
    comm->forward_comm(this, width_);
    atoms_.owner.assign(exchanged_.begin(), exchanged_.end());
  }
  for (auto &model : models_) model.forget_list();
}

void PairDeep::evaluate(Model &model, bool per_atom, Result &result) {
  if (whole_) return evaluate_whole(model, per_atom, result);
  if (atoms_.nlocal == 0) {  // nothing of its own; ghosts may be there
    result = Result();
    result.force.assign(3 * atoms_.nghost, 0);
    result.magnetic.assign(with_spin_ ? 3 * atoms_.nghost : 0, 0);
    result.atom_energy.assign(atoms_.nghost, 0);
    result.atom_virial.assign(9 * atoms_.nghost, 0);
    return model.forget_list();
  }
  const std::string problem = attempt([&] { model.evaluate(atoms_, per_atom, result); });
  if (!problem.empty()) error->one(FLERR, "{}", problem);
}

std::string PairDeep::attempt(const std::function<void()> &evaluation) const {
  try {
    evaluation();
    return "";
  } catch (const std::runtime_error &e) {
    const bool untold = sizes_.charge_spin && options_.charge_spin.empty();
    const char *more = untold ? " Write `charge_spin CHARGE MULTIPLICITY` on the pair_style line." : "";
    return "pair_style " + name_ + ": " + e.what() + more;
  }
}

double PairDeep::energy_at(double fparam) {
  fill_atoms();
  atoms_.fparam = {fparam};
  Result result;
  evaluate(models_[0], false, result);
  double own = scale_[1][1] * result.energy * energy_unit_, sum = 0;
  MPI_Allreduce(&own, &sum, 1, MPI_DOUBLE, MPI_SUM, world);
  return sum;
}

int PairDeep::pack_forward_comm(int n, int *list, double *buf, int, int *) {
  for (int k = 0; k < n; ++k) buf = std::copy_n(&exchanged_[static_cast<size_t>(width_) * list[k]], width_, buf);
  return n * width_;
}

void PairDeep::unpack_forward_comm(int n, int first, double *buf) {
  std::copy_n(buf, static_cast<size_t>(n) * width_, exchanged_.begin() + static_cast<size_t>(width_) * first);
}

int PairDeep::pack_reverse_comm(int n, int first, double *buf) {
  std::copy_n(exchanged_.begin() + static_cast<size_t>(width_) * first, static_cast<size_t>(n) * width_, buf);
  return n * width_;
}

void PairDeep::unpack_reverse_comm(int n, int *list, double *buf) {
  for (int k = 0; k < n; ++k)
    for (int c = 0; c < width_; ++c) exchanged_[static_cast<size_t>(width_) * list[k] + c] += *buf++;
}

// -- deviation ------------------------------------------------------------------------------------------------------

void PairDeep::write_deviation() {
  const int parts = with_spin_ ? 2 : 1, models = static_cast<int>(models_.size());
  const size_t nall = atoms_.nlocal + atoms_.nghost;
  width_ = 3 * parts * models;
  exchanged_.resize(nall * width_);
  auto each = [&](auto &&use) {
    for (size_t i = 0; i < nall; ++i)
      for (int k = 0; k < models; ++k)
        for (int p = 0; p < parts; ++p)
          for (int d = 0; d < 3; ++d)
            use(exchanged_[i * width_ + 3 * (parts * k + p) + d], (p ? results_[k].magnetic : results_[k].force)[3 * i + d]);
  };
  each([](double &there, double here) { there = here; });
  comm->reverse_comm(this, width_);
  each([](double there, double &here) { here = there; });

  const double natoms = static_cast<double>(atom->natoms), force_unit = energy_unit_ / length_;
  std::vector<std::vector<double>> virials;
  for (auto &result : results_) {
    std::vector<double> sum(9);
    MPI_Allreduce(result.virial, sum.data(), 9, MPI_DOUBLE, MPI_SUM, world);
    for (double &v : sum) v /= natoms;
    virials.push_back(sum);
  }
  auto level = [](std::optional<double> given, double unit) {
    return given ? std::optional<double>(*given / unit) : std::nullopt;
  };
  // relative deviations are pure numbers
  const Range v = virial_deviation(virials, level(options_.relative_virial, energy_unit_));
  const double v_unit = options_.relative_virial ? 1 : energy_unit_, f_unit = options_.relative ? 1 : force_unit;
  std::vector<double> row{v.max * v_unit, v.min * v_unit, v.avg * v_unit}, each_atom;
  for (int p = 0; p < parts; ++p) {
    std::vector<std::vector<double>> vectors;
    for (auto &result : results_) vectors.push_back(p ? result.magnetic : result.force);
    std::vector<double> values = vector_deviation(vectors, atoms_.nlocal, level(options_.relative, force_unit));
    double own[3] = {-INFINITY, -INFINITY, 0}, most[2], sum;  // max, −min, sum
    for (double &value : values) {
      value *= f_unit;
      own[0] = std::max(own[0], value);
      own[1] = std::max(own[1], -value);
      own[2] += value;
    }
    MPI_Allreduce(own, most, 2, MPI_DOUBLE, MPI_MAX, world);
    MPI_Allreduce(own + 2, &sum, 1, MPI_DOUBLE, MPI_SUM, world);
    row.insert(row.end(), {most[0], -most[1], sum / natoms});
    if (!options_.atomic) continue;
    const std::vector<double> sorted = per_tag(values);
    each_atom.insert(each_atom.end(), sorted.begin(), sorted.end());
  }
  row.insert(row.end(), each_atom.begin(), each_atom.end());
  file_.write(update->ntimestep, row);
}

/// The values of all atoms in order of their tags, on rank 0.
std::vector<double> PairDeep::per_tag(const std::vector<double> &values) {
  const int n = atoms_.nlocal, total = static_cast<int>(atom->natoms);
  int own = 0, greatest = 0;
  for (int i = 0; i < n; ++i) own = std::max<int>(own, atom->tag[i]);
  MPI_Allreduce(&own, &greatest, 1, MPI_INT, MPI_MAX, world);
  if (greatest != total)
    error->all(FLERR,
               "pair_style {}: `atomic` needs the IDs 1 to {} of the atoms, but one is {}: write `reset_atoms id` "
               "before the run",
               name_, total, greatest);
  std::vector<double> here(total, 0), all(total, 0);
  for (int i = 0; i < n; ++i) here[atom->tag[i] - 1] = values[i];
  MPI_Reduce(here.data(), all.data(), total, MPI_DOUBLE, MPI_SUM, 0, world);
  return all;
}

}  // namespace dp
