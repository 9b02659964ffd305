#include "compute.h"

#include <algorithm>
#include <string>

namespace dp {
namespace {

/// Numbers in double precision: a view of them, or a copy.
template <class T>
class Doubles {
 public:
  Doubles(const T* from, size_t count) : values_(from ? std::vector<double>(from, from + count) : std::vector<double>()), given_(from) {}
  const double* get() const { return given_ ? values_.data() : nullptr; }

 private:
  std::vector<double> values_;
  bool given_;
};

template <>
class Doubles<double> {
 public:
  Doubles(const double* from, size_t) : values_(from) {}
  const double* get() const { return values_; }

 private:
  const double* values_;
};

template <class T>
const T* offset(const T* array, size_t count) {
  return array ? array + count : nullptr;
}

template <class T>
void write(const std::vector<double>& from, T* to, size_t place) {
  if (to) std::transform(from.begin(), from.end(), to + place * from.size(), [](double x) { return static_cast<T>(x); });
}

/// One frame of the inputs in double precision.
template <class T>
struct FrameCopy {
  FrameCopy(const Inputs<T>& in, const Record& record, int f)
      : coord(offset(in.coord, size_t(f) * in.natoms * 3), size_t(in.natoms) * 3),
        spin(offset(in.spin, size_t(f) * in.natoms * 3), size_t(in.natoms) * 3),
        cell(offset(in.cell, size_t(f) * 9), 9),
        fparam(offset(in.fparam, f * width(record)), width(record)),
        charge_spin(offset(in.charge_spin, f * record.dim_chg_spin), record.dim_chg_spin),
        aparam(offset(in.aparam, size_t(f) * (in.natoms - in.nghost) * record.numb_aparam),
               size_t(in.natoms - in.nghost) * record.numb_aparam) {
    frame.natoms = in.natoms;
    frame.nghost = in.nghost;
    frame.coord = coord.get();
    frame.spin = spin.get();
    frame.types = in.types + (in.mixed ? size_t(f) * in.natoms : 0);
    frame.cell = cell.get();
    frame.fparam = fparam.get();
    frame.charge_spin = charge_spin.get();
    frame.aparam = aparam.get();
    frame.nlist = in.nlist;
    frame.ago = in.ago;
    frame.part = in.part;
  }

  static size_t width(const Record& record) { return static_cast<size_t>(record.numb_fparam - record.dim_chg_spin); }

