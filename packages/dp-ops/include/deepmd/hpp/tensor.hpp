// Tensors of atoms, and forces from Wannier centroids, of deepmd.hpp.
#pragma once

#include "../deepmd.hpp"

namespace deepmd {
namespace hpp {
namespace detail {

inline void atomic_tensor(DP_DeepTensor* dt, int natoms, const double* coord, const int* atype, const double* cell,
                          int nghost, const DP_Nlist* nlist, double** tensor, int* size) {
  if (nlist) return DP_DeepTensorComputeTensorNList(dt, natoms, coord, atype, cell, nghost, nlist, tensor, size);
  DP_DeepTensorComputeTensor(dt, natoms, coord, atype, cell, tensor, size);
}
inline void atomic_tensor(DP_DeepTensor* dt, int natoms, const float* coord, const int* atype, const float* cell,
                          int nghost, const DP_Nlist* nlist, float** tensor, int* size) {
  if (nlist) return DP_DeepTensorComputeTensorNListf(dt, natoms, coord, atype, cell, nghost, nlist, tensor, size);
  DP_DeepTensorComputeTensorf(dt, natoms, coord, atype, cell, tensor, size);
}
inline void whole_tensor(DP_DeepTensor* dt, int natoms, const double* coord, const int* atype, const double* cell,
                         int nghost, const DP_Nlist* nlist, double* total, double* force, double* virial,
                         double** atomic, double* atomic_virial, int* size) {
  if (nlist) {
    return DP_DeepTensorComputeNList(dt, natoms, coord, atype, cell, nghost, nlist, total, force, virial, atomic,
                                     atomic_virial, size);
  }
  DP_DeepTensorCompute(dt, natoms, coord, atype, cell, total, force, virial, atomic, atomic_virial, size);
}
inline void whole_tensor(DP_DeepTensor* dt, int natoms, const float* coord, const int* atype, const float* cell,
                         int nghost, const DP_Nlist* nlist, float* total, float* force, float* virial, float** atomic,
                         float* atomic_virial, int* size) {
  if (nlist) {
    return DP_DeepTensorComputeNListf(dt, natoms, coord, atype, cell, nghost, nlist, total, force, virial, atomic,
                                      atomic_virial, size);
  }
  DP_DeepTensorComputef(dt, natoms, coord, atype, cell, total, force, virial, atomic, atomic_virial, size);
}
inline void charge_forces(DP_DipoleChargeModifier* dcm, int natoms, const double* coord, const int* atype,
                          const double* cell, const int* pairs, int npairs, const double* delef, int nghost,
                          const DP_Nlist* nlist, double* force, double* virial) {
  DP_DipoleChargeModifierComputeNList(dcm, natoms, coord, atype, cell, pairs, npairs, delef, nghost, nlist, force, virial);
}
inline void charge_forces(DP_DipoleChargeModifier* dcm, int natoms, const float* coord, const int* atype,
                          const float* cell, const int* pairs, int npairs, const float* delef, int nghost,
                          const DP_Nlist* nlist, float* force, float* virial) {
  DP_DipoleChargeModifierComputeNListf(dcm, natoms, coord, atype, cell, pairs, npairs, delef, nghost, nlist, force, virial);
}

}  // namespace detail

/// A model of a tensor of atoms.
class DeepTensor {
 public:
  DeepTensor() = default;
  explicit DeepTensor(const std::string& model, const int& gpu_rank = 0, const std::string& name_scope = "")
      : DeepTensor() {
    init(model, gpu_rank, name_scope);
  }
  ~DeepTensor() { DP_DeleteDeepTensor(dt_); }
  DeepTensor(const DeepTensor&) = delete;
  DeepTensor& operator=(const DeepTensor&) = delete;

  void init(const std::string& model, const int& gpu_rank = 0, const std::string& name_scope = "") {
    if (dt_) {
      std::cerr << "WARNING: deep-potential should not be initialized twice, do nothing at the second call" << std::endl;
      return;
    }
    DP_DeepTensor* made = DP_NewDeepTensorWithParam(model.c_str(), gpu_rank, name_scope.c_str());
    const std::string problem = detail::taken(DP_DeepTensorCheckOK(made));
    if (!problem.empty()) DP_DeleteDeepTensor(made);
    detail::raise_if(problem);
    dt_ = made;
  }

