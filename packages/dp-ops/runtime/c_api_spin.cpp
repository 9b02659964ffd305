// The C interface: potentials of atoms with spins, one or several.
#include "deepmd/c_api.h"

#include "c_api_help.h"

using namespace dp;

DP_DeepSpin* DP_NewDeepSpin(const char* c_model) {
  return reinterpret_cast<DP_DeepSpin*>(open_models(Kind::spin, &c_model, 1, 0, nullptr, nullptr));
}

DP_DeepSpin* DP_NewDeepSpinWithParam2(const char* c_model, const int gpu_rank, const char* c_file_content,
                                      const int size_file_content) {
  return reinterpret_cast<DP_DeepSpin*>(open_models(Kind::spin, &c_model, 1, gpu_rank, &c_file_content,
                                        &size_file_content));
}

void DP_DeleteDeepSpin(DP_DeepSpin* dp) {
  delete_handle(dp);
}

void DP_DeepSpinCompute2(DP_DeepSpin* dp, const int nframes, const int natoms, const double* coord, const double* spin,
                         const int* atype, const double* cell, const double* fparam, const double* aparam,
                         double* energy, double* force, double* force_mag, double* virial, double* atomic_energy,
                         double* atomic_virial) {
  energies<double>(dp, {nframes, natoms, coord, spin, atype, cell, 0, nullptr, 0, fparam, aparam, nullptr},
                   {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinComputef2(DP_DeepSpin* dp, const int nframes, const int natoms, const float* coord, const float* spin,
                          const int* atype, const float* cell, const float* fparam, const float* aparam, double* energy,
                          float* force, float* force_mag, float* virial, float* atomic_energy, float* atomic_virial) {
  energies<float>(dp, {nframes, natoms, coord, spin, atype, cell, 0, nullptr, 0, fparam, aparam, nullptr},
                  {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinCompute3(DP_DeepSpin* dp, const int nframes, const int natoms, const double* coord, const double* spin,
                         const int* atype, const double* cell, const double* fparam, const double* aparam,
                         const double* charge_spin, double* energy, double* force, double* force_mag, double* virial,
                         double* atomic_energy, double* atomic_virial) {
  energies<double>(dp, {nframes, natoms, coord, spin, atype, cell, 0, nullptr, 0, fparam, aparam, charge_spin},
                   {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinComputef3(DP_DeepSpin* dp, const int nframes, const int natoms, const float* coord, const float* spin,
                          const int* atype, const float* cell, const float* fparam, const float* aparam,
                          const float* charge_spin, double* energy, float* force, float* force_mag, float* virial,
                          float* atomic_energy, float* atomic_virial) {
  energies<float>(dp, {nframes, natoms, coord, spin, atype, cell, 0, nullptr, 0, fparam, aparam, charge_spin},
                  {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinComputeNList2(DP_DeepSpin* dp, const int nframes, const int natoms, const double* coord,
                              const double* spin, const int* atype, const double* cell, const int nghost,
                              const DP_Nlist* nlist, const int ago, const double* fparam, const double* aparam,
                              double* energy, double* force, double* force_mag, double* virial, double* atomic_energy,
                              double* atomic_virial) {
  listed_energies<double>(dp, {nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam, nullptr},
                          {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinComputeNListf2(DP_DeepSpin* dp, const int nframes, const int natoms, const float* coord,
                               const float* spin, const int* atype, const float* cell, const int nghost,
                               const DP_Nlist* nlist, const int ago, const float* fparam, const float* aparam,
                               double* energy, float* force, float* force_mag, float* virial, float* atomic_energy,
                               float* atomic_virial) {
  listed_energies<float>(dp, {nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam, nullptr},
                         {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinComputeNList3(DP_DeepSpin* dp, const int nframes, const int natoms, const double* coord,
                              const double* spin, const int* atype, const double* cell, const int nghost,
                              const DP_Nlist* nlist, const int ago, const double* fparam, const double* aparam,
                              const double* charge_spin, double* energy, double* force, double* force_mag,
                              double* virial, double* atomic_energy, double* atomic_virial) {
  listed_energies<double>(dp, {nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin},
                          {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinComputeNListf3(DP_DeepSpin* dp, const int nframes, const int natoms, const float* coord,
                               const float* spin, const int* atype, const float* cell, const int nghost,
                               const DP_Nlist* nlist, const int ago, const float* fparam, const float* aparam,
                               const float* charge_spin, double* energy, float* force, float* force_mag, float* virial,
                               float* atomic_energy, float* atomic_virial) {
  listed_energies<float>(dp, {nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin},
                         {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

double DP_DeepSpinGetCutoff(DP_DeepSpin* dp) {
  return asked(dp, 0.0, [](const Model& m) { return m.record().rcut; });
}

int DP_DeepSpinGetNumbTypes(DP_DeepSpin* dp) {
  return asked(dp, 0, [](const Model& m) { return m.ntypes(); });
}

int DP_DeepSpinGetNumbTypesSpin(DP_DeepSpin* dp) {
  return asked(dp, 0, [](const Model& m) { return m.spin_types(); });
}

int DP_DeepSpinGetDimFParam(DP_DeepSpin* dp) {
  return asked(dp, 0, [](const Model& m) { return m.dim_fparam(); });
}

int DP_DeepSpinGetDimAParam(DP_DeepSpin* dp) {
  return asked(dp, 0, [](const Model& m) { return static_cast<int>(m.record().numb_aparam); });
}

int DP_DeepSpinGetDimChgSpin(DP_DeepSpin* dp) {
  return asked(dp, 0, [](const Model& m) { return static_cast<int>(m.record().dim_chg_spin); });
}

bool DP_DeepSpinIsAParamNAll(DP_DeepSpin*) {
  return false;
}

bool DP_DeepSpinHasDefaultFParam(DP_DeepSpin* dp) {
  return asked(dp, false, [](const Model& m) { return m.has_default_fparam(); });
}

const char* DP_DeepSpinGetTypeMap(DP_DeepSpin* dp) {
  return copied(asked(dp, std::string(), [](const Model& m) { return m.type_map(); }));
}

const char* DP_DeepSpinCheckOK(DP_DeepSpin* dp) {
  return message_of(dp);
}

void DP_DeepSpinSetChargeSpin(DP_DeepSpin* dp, const double* charge_spin, int size) {
  guarded(dp, [&](Handle& h) {
    for (const auto& model : h.models) model->set_charge_spin(charge_spin, size);
  });
}

bool DP_DeepSpinUsesNativeSpinScheme(DP_DeepSpin*) {
  return false;
}

void DP_DeepSpinComputeCanonicalGraphGPU(DP_DeepSpin* dp, double*, double*, double*, double*, const int64_t*,
                                         const uint32_t*, const float*, const int64_t*, const int64_t*, const uint32_t*,
                                         const float*, int, int, int64_t) {
  guarded(dp, [](Handle&) { throw Error(kNoEdges); });
}

bool DP_DeepSpinUsesCanonicalGraphInference(DP_DeepSpin*) {
  return false;
}

DP_DeepSpinModelDevi* DP_NewDeepSpinModelDevi(const char** c_models, int n_models) {
  return reinterpret_cast<DP_DeepSpinModelDevi*>(open_models(Kind::spin, c_models, n_models, 0, nullptr, nullptr));
}

DP_DeepSpinModelDevi* DP_NewDeepSpinModelDeviWithParam(const char** c_model, const int n_models, const int gpu_rank,
                                                       const char** c_file_contents, const int n_file_contents,
                                                       const int* size_file_contents) {
  const bool given = n_file_contents > 0;
  if (given && n_file_contents != n_models) {
    return reinterpret_cast<DP_DeepSpinModelDevi*>(failed("As many contents of files are needed as models."));
  }
  return reinterpret_cast<DP_DeepSpinModelDevi*>(open_models(Kind::spin, c_model, n_models, gpu_rank, given ? c_file_contents : nullptr,
                                                               given ? size_file_contents : nullptr));
}

void DP_DeleteDeepSpinModelDevi(DP_DeepSpinModelDevi* dp) {
  delete_handle(dp);
}

void DP_DeepSpinModelDeviCompute2(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms, const double* coord,
                                  const double* spin, const int* atype, const double* cell, const double* fparam,
                                  const double* aparam, double* energy, double* force, double* force_mag,
                                  double* virial, double* atomic_energy, double* atomic_virial) {
  energies<double>(dp, {nframes, natoms, coord, spin, atype, cell, 0, nullptr, 0, fparam, aparam, nullptr},
                   {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinModelDeviComputef2(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms, const float* coord,
                                   const float* spin, const int* atype, const float* cell, const float* fparam,
                                   const float* aparam, double* energy, float* force, float* force_mag, float* virial,
                                   float* atomic_energy, float* atomic_virial) {
  energies<float>(dp, {nframes, natoms, coord, spin, atype, cell, 0, nullptr, 0, fparam, aparam, nullptr},
                  {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinModelDeviCompute3(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms, const double* coord,
                                  const double* spin, const int* atype, const double* cell, const double* fparam,
                                  const double* aparam, const double* charge_spin, double* energy, double* force,
                                  double* force_mag, double* virial, double* atomic_energy, double* atomic_virial) {
  energies<double>(dp, {nframes, natoms, coord, spin, atype, cell, 0, nullptr, 0, fparam, aparam, charge_spin},
                   {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinModelDeviComputef3(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms, const float* coord,
                                   const float* spin, const int* atype, const float* cell, const float* fparam,
                                   const float* aparam, const float* charge_spin, double* energy, float* force,
                                   float* force_mag, float* virial, float* atomic_energy, float* atomic_virial) {
  energies<float>(dp, {nframes, natoms, coord, spin, atype, cell, 0, nullptr, 0, fparam, aparam, charge_spin},
                  {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinModelDeviComputeNList2(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms,
                                       const double* coord, const double* spin, const int* atype, const double* cell,
                                       const int nghost, const DP_Nlist* nlist, const int ago, const double* fparam,
                                       const double* aparam, double* energy, double* force, double* force_mag,
                                       double* virial, double* atomic_energy, double* atomic_virial) {
  listed_energies<double>(dp, {nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam, nullptr},
                          {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinModelDeviComputeNListf2(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms,
                                        const float* coord, const float* spin, const int* atype, const float* cell,
                                        const int nghost, const DP_Nlist* nlist, const int ago, const float* fparam,
                                        const float* aparam, double* energy, float* force, float* force_mag,
                                        float* virial, float* atomic_energy, float* atomic_virial) {
  listed_energies<float>(dp, {nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam, nullptr},
                         {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinModelDeviComputeNList3(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms,
                                       const double* coord, const double* spin, const int* atype, const double* cell,
                                       const int nghost, const DP_Nlist* nlist, const int ago, const double* fparam,
                                       const double* aparam, const double* charge_spin, double* energy, double* force,
                                       double* force_mag, double* virial, double* atomic_energy,
                                       double* atomic_virial) {
  listed_energies<double>(dp, {nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin},
                          {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

void DP_DeepSpinModelDeviComputeNListf3(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms,
                                        const float* coord, const float* spin, const int* atype, const float* cell,
                                        const int nghost, const DP_Nlist* nlist, const int ago, const float* fparam,
                                        const float* aparam, const float* charge_spin, double* energy, float* force,
                                        float* force_mag, float* virial, float* atomic_energy, float* atomic_virial) {
  listed_energies<float>(dp, {nframes, natoms, coord, spin, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin},
                         {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}

double DP_DeepSpinModelDeviGetCutoff(DP_DeepSpinModelDevi* dp) {
  return asked(dp, 0.0, [](const Model& m) { return m.record().rcut; });
}

int DP_DeepSpinModelDeviGetNumbTypes(DP_DeepSpinModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return m.ntypes(); });
}

int DP_DeepSpinModelDeviGetNumbTypesSpin(DP_DeepSpinModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return m.spin_types(); });
}

int DP_DeepSpinModelDeviGetDimFParam(DP_DeepSpinModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return m.dim_fparam(); });
}

int DP_DeepSpinModelDeviGetDimAParam(DP_DeepSpinModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return static_cast<int>(m.record().numb_aparam); });
}

int DP_DeepSpinModelDeviGetDimChgSpin(DP_DeepSpinModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return static_cast<int>(m.record().dim_chg_spin); });
}

bool DP_DeepSpinModelDeviIsAParamNAll(DP_DeepSpinModelDevi*) {
  return false;
}

bool DP_DeepSpinModelDeviHasDefaultFParam(DP_DeepSpinModelDevi* dp) {
  return asked(dp, false, [](const Model& m) { return m.has_default_fparam(); });
}

const char* DP_DeepSpinModelDeviCheckOK(DP_DeepSpinModelDevi* dp) {
  return message_of(dp);
}

void DP_DeepSpinModelDeviSetChargeSpin(DP_DeepSpinModelDevi* dp, const double* charge_spin, int size) {
  guarded(dp, [&](Handle& h) {
    for (const auto& model : h.models) model->set_charge_spin(charge_spin, size);
  });
}

bool DP_DeepSpinPassesMessages(DP_DeepSpin* dp) {
  return asked(dp, false, [](const Model& m) { return m.record().message_passing; });
}

double DP_DeepSpinGetListCutoff(DP_DeepSpin* dp, const double max_spin) {
  return asked(dp, 0.0, [&](const Model& m) { return m.list_cutoff(max_spin); });
}

void DP_DeepSpinComputePart(DP_DeepSpin* dp, const int natoms, const double* coord, const double* spin, const int* atype,
                            const double* cell, const int first, const int count, const double* fparam,
                            const double* aparam, const double* charge_spin, double* energy, double* force,
                            double* force_mag, double* virial, double* atomic_energy, double* atomic_virial) {
  const Part part{false, first, count};
  energies<double>(dp, {1, natoms, coord, spin, atype, cell, 0, nullptr, 0, fparam, aparam, charge_spin, false, part},
                   {energy, force, force_mag, virial, atomic_energy, atomic_virial});
}
