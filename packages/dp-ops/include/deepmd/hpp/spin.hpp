// Potentials of atoms with spins of deepmd.hpp, one or several.
#pragma once

#include "../deepmd.hpp"

namespace deepmd {
namespace hpp {
namespace detail {

/// One call of the C interface; a list of neighbours that is null is not given, and so are charges.
inline void spin_compute(DP_DeepSpin* dp, int nframes, int natoms, const double* coord, const double* spin, const int* atype, const double* cell,
                        int nghost, const DP_Nlist* nlist, int ago, const double* fparam, const double* aparam,
                        const double* charge_spin, double* energy, double* force, double* force_mag, double* virial, double* atom_energy,
                        double* atom_virial) {
  // without charges the older functions, which older libraries have
  if (nlist && charge_spin) {
    DP_DeepSpinComputeNList3(dp, nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin,
                            energy, force, force_mag, virial, atom_energy, atom_virial);
  } else if (nlist) {
    DP_DeepSpinComputeNList2(dp, nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam, energy,
                            force, force_mag, virial, atom_energy, atom_virial);
  } else if (charge_spin) {
    DP_DeepSpinCompute3(dp, nframes, natoms, coord, spin, atype, cell, fparam, aparam, charge_spin, energy, force, force_mag,
                       virial, atom_energy, atom_virial);
  } else {
    DP_DeepSpinCompute2(dp, nframes, natoms, coord, spin, atype, cell, fparam, aparam, energy, force, force_mag, virial,
                       atom_energy, atom_virial);
  }
}

inline void spin_compute(DP_DeepSpinModelDevi* dp, int nframes, int natoms, const double* coord, const double* spin, const int* atype,
                        const double* cell, int nghost, const DP_Nlist* nlist, int ago, const double* fparam,
                        const double* aparam, const double* charge_spin, double* energy, double* force, double* force_mag, double* virial,
                        double* atom_energy, double* atom_virial) {
  if (nlist && charge_spin) {
    DP_DeepSpinModelDeviComputeNList3(dp, nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam,
                                     charge_spin, energy, force, force_mag, virial, atom_energy, atom_virial);
  } else if (nlist) {
    DP_DeepSpinModelDeviComputeNList2(dp, nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam,
                                     energy, force, force_mag, virial, atom_energy, atom_virial);
  } else if (charge_spin) {
    DP_DeepSpinModelDeviCompute3(dp, nframes, natoms, coord, spin, atype, cell, fparam, aparam, charge_spin, energy, force,
                                force_mag, virial, atom_energy, atom_virial);
  } else {
    DP_DeepSpinModelDeviCompute2(dp, nframes, natoms, coord, spin, atype, cell, fparam, aparam, energy, force, force_mag,
                                virial, atom_energy, atom_virial);
  }
}

/// One call of the C interface; a list of neighbours that is null is not given, and so are charges.
inline void spin_compute(DP_DeepSpin* dp, int nframes, int natoms, const float* coord, const float* spin, const int* atype, const float* cell,
                        int nghost, const DP_Nlist* nlist, int ago, const float* fparam, const float* aparam,
                        const float* charge_spin, double* energy, float* force, float* force_mag, float* virial, float* atom_energy,
                        float* atom_virial) {
  // without charges the older functions, which older libraries have
  if (nlist && charge_spin) {
    DP_DeepSpinComputeNListf3(dp, nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin,
                            energy, force, force_mag, virial, atom_energy, atom_virial);
  } else if (nlist) {
    DP_DeepSpinComputeNListf2(dp, nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam, energy,
                            force, force_mag, virial, atom_energy, atom_virial);
  } else if (charge_spin) {
    DP_DeepSpinComputef3(dp, nframes, natoms, coord, spin, atype, cell, fparam, aparam, charge_spin, energy, force, force_mag,
                       virial, atom_energy, atom_virial);
  } else {
    DP_DeepSpinComputef2(dp, nframes, natoms, coord, spin, atype, cell, fparam, aparam, energy, force, force_mag, virial,
                       atom_energy, atom_virial);
  }
}

inline void spin_compute(DP_DeepSpinModelDevi* dp, int nframes, int natoms, const float* coord, const float* spin, const int* atype,
                        const float* cell, int nghost, const DP_Nlist* nlist, int ago, const float* fparam,
                        const float* aparam, const float* charge_spin, double* energy, float* force, float* force_mag, float* virial,
                        float* atom_energy, float* atom_virial) {
  if (nlist && charge_spin) {
    DP_DeepSpinModelDeviComputeNListf3(dp, nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam,
                                     charge_spin, energy, force, force_mag, virial, atom_energy, atom_virial);
  } else if (nlist) {
    DP_DeepSpinModelDeviComputeNListf2(dp, nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam,
                                     energy, force, force_mag, virial, atom_energy, atom_virial);
  } else if (charge_spin) {
    DP_DeepSpinModelDeviComputef3(dp, nframes, natoms, coord, spin, atype, cell, fparam, aparam, charge_spin, energy, force,
                                force_mag, virial, atom_energy, atom_virial);
  } else {
    DP_DeepSpinModelDeviComputef2(dp, nframes, natoms, coord, spin, atype, cell, fparam, aparam, energy, force, force_mag,
                                virial, atom_energy, atom_virial);
  }
}

}  // namespace detail

/// A model of the energy of atoms with spins.
class DeepSpin : public DeepBaseModel {
 public:
  DeepSpin() = default;
  explicit DeepSpin(const std::string& model, const int& gpu_rank = 0, const std::string& file_content = "") {
    init(model, gpu_rank, file_content);
  }

