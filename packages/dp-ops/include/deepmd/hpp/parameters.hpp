// What all classes of deepmd.hpp share: sizes, parameters, and the common functions of models.
#pragma once

#include "../deepmd.hpp"

namespace deepmd {
namespace hpp {
namespace detail {

/// Frame or atomic parameters for all frames: `dim` numbers are used for every frame (or atom).
template <class T>
std::vector<T> repeated(const std::vector<T>& given, std::size_t nframes, std::size_t dim) {
  if (given.empty() || dim == 0) return std::vector<T>();
  if (given.size() == nframes * dim) return given;
  if (given.size() != dim) {
    throw deepmd_exception("the dim of frame parameter provided is not consistent with what the model uses");
  }
  std::vector<T> all;
  for (std::size_t f = 0; f < nframes; ++f) all.insert(all.end(), given.begin(), given.end());
  return all;
}

/// Atomic parameters of the local atoms of all frames; those of ghosts, which come last, are left out.
template <class T>
std::vector<T> of_atoms(const std::vector<T>& given, std::size_t nframes, std::size_t nlocal, std::size_t natoms,
                        std::size_t dim) {
  if (given.empty() || dim == 0) return std::vector<T>();
  for (const std::size_t rows : {nlocal, natoms}) {
    for (const std::size_t frames : {nframes, std::size_t(1)}) {
      if (given.size() != frames * rows * dim) continue;
      std::vector<T> all;
      for (std::size_t f = 0; f < nframes; ++f) {
        const typename std::vector<T>::const_iterator begin = given.begin() + (frames == 1 ? 0 : f * rows * dim);
        all.insert(all.end(), begin, begin + nlocal * dim);
      }
      return all;
    }
  }
  if (given.size() == dim) return repeated(given, nframes * nlocal, dim);
  throw deepmd_exception("the dim of atom parameter provided is not consistent with what the model uses");
}

/// Numbers of frames and atoms, from the sizes of arrays.
struct Sizes {
  template <class T>
  Sizes(const std::vector<T>& coord, const std::vector<int>& atype, const std::vector<T>& box, bool mixed = false,
        int frames = 0)
      : natoms(static_cast<int>(mixed && frames > 0 ? atype.size() / frames : atype.size())) {
    nframes = mixed ? frames : natoms ? static_cast<int>(coord.size() / 3 / natoms) : 1;
    if (coord.size() != static_cast<std::size_t>(nframes) * natoms * 3) {
      throw deepmd_exception("there are " + std::to_string(coord.size()) + " coordinates of " +
                             std::to_string(natoms) + " atoms");
    }
    if (!box.empty() && box.size() != static_cast<std::size_t>(nframes) * 9) {
      throw deepmd_exception("the box has " + std::to_string(box.size()) + " numbers for " + std::to_string(nframes) +
                             " frames");
    }
  }
  int natoms, nframes;
};

inline double* energy_array(double& energy, int nframes) {
  if (nframes != 1) throw deepmd_exception("one energy cannot hold those of " + std::to_string(nframes) + " frames");
  return &energy;
}
inline double* energy_array(std::vector<double>& energy, int nframes) {
  energy.resize(nframes);
  return energy.data();
}

/// The part of an array of several models, one after the other, that is of one of them.
template <class T>
void split_models(const std::vector<T>& all, std::size_t count, std::vector<std::vector<T>>& out) {
  out.resize(count);
  const std::size_t size = all.size() / count;
  for (std::size_t k = 0; k < count; ++k) out[k].assign(all.begin() + k * size, all.begin() + (k + 1) * size);
}

}  // namespace detail

/// What potentials with and without spins share.
class DeepBaseModel {
 public:
  double cutoff() const { return DP_DeepBaseModelGetCutoff(base()); }
  int numb_types() const { return DP_DeepBaseModelGetNumbTypes(base()); }
  int numb_types_spin() const { return DP_DeepBaseModelGetNumbTypesSpin(base()); }
  /// Names of the types with blanks in between.
  void get_type_map(std::string& type_map) const { type_map = detail::taken(DP_DeepBaseModelGetTypeMap(base())); }
  void print_summary(const std::string& pre) const { DP_PrintSummary(pre.c_str()); }
  int dim_fparam() const { return DP_DeepBaseModelGetDimFParam(base()); }
  int dim_aparam() const { return DP_DeepBaseModelGetDimAParam(base()); }
  bool has_default_fparam() const { return DP_DeepBaseModelHasDefaultFParam(base()); }

 protected:
  DeepBaseModel() = default;
  ~DeepBaseModel() { DP_DeleteDeepBaseModel(model_); }
  DeepBaseModel(const DeepBaseModel&) = delete;
  DeepBaseModel& operator=(const DeepBaseModel&) = delete;

  /// Take a new object. Raises deepmd_exception if nothing was opened; then another may be taken.
  void take(DP_DeepBaseModel* model) {
    const std::string problem = detail::taken(DP_DeepBaseModelCheckOK(model));
    if (!problem.empty()) DP_DeleteDeepBaseModel(model);
    detail::raise_if(problem);
    model_ = model;
  }
  bool warned_of_second() const {
    if (model_) std::cerr << "WARNING: deep-potential should not be initialized twice, do nothing at the second call" << std::endl;
    return model_ != nullptr;
  }
  DP_DeepBaseModel* base() const {
    if (!model_) throw deepmd_exception("no model was opened");
    return model_;
  }
  void check() const { detail::raise_if(detail::taken(DP_DeepBaseModelCheckOK(base()))); }