  /// The tensors of the atoms that have one.
  template <typename VALUETYPE>
  void compute(std::vector<VALUETYPE>& tensor, const std::vector<VALUETYPE>& coord, const std::vector<int>& atype,
               const std::vector<VALUETYPE>& box) {
    atoms_only(tensor, coord, atype, box, 0, nullptr);
  }
  template <typename VALUETYPE>
  void compute(std::vector<VALUETYPE>& tensor, const std::vector<VALUETYPE>& coord, const std::vector<int>& atype,
               const std::vector<VALUETYPE>& box, const int nghost, const InputNlist& nlist) {
    atoms_only(tensor, coord, atype, box, nghost, nlist.nl);
  }
  /// The sum over atoms and its derivatives.
  template <typename VALUETYPE>
  void compute(std::vector<VALUETYPE>& global_tensor, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& virial,
               const std::vector<VALUETYPE>& coord, const std::vector<int>& atype, const std::vector<VALUETYPE>& box) {
    whole<VALUETYPE>(global_tensor, force, virial, nullptr, nullptr, coord, atype, box, 0, nullptr);
  }
  template <typename VALUETYPE>
  void compute(std::vector<VALUETYPE>& global_tensor, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& virial,
               const std::vector<VALUETYPE>& coord, const std::vector<int>& atype, const std::vector<VALUETYPE>& box,
               const int nghost, const InputNlist& nlist) {
    whole<VALUETYPE>(global_tensor, force, virial, nullptr, nullptr, coord, atype, box, nghost, nlist.nl);
  }
  /// The same and what is of each atom.
  template <typename VALUETYPE>
  void compute(std::vector<VALUETYPE>& global_tensor, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& virial,
               std::vector<VALUETYPE>& atom_tensor, std::vector<VALUETYPE>& atom_virial,
               const std::vector<VALUETYPE>& coord, const std::vector<int>& atype, const std::vector<VALUETYPE>& box) {
    whole(global_tensor, force, virial, &atom_tensor, &atom_virial, coord, atype, box, 0, nullptr);
  }
  template <typename VALUETYPE>
  void compute(std::vector<VALUETYPE>& global_tensor, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& virial,
               std::vector<VALUETYPE>& atom_tensor, std::vector<VALUETYPE>& atom_virial,
               const std::vector<VALUETYPE>& coord, const std::vector<int>& atype, const std::vector<VALUETYPE>& box,
               const int nghost, const InputNlist& nlist) {
    whole(global_tensor, force, virial, &atom_tensor, &atom_virial, coord, atype, box, nghost, nlist.nl);
  }

  double cutoff() const { return DP_DeepTensorGetCutoff(object()); }
  int numb_types() const { return DP_DeepTensorGetNumbTypes(object()); }
  int output_dim() const { return DP_DeepTensorGetOutputDim(object()); }
  std::vector<int> sel_types() const {
    const int* types = DP_DeepTensorGetSelTypes(object());
    return std::vector<int>(types, types + DP_DeepTensorGetNumbSelTypes(object()));
  }
  void print_summary(const std::string& pre) const { DP_PrintSummary(pre.c_str()); }
  void get_type_map(std::string& type_map) const { type_map = detail::taken(DP_DeepTensorGetTypeMap(object())); }

 private:
  template <typename VALUETYPE>
  void atoms_only(std::vector<VALUETYPE>& tensor, const std::vector<VALUETYPE>& coord, const std::vector<int>& atype,
                  const std::vector<VALUETYPE>& box, int nghost, const DP_Nlist* nlist) {
    const detail::Sizes sizes(coord, atype, box);
    VALUETYPE* found = nullptr;
    int size = 0;
    detail::atomic_tensor(object(), sizes.natoms, coord.data(), atype.data(), detail::data(box), nghost, nlist, &found,
                          &size);
    check();
    tensor.assign(found, found + size);
    delete[] found;
  }
  template <typename VALUETYPE>
  void whole(std::vector<VALUETYPE>& global_tensor, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& virial,
             std::vector<VALUETYPE>* atom_tensor, std::vector<VALUETYPE>* atom_virial,
             const std::vector<VALUETYPE>& coord, const std::vector<int>& atype, const std::vector<VALUETYPE>& box,
             int nghost, const DP_Nlist* nlist) {
    const detail::Sizes sizes(coord, atype, box);
    const std::size_t components = output_dim();
    global_tensor.resize(components);
    force.resize(components * coord.size());
    virial.resize(components * 9);
    if (atom_virial) atom_virial->resize(components * coord.size() * 3);
    VALUETYPE* found = nullptr;
    int size = 0;
    detail::whole_tensor(object(), sizes.natoms, coord.data(), atype.data(), detail::data(box), nghost, nlist,
                         global_tensor.data(), force.data(), virial.data(), atom_tensor ? &found : nullptr,
                         atom_virial ? atom_virial->data() : nullptr, &size);
    check();
    if (atom_tensor) atom_tensor->assign(found, found + size);
    delete[] found;
  }
  DP_DeepTensor* object() const {
    if (!dt_) throw deepmd_exception("no model was opened");
    return dt_;
  }
  void check() const { detail::raise_if(detail::taken(DP_DeepTensorCheckOK(object()))); }

