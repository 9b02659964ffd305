// Potentials of deepmd.hpp, one or several.
#pragma once

#include "../deepmd.hpp"

namespace deepmd {
namespace hpp {
namespace detail {

/// One call of the C interface; a list of neighbours that is null is not given, and so are charges.
inline void pot_compute(DP_DeepPot* dp, int nframes, int natoms, const double* coord, const int* atype, const double* cell,
                        int nghost, const DP_Nlist* nlist, int ago, const double* fparam, const double* aparam,
                        const double* charge_spin, double* energy, double* force, double* virial, double* atom_energy,
                        double* atom_virial) {
  // without charges the older functions, which older libraries have
  if (nlist && charge_spin) {
    DP_DeepPotComputeNList3(dp, nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin,
                            energy, force, virial, atom_energy, atom_virial);
  } else if (nlist) {
    DP_DeepPotComputeNList2(dp, nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam, energy,
                            force, virial, atom_energy, atom_virial);
  } else if (charge_spin) {
    DP_DeepPotCompute3(dp, nframes, natoms, coord, atype, cell, fparam, aparam, charge_spin, energy, force,
                       virial, atom_energy, atom_virial);
  } else {
    DP_DeepPotCompute2(dp, nframes, natoms, coord, atype, cell, fparam, aparam, energy, force, virial,
                       atom_energy, atom_virial);
  }
}

inline void pot_compute(DP_DeepPotModelDevi* dp, int nframes, int natoms, const double* coord, const int* atype,
                        const double* cell, int nghost, const DP_Nlist* nlist, int ago, const double* fparam,
                        const double* aparam, const double* charge_spin, double* energy, double* force, double* virial,
                        double* atom_energy, double* atom_virial) {
  if (nlist && charge_spin) {
    DP_DeepPotModelDeviComputeNList3(dp, nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam,
                                     charge_spin, energy, force, virial, atom_energy, atom_virial);
  } else if (nlist) {
    DP_DeepPotModelDeviComputeNList2(dp, nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam,
                                     energy, force, virial, atom_energy, atom_virial);
  } else if (charge_spin) {
    DP_DeepPotModelDeviCompute3(dp, nframes, natoms, coord, atype, cell, fparam, aparam, charge_spin, energy, force,
                                virial, atom_energy, atom_virial);
  } else {
    DP_DeepPotModelDeviCompute2(dp, nframes, natoms, coord, atype, cell, fparam, aparam, energy, force,
                                virial, atom_energy, atom_virial);
  }
}

/// One call of the C interface; a list of neighbours that is null is not given, and so are charges.
inline void pot_compute(DP_DeepPot* dp, int nframes, int natoms, const float* coord, const int* atype, const float* cell,
                        int nghost, const DP_Nlist* nlist, int ago, const float* fparam, const float* aparam,
                        const float* charge_spin, double* energy, float* force, float* virial, float* atom_energy,
                        float* atom_virial) {
  // without charges the older functions, which older libraries have
  if (nlist && charge_spin) {
    DP_DeepPotComputeNListf3(dp, nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin,
                            energy, force, virial, atom_energy, atom_virial);
  } else if (nlist) {
    DP_DeepPotComputeNListf2(dp, nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam, energy,
                            force, virial, atom_energy, atom_virial);
  } else if (charge_spin) {
    DP_DeepPotComputef3(dp, nframes, natoms, coord, atype, cell, fparam, aparam, charge_spin, energy, force,
                       virial, atom_energy, atom_virial);
  } else {
    DP_DeepPotComputef2(dp, nframes, natoms, coord, atype, cell, fparam, aparam, energy, force, virial,
                       atom_energy, atom_virial);
  }
}

inline void pot_compute(DP_DeepPotModelDevi* dp, int nframes, int natoms, const float* coord, const int* atype,
                        const float* cell, int nghost, const DP_Nlist* nlist, int ago, const float* fparam,
                        const float* aparam, const float* charge_spin, double* energy, float* force, float* virial,
                        float* atom_energy, float* atom_virial) {
  if (nlist && charge_spin) {
    DP_DeepPotModelDeviComputeNListf3(dp, nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam,
                                     charge_spin, energy, force, virial, atom_energy, atom_virial);
  } else if (nlist) {
    DP_DeepPotModelDeviComputeNListf2(dp, nframes, natoms, coord, atype, cell, nghost, nlist, ago, fparam, aparam,
                                     energy, force, virial, atom_energy, atom_virial);
  } else if (charge_spin) {
    DP_DeepPotModelDeviComputef3(dp, nframes, natoms, coord, atype, cell, fparam, aparam, charge_spin, energy, force,
                                virial, atom_energy, atom_virial);
  } else {
    DP_DeepPotModelDeviComputef2(dp, nframes, natoms, coord, atype, cell, fparam, aparam, energy, force,
                                virial, atom_energy, atom_virial);
  }
}

inline void pot_mixed(DP_DeepPot* dp, int nframes, int natoms, const double* coord, const int* atype, const double* cell,
                      const double* fparam, const double* aparam, double* energy, double* force, double* virial, double* atom_energy,
                      double* atom_virial) {
  DP_DeepPotComputeMixedType(dp, nframes, natoms, coord, atype, cell, fparam, aparam, energy, force, virial, atom_energy,
                              atom_virial);
}

inline void pot_mixed(DP_DeepPot* dp, int nframes, int natoms, const float* coord, const int* atype, const float* cell,
                      const float* fparam, const float* aparam, double* energy, float* force, float* virial, float* atom_energy,
                      float* atom_virial) {
  DP_DeepPotComputeMixedTypef(dp, nframes, natoms, coord, atype, cell, fparam, aparam, energy, force, virial, atom_energy,
                              atom_virial);
}

}  // namespace detail

/// A model of the energy.
class DeepPot : public DeepBaseModel {
 public:
  DeepPot() = default;
  explicit DeepPot(const std::string& model, const int& gpu_rank = 0, const std::string& file_content = "") {
    init(model, gpu_rank, file_content);
  }