 private:
  DP_DeepBaseModel* model_ = nullptr;
};

/// What several models of the same system share.
class DeepBaseModelDevi {
 public:
  double cutoff() const { return DP_DeepBaseModelDeviGetCutoff(base()); }
  int numb_types() const { return DP_DeepBaseModelDeviGetNumbTypes(base()); }
  int numb_types_spin() const { return DP_DeepBaseModelDeviGetNumbTypesSpin(base()); }
  void print_summary(const std::string& pre) const { DP_PrintSummary(pre.c_str()); }
  int dim_fparam() const { return DP_DeepBaseModelDeviGetDimFParam(base()); }
  int dim_aparam() const { return DP_DeepBaseModelDeviGetDimAParam(base()); }
  bool has_default_fparam() const { return DP_DeepBaseModelDeviHasDefaultFParam(base()); }
  int numb_models() const { return numb_models_; }

  /// The mean over models.
  template <class T>
  static void compute_avg(T& avg, const std::vector<T>& xx) {
    avg = 0;
    for (const T& x : xx) avg += x / xx.size();
  }
  template <class T>
  static void compute_avg(std::vector<T>& avg, const std::vector<std::vector<T>>& xx) {
    avg.assign(xx.empty() ? 0 : xx[0].size(), 0);
    for (const std::vector<T>& x : xx) {
      for (std::size_t i = 0; i < avg.size(); ++i) avg[i] += x[i];
    }
    for (T& a : avg) a /= xx.size();
  }
  /// Of each group of `stride` numbers, the root of the mean over models of the square of the distance from avg.
  template <class T>
  static void compute_std(std::vector<T>& std, const std::vector<T>& avg, const std::vector<std::vector<T>>& xx,
                          const int& stride) {
    std.assign(avg.size() / stride, 0);
    for (std::size_t i = 0; i < std.size() * stride; ++i) {
      for (const std::vector<T>& x : xx) std[i / stride] += (x[i] - avg[i]) * (x[i] - avg[i]);
    }
    for (T& s : std) s = std::sqrt(s / xx.size());
  }
  /// Divide by the length of the mean, and eps more.
  template <class T>
  static void compute_relative_std(std::vector<T>& std, const std::vector<T>& avg, const T eps, const int& stride) {
    for (std::size_t i = 0; i < std.size(); ++i) {
      T square = 0;
      for (int d = 0; d < stride; ++d) square += avg[i * stride + d] * avg[i * stride + d];
      std[i] /= std::sqrt(square) + eps;
    }
  }
  template <class T>
  static void compute_std_f(std::vector<T>& std, const std::vector<T>& avg, const std::vector<std::vector<T>>& xx) {
    compute_std(std, avg, xx, 3);
  }
  template <class T>
  static void compute_relative_std_f(std::vector<T>& std, const std::vector<T>& avg, const T eps) {
    compute_relative_std(std, avg, eps, 3);
  }

 protected:
  DeepBaseModelDevi() = default;
  ~DeepBaseModelDevi() { DP_DeleteDeepBaseModelDevi(models_); }
  DeepBaseModelDevi(const DeepBaseModelDevi&) = delete;
  DeepBaseModelDevi& operator=(const DeepBaseModelDevi&) = delete;

  /// Open models with a function of the C interface that takes paths and contents.
  template <class Open>
  void open(Open function, const std::vector<std::string>& models, const int& gpu_rank,
            const std::vector<std::string>& contents) {
    if (models_) {
      std::cerr << "WARNING: deep-potential should not be initialized twice, do nothing at the second call" << std::endl;
      return;
    }
    if (!contents.empty() && contents.size() != models.size()) {
      throw deepmd_exception("as many contents of files are needed as models");
    }
    std::vector<const char*> paths, bytes;
    std::vector<int> sizes;
    for (const std::string& model : models) paths.push_back(model.c_str());
    for (const std::string& content : contents) {
      bytes.push_back(content.data());
      sizes.push_back(static_cast<int>(content.size()));
    }
    const int count = static_cast<int>(models.size());
    const auto made = reinterpret_cast<DP_DeepBaseModelDevi*>(
        function(paths.data(), count, gpu_rank, bytes.data(), static_cast<int>(bytes.size()), sizes.data()));
    const std::string problem = detail::taken(DP_DeepBaseModelDeviCheckOK(made));
    if (!problem.empty()) DP_DeleteDeepBaseModelDevi(made);
    detail::raise_if(problem);
    models_ = made, numb_models_ = count;
  }
  DP_DeepBaseModelDevi* base() const {
    if (!models_) throw deepmd_exception("no models were opened");
    return models_;
  }
  void check() const { detail::raise_if(detail::taken(DP_DeepBaseModelDeviCheckOK(base()))); }

 private:
  DP_DeepBaseModelDevi* models_ = nullptr;
  int numb_models_ = 0;
};

}  // namespace hpp
}  // namespace deepmd