  /// Open a file, or the bytes of one; the name tells its kind.
  void init(const std::string& model, const int& gpu_rank = 0, const std::string& file_content = "") {
    if (warned_of_second()) return;
    take(reinterpret_cast<DP_DeepBaseModel*>(
        DP_NewDeepSpinWithParam2(model.c_str(), gpu_rank, file_content.data(), static_cast<int>(file_content.size()))));
  }
  int dim_chg_spin() const { return DP_DeepSpinGetDimChgSpin(object()); }

  /// Totals; neighbours are found by the library.
  template <typename VALUETYPE, typename ENERGYVTYPE>
  void compute(ENERGYVTYPE& ener, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& force_mag,
               std::vector<VALUETYPE>& virial, const std::vector<VALUETYPE>& coord, const std::vector<VALUETYPE>& spin,
               const std::vector<int>& atype, const std::vector<VALUETYPE>& box,
               const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, force_mag, virial, (std::vector<VALUETYPE>*)nullptr, (std::vector<VALUETYPE>*)nullptr,
             coord, spin, atype, box, 0, nullptr, 0, fparam, aparam, charge_spin);
  }
  /// The same and what is of each atom.
  template <typename VALUETYPE, typename ENERGYVTYPE>
  void compute(ENERGYVTYPE& ener, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& force_mag,
               std::vector<VALUETYPE>& virial, std::vector<VALUETYPE>& atom_energy, std::vector<VALUETYPE>& atom_virial,
               const std::vector<VALUETYPE>& coord, const std::vector<VALUETYPE>& spin, const std::vector<int>& atype,
               const std::vector<VALUETYPE>& box, const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, force_mag, virial, &atom_energy, &atom_virial,
             coord, spin, atype, box, 0, nullptr, 0, fparam, aparam, charge_spin);
  }
  /// Totals; neighbours are those of the caller.
  template <typename VALUETYPE, typename ENERGYVTYPE>
  void compute(ENERGYVTYPE& ener, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& force_mag,
               std::vector<VALUETYPE>& virial, const std::vector<VALUETYPE>& coord, const std::vector<VALUETYPE>& spin,
               const std::vector<int>& atype, const std::vector<VALUETYPE>& box, const int nghost,
               const InputNlist& nlist, const int& ago, const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, force_mag, virial, (std::vector<VALUETYPE>*)nullptr, (std::vector<VALUETYPE>*)nullptr,
             coord, spin, atype, box, nghost, &nlist, ago, fparam, aparam, charge_spin);
  }
  /// The same and what is of each atom.
  template <typename VALUETYPE, typename ENERGYVTYPE>
  void compute(ENERGYVTYPE& ener, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& force_mag,
               std::vector<VALUETYPE>& virial, std::vector<VALUETYPE>& atom_energy, std::vector<VALUETYPE>& atom_virial,
               const std::vector<VALUETYPE>& coord, const std::vector<VALUETYPE>& spin, const std::vector<int>& atype,
               const std::vector<VALUETYPE>& box, const int nghost, const InputNlist& nlist, const int& ago,
               const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, force_mag, virial, &atom_energy, &atom_virial,
             coord, spin, atype, box, nghost, &nlist, ago, fparam, aparam, charge_spin);
  }

  DP_DeepSpin* object() const { return reinterpret_cast<DP_DeepSpin*>(base()); }

 private:
  template <typename VALUETYPE, typename ENERGYVTYPE>
  void evaluate(ENERGYVTYPE& ener, std::vector<VALUETYPE>& force, std::vector<VALUETYPE>& force_mag,
                std::vector<VALUETYPE>& virial, std::vector<VALUETYPE>* atom_energy,
                std::vector<VALUETYPE>* atom_virial, const std::vector<VALUETYPE>& coord,
                const std::vector<VALUETYPE>& spin, const std::vector<int>& atype, const std::vector<VALUETYPE>& box,
                int nghost, const InputNlist* nlist, int ago, const std::vector<VALUETYPE>& fparam,
                const std::vector<VALUETYPE>& aparam, const std::vector<VALUETYPE>& charge_spin) {
    const detail::Sizes sizes(coord, atype, box);
    const std::size_t nframes = sizes.nframes;
    double* energy = detail::energy_array(ener, sizes.nframes);
    force.resize(coord.size());
    force_mag.resize(coord.size());
    virial.resize(nframes * 9);
    if (atom_energy) atom_energy->resize(coord.size() / 3);
    if (atom_virial) atom_virial->resize(coord.size() * 3);
    const std::vector<VALUETYPE> frame_parameters = detail::repeated(fparam, nframes, dim_fparam());
    const std::vector<VALUETYPE> atom_parameters =
        detail::of_atoms(aparam, nframes, sizes.natoms - nghost, sizes.natoms, dim_aparam());
    const std::vector<VALUETYPE> charges = detail::repeated(charge_spin, nframes, charge_spin.empty() ? 0 : dim_chg_spin());
    detail::spin_compute(object(), sizes.nframes, sizes.natoms, coord.data(), spin.data(), atype.data(), detail::data(box), nghost,
                        nlist ? nlist->nl : nullptr, ago, detail::data(frame_parameters),
                        detail::data(atom_parameters), detail::data(charges), energy, force.data(), force_mag.data(), virial.data(),
                        atom_energy ? atom_energy->data() : nullptr, atom_virial ? atom_virial->data() : nullptr);
    check();
  }
};