  /// Open a file, or the bytes of one; the name tells its kind.
  void init(const std::string& model, const int& gpu_rank = 0, const std::string& file_content = "") {
    if (warned_of_second()) return;
    take(reinterpret_cast<DP_DeepBaseModel*>(
        DP_NewDeepPotWithParam2(model.c_str(), gpu_rank, file_content.data(), static_cast<int>(file_content.size()))));
  }
  int dim_chg_spin() const { return DP_DeepPotGetDimChgSpin(object()); }

  /// Totals; neighbours are found by the library.
  template <typename VALUETYPE, typename ENERGYVTYPE>
  void compute(ENERGYVTYPE& ener, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& virial,
               const std::vector<VALUETYPE>& coord, const std::vector<int>& atype, const std::vector<VALUETYPE>& box,
               const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, virial, (std::vector<VALUETYPE>*)nullptr, (std::vector<VALUETYPE>*)nullptr,
             coord, atype, box, 0, nullptr, 0, fparam, aparam, charge_spin);
  }
  /// The same and what is of each atom.
  template <typename VALUETYPE, typename ENERGYVTYPE>
  void compute(ENERGYVTYPE& ener, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& virial,
               std::vector<VALUETYPE>& atom_energy, std::vector<VALUETYPE>& atom_virial,
               const std::vector<VALUETYPE>& coord, const std::vector<int>& atype, const std::vector<VALUETYPE>& box,
               const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, virial, &atom_energy, &atom_virial,
             coord, atype, box, 0, nullptr, 0, fparam, aparam, charge_spin);
  }
  /// Totals; neighbours are those of the caller.
  template <typename VALUETYPE, typename ENERGYVTYPE>
  void compute(ENERGYVTYPE& ener, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& virial,
               const std::vector<VALUETYPE>& coord, const std::vector<int>& atype, const std::vector<VALUETYPE>& box,
               const int nghost, const InputNlist& nlist, const int& ago,
               const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, virial, (std::vector<VALUETYPE>*)nullptr, (std::vector<VALUETYPE>*)nullptr,
             coord, atype, box, nghost, &nlist, ago, fparam, aparam, charge_spin);
  }
  /// The same and what is of each atom.
  template <typename VALUETYPE, typename ENERGYVTYPE>
  void compute(ENERGYVTYPE& ener, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& virial,
               std::vector<VALUETYPE>& atom_energy, std::vector<VALUETYPE>& atom_virial,
               const std::vector<VALUETYPE>& coord, const std::vector<int>& atype, const std::vector<VALUETYPE>& box,
               const int nghost, const InputNlist& nlist, const int& ago,
               const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, virial, &atom_energy, &atom_virial,
             coord, atype, box, nghost, &nlist, ago, fparam, aparam, charge_spin);
  }
  /// Frames of different composition; −1 in atype where there is no atom.
  template <typename VALUETYPE, typename ENERGYVTYPE>
  void compute_mixed_type(ENERGYVTYPE& ener, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& virial,
                          const int& nframes, const std::vector<VALUETYPE>& coord, const std::vector<int>& atype,
                          const std::vector<VALUETYPE>& box,
                          const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
                          const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>()) {
    const detail::Sizes sizes(coord, atype, box, true, nframes);
    double* energy = detail::energy_array(ener, nframes);
    force.resize(coord.size());
    virial.resize(static_cast<std::size_t>(nframes) * 9);
    const std::vector<VALUETYPE> frame_parameters = detail::repeated(fparam, nframes, dim_fparam());
    const std::vector<VALUETYPE> atom_parameters = detail::of_atoms(aparam, nframes, sizes.natoms, sizes.natoms, dim_aparam());
    detail::pot_mixed(object(), nframes, sizes.natoms, coord.data(), atype.data(), detail::data(box),
                      detail::data(frame_parameters), detail::data(atom_parameters), energy, force.data(), virial.data(),
                      nullptr, nullptr);
    check();
  }
  /// Frames of different composition, and what is of each atom; −1 in atype where there is no atom.
  template <typename VALUETYPE, typename ENERGYVTYPE>
  void compute_mixed_type(ENERGYVTYPE& ener, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& virial,
                          std::vector<VALUETYPE>& atom_energy, std::vector<VALUETYPE>& atom_virial, const int& nframes,
                          const std::vector<VALUETYPE>& coord, const std::vector<int>& atype,
                          const std::vector<VALUETYPE>& box,
                          const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
                          const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>()) {
    const detail::Sizes sizes(coord, atype, box, true, nframes);
    double* energy = detail::energy_array(ener, nframes);
    force.resize(coord.size());
    virial.resize(static_cast<std::size_t>(nframes) * 9);
    atom_energy.resize(coord.size() / 3);
    atom_virial.resize(coord.size() * 3);
    const std::vector<VALUETYPE> frame_parameters = detail::repeated(fparam, nframes, dim_fparam());
    const std::vector<VALUETYPE> atom_parameters = detail::of_atoms(aparam, nframes, sizes.natoms, sizes.natoms, dim_aparam());
    detail::pot_mixed(object(), nframes, sizes.natoms, coord.data(), atype.data(), detail::data(box),
                      detail::data(frame_parameters), detail::data(atom_parameters), energy, force.data(), virial.data(),
                      atom_energy.data(), atom_virial.data());
    check();
  }

  DP_DeepPot* object() const { return reinterpret_cast<DP_DeepPot*>(base()); }

 private:
  template <typename VALUETYPE, typename ENERGYVTYPE>
  void evaluate(ENERGYVTYPE& ener, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& virial,
                std::vector<VALUETYPE>* atom_energy, std::vector<VALUETYPE>* atom_virial,
                const std::vector<VALUETYPE>& coord, const std::vector<int>& atype, const std::vector<VALUETYPE>& box,
                int nghost, const InputNlist* nlist, int ago, const std::vector<VALUETYPE>& fparam,
                const std::vector<VALUETYPE>& aparam, const std::vector<VALUETYPE>& charge_spin) {
    const detail::Sizes sizes(coord, atype, box);
    const std::size_t nframes = sizes.nframes;
    double* energy = detail::energy_array(ener, sizes.nframes);
    force.resize(coord.size());
    virial.resize(nframes * 9);
    if (atom_energy) atom_energy->resize(coord.size() / 3);
    if (atom_virial) atom_virial->resize(coord.size() * 3);
    const std::vector<VALUETYPE> frame_parameters = detail::repeated(fparam, nframes, dim_fparam());
    const std::vector<VALUETYPE> atom_parameters =
        detail::of_atoms(aparam, nframes, sizes.natoms - nghost, sizes.natoms, dim_aparam());
    const std::vector<VALUETYPE> charges = detail::repeated(charge_spin, nframes, charge_spin.empty() ? 0 : dim_chg_spin());
    detail::pot_compute(object(), sizes.nframes, sizes.natoms, coord.data(), atype.data(), detail::data(box), nghost,
                        nlist ? nlist->nl : nullptr, ago, detail::data(frame_parameters),
                        detail::data(atom_parameters), detail::data(charges), energy, force.data(), virial.data(),
                        atom_energy ? atom_energy->data() : nullptr, atom_virial ? atom_virial->data() : nullptr);
    check();
  }
};