  DP_DeepTensor* dt_ = nullptr;
};

/// Forces on atoms from the electric forces on their Wannier centroids.
class DipoleChargeModifier {
 public:
  DipoleChargeModifier() = default;
  explicit DipoleChargeModifier(const std::string& model, const int& gpu_rank = 0, const std::string& name_scope = "")
      : DipoleChargeModifier() {
    init(model, gpu_rank, name_scope);
  }
  ~DipoleChargeModifier() { DP_DeleteDipoleChargeModifier(dcm_); }
  DipoleChargeModifier(const DipoleChargeModifier&) = delete;
  DipoleChargeModifier& operator=(const DipoleChargeModifier&) = delete;

  void init(const std::string& model, const int& gpu_rank = 0, const std::string& name_scope = "") {
    if (dcm_) {
      std::cerr << "WARNING: deep-potential should not be initialized twice, do nothing at the second call" << std::endl;
      return;
    }
    DP_DipoleChargeModifier* made = DP_NewDipoleChargeModifierWithParam(model.c_str(), gpu_rank, name_scope.c_str());
    const std::string problem = detail::taken(DP_DipoleChargeModifierCheckOK(made));
    if (!problem.empty()) DP_DeleteDipoleChargeModifier(made);
    detail::raise_if(problem);
    dcm_ = made;
  }

  /// See DP_DipoleChargeModifierComputeNList.
  template <typename VALUETYPE>
  void compute(std::vector<VALUETYPE>& dfcorr_, std::vector<VALUETYPE>& dvcorr_, const std::vector<VALUETYPE>& dcoord_,
               const std::vector<int>& datype_, const std::vector<VALUETYPE>& dbox,
               const std::vector<std::pair<int, int>>& pairs, const std::vector<VALUETYPE>& delef_, const int nghost,
               const InputNlist& lmp_list) {
    const detail::Sizes sizes(dcoord_, datype_, dbox);
    std::vector<int> flat;
    for (const std::pair<int, int>& pair : pairs) {
      flat.push_back(pair.first);
      flat.push_back(pair.second);
    }
    dfcorr_.resize(dcoord_.size());
    dvcorr_.resize(9);
    detail::charge_forces(object(), sizes.natoms, dcoord_.data(), datype_.data(), detail::data(dbox), flat.data(),
                          static_cast<int>(pairs.size()), delef_.data(), nghost, lmp_list.nl, dfcorr_.data(),
                          dvcorr_.data());
    check();
  }

  double cutoff() const { return DP_DipoleChargeModifierGetCutoff(object()); }
  int numb_types() const { return DP_DipoleChargeModifierGetNumbTypes(object()); }
  std::vector<int> sel_types() const {
    const int* types = DP_DipoleChargeModifierGetSelTypes(object());
    return std::vector<int>(types, types + DP_DipoleChargeModifierGetNumbSelTypes(object()));
  }
  void print_summary(const std::string& pre) const { DP_PrintSummary(pre.c_str()); }

 private:
  DP_DipoleChargeModifier* object() const {
    if (!dcm_) throw deepmd_exception("no model was opened");
    return dcm_;
  }
  void check() const { detail::raise_if(detail::taken(DP_DipoleChargeModifierCheckOK(object()))); }

  DP_DipoleChargeModifier* dcm_ = nullptr;
};

}  // namespace hpp
}  // namespace deepmd