/// Several models of the same system; outputs have one array for each.
class DeepSpinModelDevi : public DeepBaseModelDevi {
 public:
  DeepSpinModelDevi() = default;
  explicit DeepSpinModelDevi(const std::vector<std::string>& models) { init(models); }

  void init(const std::vector<std::string>& models, const int& gpu_rank = 0,
            const std::vector<std::string>& file_content = std::vector<std::string>()) {
    open(DP_NewDeepSpinModelDeviWithParam, models, gpu_rank, file_content);
  }
  int dim_chg_spin() const { return DP_DeepSpinModelDeviGetDimChgSpin(object()); }

  /// Totals; neighbours are found by the library.
  template <typename VALUETYPE>
  void compute(std::vector<double>& ener, std::vector<std::vector<VALUETYPE>>& force,
               std::vector<std::vector<VALUETYPE>>& force_mag, std::vector<std::vector<VALUETYPE>>& virial,
               const std::vector<VALUETYPE>& coord, const std::vector<VALUETYPE>& spin, const std::vector<int>& atype,
               const std::vector<VALUETYPE>& box, const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, force_mag, virial, (std::vector<std::vector<VALUETYPE>>*)nullptr, (std::vector<std::vector<VALUETYPE>>*)nullptr,
             coord, spin, atype, box, 0, nullptr, 0, fparam, aparam, charge_spin);
  }
  /// The same and what is of each atom.
  template <typename VALUETYPE>
  void compute(std::vector<double>& ener, std::vector<std::vector<VALUETYPE>>& force,
               std::vector<std::vector<VALUETYPE>>& force_mag, std::vector<std::vector<VALUETYPE>>& virial,
               std::vector<std::vector<VALUETYPE>>& atom_energy, std::vector<std::vector<VALUETYPE>>& atom_virial,
               const std::vector<VALUETYPE>& coord, const std::vector<VALUETYPE>& spin, const std::vector<int>& atype,
               const std::vector<VALUETYPE>& box, const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, force_mag, virial, &atom_energy, &atom_virial,
             coord, spin, atype, box, 0, nullptr, 0, fparam, aparam, charge_spin);
  }
  /// Totals; neighbours are those of the caller.
  template <typename VALUETYPE>
  void compute(std::vector<double>& ener, std::vector<std::vector<VALUETYPE>>& force,
               std::vector<std::vector<VALUETYPE>>& force_mag, std::vector<std::vector<VALUETYPE>>& virial,
               const std::vector<VALUETYPE>& coord, const std::vector<VALUETYPE>& spin, const std::vector<int>& atype,
               const std::vector<VALUETYPE>& box, const int nghost, const InputNlist& nlist, const int& ago,
               const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, force_mag, virial, (std::vector<std::vector<VALUETYPE>>*)nullptr, (std::vector<std::vector<VALUETYPE>>*)nullptr,
             coord, spin, atype, box, nghost, &nlist, ago, fparam, aparam, charge_spin);
  }
  /// The same and what is of each atom.
  template <typename VALUETYPE>
  void compute(std::vector<double>& ener, std::vector<std::vector<VALUETYPE>>& force,
               std::vector<std::vector<VALUETYPE>>& force_mag, std::vector<std::vector<VALUETYPE>>& virial,
               std::vector<std::vector<VALUETYPE>>& atom_energy, std::vector<std::vector<VALUETYPE>>& atom_virial,
               const std::vector<VALUETYPE>& coord, const std::vector<VALUETYPE>& spin, const std::vector<int>& atype,
               const std::vector<VALUETYPE>& box, const int nghost, const InputNlist& nlist, const int& ago,
               const std::vector<VALUETYPE>& fparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& aparam = std::vector<VALUETYPE>(),
               const std::vector<VALUETYPE>& charge_spin = std::vector<VALUETYPE>()) {
    evaluate(ener, force, force_mag, virial, &atom_energy, &atom_virial,
             coord, spin, atype, box, nghost, &nlist, ago, fparam, aparam, charge_spin);
  }

  DP_DeepSpinModelDevi* object() const { return reinterpret_cast<DP_DeepSpinModelDevi*>(base()); }

 private:
  template <typename VALUETYPE>
  void evaluate(std::vector<double>& ener, std::vector<std::vector<VALUETYPE>>& force,
                std::vector<std::vector<VALUETYPE>>& force_mag, std::vector<std::vector<VALUETYPE>>& virial,
                std::vector<std::vector<VALUETYPE>>* atom_energy, std::vector<std::vector<VALUETYPE>>* atom_virial,
                const std::vector<VALUETYPE>& coord, const std::vector<VALUETYPE>& spin, const std::vector<int>& atype,
                const std::vector<VALUETYPE>& box, int nghost, const InputNlist* nlist, int ago,
                const std::vector<VALUETYPE>& fparam, const std::vector<VALUETYPE>& aparam,
                const std::vector<VALUETYPE>& charge_spin) {
    const detail::Sizes sizes(coord, atype, box);
    const std::size_t models = numb_models(), n = atype.size();
    ener.resize(models);
    std::vector<VALUETYPE> forces(models * n * 3), virials(models * 9);
    std::vector<VALUETYPE> magnetic(models * n * 3);
    std::vector<VALUETYPE> energies(atom_energy ? models * n : 0), atom_virials(atom_virial ? models * n * 9 : 0);
    const std::vector<VALUETYPE> frame_parameters = detail::repeated(fparam, sizes.nframes, dim_fparam());
    const std::vector<VALUETYPE> atom_parameters =
        detail::of_atoms(aparam, sizes.nframes, sizes.natoms - nghost, sizes.natoms, dim_aparam());
    const std::vector<VALUETYPE> charges = detail::repeated(charge_spin, sizes.nframes, charge_spin.empty() ? 0 : dim_chg_spin());
    detail::spin_compute(object(), sizes.nframes, sizes.natoms, coord.data(), spin.data(), atype.data(), detail::data(box), nghost,
                        nlist ? nlist->nl : nullptr, ago, detail::data(frame_parameters),
                        detail::data(atom_parameters), detail::data(charges), ener.data(), forces.data(), magnetic.data(), virials.data(),
                        atom_energy ? energies.data() : nullptr, atom_virial ? atom_virials.data() : nullptr);
    check();
    detail::split_models(forces, models, force);
    detail::split_models(magnetic, models, force_mag);
    detail::split_models(virials, models, virial);
    if (atom_energy) detail::split_models(energies, models, *atom_energy);
    if (atom_virial) detail::split_models(atom_virials, models, *atom_virial);
  }
};

}  // namespace hpp
}  // namespace deepmd