  Doubles<T> coord, spin, cell, fparam, charge_spin, aparam;
  Frame frame;
};

template <class T>
void check(const Inputs<T>& in) {
  if (in.nframes < 0 || in.natoms < 0) {
    throw Error("There cannot be " + std::to_string(in.nframes) + " frames of " + std::to_string(in.natoms) + " atoms.");
  }
  if (in.nghost < 0 || in.nghost > in.natoms) {
    throw Error(std::to_string(in.nghost) + " of " + std::to_string(in.natoms) + " atoms cannot be ghosts.");
  }
  if (in.nghost && !in.nlist) {
    throw Error(std::to_string(in.nghost) + " of the atoms are ghosts, but there is no neighbour list; neighbours are found for frames without ghosts.");
  }
  if (in.natoms && in.nframes && (!in.coord || !in.types)) throw Error("There are no coordinates or no types of atoms.");
}

}  // namespace

template <class T>
void compute_energies(Handle& handle, const Inputs<T>& in, const Outputs<T>& out) {
  handle.model();
  check(in);
  if (handle.models.size() > 1 && in.nframes != 1) throw Error("Model-deviation C APIs support exactly one frame.");
  Wanted wanted;
  wanted.derivatives = out.force || out.force_mag || out.virial || out.atomic_virial;
  wanted.atomic_virial = out.atomic_virial;
  std::vector<Result> results;  // all of them before any is written
  for (const auto& model : handle.models) {
    for (int f = 0; f < in.nframes; ++f) {
      FrameCopy<T> copy(in, model->record(), f);
      if (f) copy.frame.ago = 1;  // the same list for all frames
      results.push_back(model->evaluate(copy.frame, wanted));
    }
  }
  for (size_t k = 0; k < results.size(); ++k) {
    write(results[k].total, out.energy, k);
    write(results[k].force, out.force, k);
    write(results[k].magnetic, out.force_mag, k);
    write(results[k].virial, out.virial, k);
    write(results[k].atomic, out.atomic_energy, k);
    write(results[k].atomic_virial, out.atomic_virial, k);
  }
}

template <class T>
void compute_tensor(Handle& handle, const Inputs<T>& in, T* total, T* force, T* virial, T** atomic, T* atomic_virial, int* size) {
  Model& model = handle.model();
  check(in);
  const FrameCopy<T> copy(in, model.record(), 0);
  Wanted wanted;
  wanted.derivatives = force || virial || atomic_virial;
  wanted.atomic_virial = atomic_virial;
  const Result result = model.evaluate(copy.frame, wanted);
  write(result.total, total, 0);
  write(result.force, force, 0);
  write(result.virial, virial, 0);
  write(result.atomic_virial, atomic_virial, 0);
  if (!atomic || !size) return;
  const size_t width = model.components();
  std::vector<double> selected;
  for (int i = 0; i < copy.frame.nlocal(); ++i) {
    const auto& types = handle.selected_types;
    if (std::find(types.begin(), types.end(), in.types[i]) == types.end()) continue;
    selected.insert(selected.end(), result.atomic.begin() + i * width, result.atomic.begin() + (i + 1) * width);
  }
  *atomic = new T[std::max<size_t>(selected.size(), 1)];
  *size = static_cast<int>(selected.size());
  write(selected, *atomic, 0);
}

template <class T>
void compute_charge_forces(Handle& handle, const Inputs<T>& in, const int* pairs, int npairs, const T* electric, T* force, T* virial) {
  Model& model = handle.model();
  check(in);
  const FrameCopy<T> copy(in, model.record(), 0);
  const int nlocal = copy.frame.nlocal();
  if (!in.nlist) throw Error("Forces from Wannier centroids need a neighbour list.");
  if (model.record().message_passing) throw Error("Forces from Wannier centroids need a model that passes no messages.");
  if (npairs < 0 || (npairs && !pairs)) throw Error("There are no pairs of atoms and Wannier centroids, but " + std::to_string(npairs) + " should be.");
  if (nlocal && !electric) throw Error("There are no electric forces on the atoms and Wannier centroids.");
  const Doubles<T> given(electric, size_t(nlocal) * 3);
  std::vector<double> weights(size_t(in.natoms) * 3, 0.0), moved(size_t(in.natoms) * 3, 0.0);
  for (int k = 0; k < npairs; ++k) {
    const int atom = pairs[2 * k], centroid = pairs[2 * k + 1];
    if (atom < 0 || atom >= nlocal || centroid < 0 || centroid >= nlocal) {
      throw Error("Pair " + std::to_string(k) + " is of atoms " + std::to_string(atom) + " and " + std::to_string(centroid) +
                  ", but there are " + std::to_string(nlocal) + " local atoms.");
    }
    for (int a = 0; a < 3; ++a) moved[3 * atom + a] += weights[3 * atom + a] = given.get()[3 * centroid + a];
  }
  for (int i = 0; i < nlocal; ++i) {
    if (!is_real(in.types[i], model.ntypes())) continue;
    for (int a = 0; a < 3; ++a) moved[3 * i + a] += given.get()[3 * i + a];
  }
  Wanted wanted;
  wanted.weights = weights.data();
  Result result = model.evaluate(copy.frame, wanted);
  // the force of a centroid on an atom is + its derivative, where results have − derivatives of totals
  for (size_t i = 0; i < moved.size(); ++i) moved[i] -= result.force[i];
  for (double& v : result.virial) v = -v;
  write(moved, force, 0);
  write(result.virial, virial, 0);
}

template void compute_energies(Handle&, const Inputs<double>&, const Outputs<double>&);
template void compute_energies(Handle&, const Inputs<float>&, const Outputs<float>&);
template void compute_tensor(Handle&, const Inputs<double>&, double*, double*, double*, double**, double*, int*);
template void compute_tensor(Handle&, const Inputs<float>&, float*, float*, float*, float**, float*, int*);
template void compute_charge_forces(Handle&, const Inputs<double>&, const int*, int, const double*, double*, double*);
template void compute_charge_forces(Handle&, const Inputs<float>&, const int*, int, const float*, float*, float*);

}  // namespace dp