/// Several models of the same system; outputs have one array for each.
class DeepPotModelDevi : public DeepBaseModelDevi {
 public:
  DeepPotModelDevi() = default;
  explicit DeepPotModelDevi(const std::vector<std::string>& models) { init(models); }

  void init(const std::vector<std::string>& models, const int& gpu_rank = 0,
            const std::vector<std::string>& file_content = std::vector<std::string>()) {
    open(DP_NewDeepPotModelDeviWithParam, models, gpu_rank, file_content);
  }
  int dim_chg_spin() const { return DP_DeepPotModelDeviGetDimChgSpin(object()); }

  /// Totals; neighbours are found by the library.
  template <typename VALUETYPE>
  void compute(std::vector<double>& ener, std::vector<std::vector<VALUETYPE>>& force,
               std::vector<std::vector<VALUETYPE>>& virial, const std::vector<VALUETYPE>& coord,
               const std::vector<int>& atype, const std::vector<VALUETYPE>& box,
               const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, virial, (std::vector<std::vector<VALUETYPE>>*)nullptr, (std::vector<std::vector<VALUETYPE>>*)nullptr,
             coord, atype, box, 0, nullptr, 0, fparam, aparam, charge_spin);
  }
  /// The same and what is of each atom.
  template <typename VALUETYPE>
  void compute(std::vector<double>& ener, std::vector<std::vector<VALUETYPE>>& force,
               std::vector<std::vector<VALUETYPE>>& virial, std::vector<std::vector<VALUETYPE>>& atom_energy,
               std::vector<std::vector<VALUETYPE>>& atom_virial, const std::vector<VALUETYPE>& coord,
               const std::vector<int>& atype, const std::vector<VALUETYPE>& box,
               const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, virial, &atom_energy, &atom_virial,
             coord, atype, box, 0, nullptr, 0, fparam, aparam, charge_spin);
  }
  /// Totals; neighbours are those of the caller.
  template <typename VALUETYPE>
  void compute(std::vector<double>& ener, std::vector<std::vector<VALUETYPE>>& force,
               std::vector<std::vector<VALUETYPE>>& virial, const std::vector<VALUETYPE>& coord,
               const std::vector<int>& atype, const std::vector<VALUETYPE>& box, const int nghost,
               const InputNlist& nlist, const int& ago, const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, virial, (std::vector<std::vector<VALUETYPE>>*)nullptr, (std::vector<std::vector<VALUETYPE>>*)nullptr,
             coord, atype, box, nghost, &nlist, ago, fparam, aparam, charge_spin);
  }
  /// The same and what is of each atom.
  template <typename VALUETYPE>
  void compute(std::vector<double>& ener, std::vector<std::vector<VALUETYPE>>& force,
               std::vector<std::vector<VALUETYPE>>& virial, std::vector<std::vector<VALUETYPE>>& atom_energy,
               std::vector<std::vector<VALUETYPE>>& atom_virial, const std::vector<VALUETYPE>& coord,
               const std::vector<int>& atype, const std::vector<VALUETYPE>& box, const int nghost,
               const InputNlist& nlist, const int& ago, const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, virial, &atom_energy, &atom_virial,
             coord, atype, box, nghost, &nlist, ago, fparam, aparam, charge_spin);
  }

  DP_DeepPotModelDevi* object() const { return reinterpret_cast<DP_DeepPotModelDevi*>(base()); }

 private:
  template <typename VALUETYPE>
  void evaluate(std::vector<double>& ener, std::vector<std::vector<VALUETYPE>>& force,
                std::vector<std::vector<VALUETYPE>>& virial, std::vector<std::vector<VALUETYPE>>* atom_energy,
                std::vector<std::vector<VALUETYPE>>* atom_virial, const std::vector<VALUETYPE>& coord,
                const std::vector<int>& atype, const std::vector<VALUETYPE>& box, int nghost, const InputNlist* nlist,
                int ago, const std::vector<VALUETYPE>& fparam, const std::vector<VALUETYPE>& aparam,
                const std::vector<VALUETYPE>& charge_spin) {
    const detail::Sizes sizes(coord, atype, box);
    const std::size_t models = numb_models(), n = atype.size();
    ener.resize(models);
    std::vector<VALUETYPE> forces(models * n * 3), virials(models * 9);
    std::vector<VALUETYPE> energies(atom_energy ? models * n : 0), atom_virials(atom_virial ? models * n * 9 : 0);
    const std::vector<VALUETYPE> frame_parameters = detail::repeated(fparam, sizes.nframes, dim_fparam());
    const std::vector<VALUETYPE> atom_parameters =
        detail::of_atoms(aparam, sizes.nframes, sizes.natoms - nghost, sizes.natoms, dim_aparam());
    const std::vector<VALUETYPE> charges = detail::repeated(charge_spin, sizes.nframes, charge_spin.empty() ? 0 : dim_chg_spin());
    detail::pot_compute(object(), sizes.nframes, sizes.natoms, coord.data(), atype.data(), detail::data(box), nghost,
                        nlist ? nlist->nl : nullptr, ago, detail::data(frame_parameters),
                        detail::data(atom_parameters), detail::data(charges), ener.data(), forces.data(), virials.data(),
                        atom_energy ? energies.data() : nullptr, atom_virial ? atom_virials.data() : nullptr);
    check();
    detail::split_models(forces, models, force);
    detail::split_models(virials, models, virial);
    if (atom_energy) detail::split_models(energies, models, *atom_energy);
    if (atom_virial) detail::split_models(atom_virials, models, *atom_virial);
  }
};

}  // namespace hpp
}  // namespace deepmd
