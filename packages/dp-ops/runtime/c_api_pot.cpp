// The C interface: potentials, one or several, and what they share with those of atoms with spins.
#include "deepmd/c_api.h"

#include "c_api_help.h"

using namespace dp;

DP_DeepPot* DP_NewDeepPot(const char* c_model) {
  return reinterpret_cast<DP_DeepPot*>(open_models(Kind::energy, &c_model, 1, 0, nullptr, nullptr));
}

DP_DeepPot* DP_NewDeepPotWithParam(const char* c_model, const int gpu_rank, const char* c_file_content) {
  if (c_file_content && *c_file_content) {
    return reinterpret_cast<DP_DeepPot*>(failed("The content of a file needs its size: call DP_NewDeepPotWithParam2."));
  }
  return reinterpret_cast<DP_DeepPot*>(open_models(Kind::energy, &c_model, 1, gpu_rank, nullptr, nullptr));
}

DP_DeepPot* DP_NewDeepPotWithParam2(const char* c_model, const int gpu_rank, const char* c_file_content,
                                    const int size_file_content) {
  return reinterpret_cast<DP_DeepPot*>(open_models(Kind::energy, &c_model, 1, gpu_rank, &c_file_content,
                                       &size_file_content));
}

void DP_DeleteDeepPot(DP_DeepPot* dp) {
  delete_handle(dp);
}

void DP_DeepPotCompute(DP_DeepPot* dp, const int natoms, const double* coord, const int* atype, const double* cell,
                       double* energy, double* force, double* virial, double* atomic_energy, double* atomic_virial) {
  energies<double>(dp, {1, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, nullptr, nullptr, nullptr},
                   {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotComputef(DP_DeepPot* dp, const int natoms, const float* coord, const int* atype, const float* cell,
                        double* energy, float* force, float* virial, float* atomic_energy, float* atomic_virial) {
  energies<float>(dp, {1, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, nullptr, nullptr, nullptr},
                  {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotCompute2(DP_DeepPot* dp, const int nframes, const int natoms, const double* coord, const int* atype,
                        const double* cell, const double* fparam, const double* aparam, double* energy, double* force,
                        double* virial, double* atomic_energy, double* atomic_virial) {
  energies<double>(dp, {nframes, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, fparam, aparam, nullptr},
                   {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotComputef2(DP_DeepPot* dp, const int nframes, const int natoms, const float* coord, const int* atype,
                         const float* cell, const float* fparam, const float* aparam, double* energy, float* force,
                         float* virial, float* atomic_energy, float* atomic_virial) {
  energies<float>(dp, {nframes, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, fparam, aparam, nullptr},
                  {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotCompute3(DP_DeepPot* dp, const int nframes, const int natoms, const double* coord, const int* atype,
                        const double* cell, const double* fparam, const double* aparam, const double* charge_spin,
                        double* energy, double* force, double* virial, double* atomic_energy, double* atomic_virial) {
  energies<double>(dp, {nframes, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, fparam, aparam, charge_spin},
                   {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotComputef3(DP_DeepPot* dp, const int nframes, const int natoms, const float* coord, const int* atype,
                         const float* cell, const float* fparam, const float* aparam, const float* charge_spin,
                         double* energy, float* force, float* virial, float* atomic_energy, float* atomic_virial) {
  energies<float>(dp, {nframes, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, fparam, aparam, charge_spin},
                  {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotComputeNList(DP_DeepPot* dp, const int natoms, const double* coord, const int* atype, const double* cell,
                            const int nghost, const DP_Nlist* nlist, const int ago, double* energy, double* force,
                            double* virial, double* atomic_energy, double* atomic_virial) {
  listed_energies<double>(dp, {1, natoms, coord, nullptr, atype, cell, nghost, nlist, ago, nullptr, nullptr, nullptr},
                          {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotComputeNListf(DP_DeepPot* dp, const int natoms, const float* coord, const int* atype, const float* cell,
                             const int nghost, const DP_Nlist* nlist, const int ago, double* energy, float* force,
                             float* virial, float* atomic_energy, float* atomic_virial) {
  listed_energies<float>(dp, {1, natoms, coord, nullptr, atype, cell, nghost, nlist, ago, nullptr, nullptr, nullptr},
                         {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotComputeNList2(DP_DeepPot* dp, const int nframes, const int natoms, const double* coord, const int* atype,
                             const double* cell, const int nghost, const DP_Nlist* nlist, const int ago,
                             const double* fparam, const double* aparam, double* energy, double* force, double* virial,
                             double* atomic_energy, double* atomic_virial) {
  listed_energies<double>(dp, {nframes, natoms, coord, nullptr, atype, cell, nghost, nlist, ago, fparam, aparam, nullptr},
                          {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotComputeNListf2(DP_DeepPot* dp, const int nframes, const int natoms, const float* coord, const int* atype,
                              const float* cell, const int nghost, const DP_Nlist* nlist, const int ago,
                              const float* fparam, const float* aparam, double* energy, float* force, float* virial,
                              float* atomic_energy, float* atomic_virial) {
  listed_energies<float>(dp, {nframes, natoms, coord, nullptr, atype, cell, nghost, nlist, ago, fparam, aparam, nullptr},
                         {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotComputeNList3(DP_DeepPot* dp, const int nframes, const int natoms, const double* coord, const int* atype,
                             const double* cell, const int nghost, const DP_Nlist* nlist, const int ago,
                             const double* fparam, const double* aparam, const double* charge_spin, double* energy,
                             double* force, double* virial, double* atomic_energy, double* atomic_virial) {
  listed_energies<double>(dp, {nframes, natoms, coord, nullptr, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin},
                          {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotComputeNListf3(DP_DeepPot* dp, const int nframes, const int natoms, const float* coord, const int* atype,
                              const float* cell, const int nghost, const DP_Nlist* nlist, const int ago,
                              const float* fparam, const float* aparam, const float* charge_spin, double* energy,
                              float* force, float* virial, float* atomic_energy, float* atomic_virial) {
  listed_energies<float>(dp, {nframes, natoms, coord, nullptr, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin},
                         {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotComputeMixedType(DP_DeepPot* dp, const int nframes, const int natoms, const double* coord,
                                const int* atype, const double* cell, const double* fparam, const double* aparam,
                                double* energy, double* force, double* virial, double* atomic_energy,
                                double* atomic_virial) {
  energies<double>(dp, {nframes, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, fparam, aparam, nullptr, true},
                   {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotComputeMixedTypef(DP_DeepPot* dp, const int nframes, const int natoms, const float* coord,
                                 const int* atype, const float* cell, const float* fparam, const float* aparam,
                                 double* energy, float* force, float* virial, float* atomic_energy,
                                 float* atomic_virial) {
  energies<float>(dp, {nframes, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, fparam, aparam, nullptr, true},
                  {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

double DP_DeepPotGetCutoff(DP_DeepPot* dp) {
  return asked(dp, 0.0, [](const Model& m) { return m.record().rcut; });
}

int DP_DeepPotGetNumbTypes(DP_DeepPot* dp) {
  return asked(dp, 0, [](const Model& m) { return m.ntypes(); });
}

int DP_DeepPotGetNumbTypesSpin(DP_DeepPot* dp) {
  return asked(dp, 0, [](const Model& m) { return m.spin_types(); });
}

int DP_DeepPotGetDimFParam(DP_DeepPot* dp) {
  return asked(dp, 0, [](const Model& m) { return m.dim_fparam(); });
}

int DP_DeepPotGetDimAParam(DP_DeepPot* dp) {
  return asked(dp, 0, [](const Model& m) { return static_cast<int>(m.record().numb_aparam); });
}

int DP_DeepPotGetDimChgSpin(DP_DeepPot* dp) {
  return asked(dp, 0, [](const Model& m) { return static_cast<int>(m.record().dim_chg_spin); });
}

bool DP_DeepPotIsAParamNAll(DP_DeepPot*) {
  return false;
}

bool DP_DeepPotHasDefaultFParam(DP_DeepPot* dp) {
  return asked(dp, false, [](const Model& m) { return m.has_default_fparam(); });
}

const char* DP_DeepPotGetTypeMap(DP_DeepPot* dp) {
  return copied(asked(dp, std::string(), [](const Model& m) { return m.type_map(); }));
}

const char* DP_DeepPotCheckOK(DP_DeepPot* dp) {
  return message_of(dp);
}

void DP_DeepPotSetChargeSpin(DP_DeepPot* dp, const double* charge_spin, int size) {
  guarded(dp, [&](Handle& h) {
    for (const auto& model : h.models) model->set_charge_spin(charge_spin, size);
  });
}

void DP_DeepPotComputeEdgesGPU(DP_DeepPot* dp, double*, double*, double*, const double*, const int*, const int*,
                               const double*, int, int, const double*, int64_t, const double*, int64_t, int,
                               const DP_Nlist*) {
  guarded(dp, [](Handle&) { throw Error(kNoEdges); });
}

void DP_DeepPotComputeEdgesGPUFloat32(DP_DeepPot* dp, double*, double*, double*, const double*, const int*, const int*,
                                      const float*, int, int, const double*, int64_t, const double*, int64_t, int,
                                      const DP_Nlist*) {
  guarded(dp, [](Handle&) { throw Error(kNoEdges); });
}

void DP_DeepPotComputeCanonicalGraphGPU(DP_DeepPot* dp, double*, double*, double*, const int64_t*, const uint32_t*,
                                        const float*, const int64_t*, const int64_t*, const uint32_t*, int, int,
                                        int64_t) {
  guarded(dp, [](Handle&) { throw Error(kNoEdges); });
}

bool DP_DeepPotSupportsDeviceEdgeInference(DP_DeepPot*) {
  return false;
}

bool DP_DeepPotUsesFP32EdgeVectors(DP_DeepPot*) {
  return false;
}

bool DP_DeepPotUsesCanonicalGraphInference(DP_DeepPot*) {
  return false;
}

DP_DeepPotModelDevi* DP_NewDeepPotModelDevi(const char** c_models, int n_models) {
  return reinterpret_cast<DP_DeepPotModelDevi*>(open_models(Kind::energy, c_models, n_models, 0, nullptr, nullptr));
}

DP_DeepPotModelDevi* DP_NewDeepPotModelDeviWithParam(const char** c_model, const int n_models, const int gpu_rank,
                                                     const char** c_file_contents, const int n_file_contents,
                                                     const int* size_file_contents) {
  const bool given = n_file_contents > 0;
  if (given && n_file_contents != n_models) {
    return reinterpret_cast<DP_DeepPotModelDevi*>(failed("As many contents of files are needed as models."));
  }
  return reinterpret_cast<DP_DeepPotModelDevi*>(open_models(Kind::energy, c_model, n_models, gpu_rank, given ? c_file_contents : nullptr,
                                                              given ? size_file_contents : nullptr));
}

void DP_DeleteDeepPotModelDevi(DP_DeepPotModelDevi* dp) {
  delete_handle(dp);
}

void DP_DeepPotModelDeviCompute(DP_DeepPotModelDevi* dp, const int natoms, const double* coord, const int* atype,
                                const double* cell, double* energy, double* force, double* virial,
                                double* atomic_energy, double* atomic_virial) {
  energies<double>(dp, {1, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, nullptr, nullptr, nullptr},
                   {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotModelDeviComputef(DP_DeepPotModelDevi* dp, const int natoms, const float* coord, const int* atype,
                                 const float* cell, double* energy, float* force, float* virial, float* atomic_energy,
                                 float* atomic_virial) {
  energies<float>(dp, {1, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, nullptr, nullptr, nullptr},
                  {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotModelDeviCompute2(DP_DeepPotModelDevi* dp, const int nframes, const int natoms, const double* coord,
                                 const int* atype, const double* cell, const double* fparam, const double* aparam,
                                 double* energy, double* force, double* virial, double* atomic_energy,
                                 double* atomic_virial) {
  energies<double>(dp, {nframes, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, fparam, aparam, nullptr},
                   {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotModelDeviComputef2(DP_DeepPotModelDevi* dp, const int nframes, const int natoms, const float* coord,
                                  const int* atype, const float* cell, const float* fparam, const float* aparam,
                                  double* energy, float* force, float* virial, float* atomic_energy,
                                  float* atomic_virial) {
  energies<float>(dp, {nframes, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, fparam, aparam, nullptr},
                  {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotModelDeviCompute3(DP_DeepPotModelDevi* dp, const int nframes, const int natoms, const double* coord,
                                 const int* atype, const double* cell, const double* fparam, const double* aparam,
                                 const double* charge_spin, double* energy, double* force, double* virial,
                                 double* atomic_energy, double* atomic_virial) {
  energies<double>(dp, {nframes, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, fparam, aparam, charge_spin},
                   {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotModelDeviComputef3(DP_DeepPotModelDevi* dp, const int nframes, const int natoms, const float* coord,
                                  const int* atype, const float* cell, const float* fparam, const float* aparam,
                                  const float* charge_spin, double* energy, float* force, float* virial,
                                  float* atomic_energy, float* atomic_virial) {
  energies<float>(dp, {nframes, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, fparam, aparam, charge_spin},
                  {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotModelDeviComputeNList(DP_DeepPotModelDevi* dp, const int natoms, const double* coord, const int* atype,
                                     const double* cell, const int nghost, const DP_Nlist* nlist, const int ago,
                                     double* energy, double* force, double* virial, double* atomic_energy,
                                     double* atomic_virial) {
  listed_energies<double>(dp, {1, natoms, coord, nullptr, atype, cell, nghost, nlist, ago, nullptr, nullptr, nullptr},
                          {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotModelDeviComputeNListf(DP_DeepPotModelDevi* dp, const int natoms, const float* coord, const int* atype,
                                      const float* cell, const int nghost, const DP_Nlist* nlist, const int ago,
                                      double* energy, float* force, float* virial, float* atomic_energy,
                                      float* atomic_virial) {
  listed_energies<float>(dp, {1, natoms, coord, nullptr, atype, cell, nghost, nlist, ago, nullptr, nullptr, nullptr},
                         {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotModelDeviComputeNList2(DP_DeepPotModelDevi* dp, const int nframes, const int natoms, const double* coord,
                                      const int* atype, const double* cell, const int nghost, const DP_Nlist* nlist,
                                      const int ago, const double* fparam, const double* aparam, double* energy,
                                      double* force, double* virial, double* atomic_energy, double* atomic_virial) {
  listed_energies<double>(dp, {nframes, natoms, coord, nullptr, atype, cell, nghost, nlist, ago, fparam, aparam, nullptr},
                          {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotModelDeviComputeNListf2(DP_DeepPotModelDevi* dp, const int nframes, const int natoms, const float* coord,
                                       const int* atype, const float* cell, const int nghost, const DP_Nlist* nlist,
                                       const int ago, const float* fparam, const float* aparam, double* energy,
                                       float* force, float* virial, float* atomic_energy, float* atomic_virial) {
  listed_energies<float>(dp, {nframes, natoms, coord, nullptr, atype, cell, nghost, nlist, ago, fparam, aparam, nullptr},
                         {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotModelDeviComputeNList3(DP_DeepPotModelDevi* dp, const int nframes, const int natoms, const double* coord,
                                      const int* atype, const double* cell, const int nghost, const DP_Nlist* nlist,
                                      const int ago, const double* fparam, const double* aparam,
                                      const double* charge_spin, double* energy, double* force, double* virial,
                                      double* atomic_energy, double* atomic_virial) {
  listed_energies<double>(dp, {nframes, natoms, coord, nullptr, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin},
                          {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

void DP_DeepPotModelDeviComputeNListf3(DP_DeepPotModelDevi* dp, const int nframes, const int natoms, const float* coord,
                                       const int* atype, const float* cell, const int nghost, const DP_Nlist* nlist,
                                       const int ago, const float* fparam, const float* aparam,
                                       const float* charge_spin, double* energy, float* force, float* virial,
                                       float* atomic_energy, float* atomic_virial) {
  listed_energies<float>(dp, {nframes, natoms, coord, nullptr, atype, cell, nghost, nlist, ago, fparam, aparam, charge_spin},
                         {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}

double DP_DeepPotModelDeviGetCutoff(DP_DeepPotModelDevi* dp) {
  return asked(dp, 0.0, [](const Model& m) { return m.record().rcut; });
}

int DP_DeepPotModelDeviGetNumbTypes(DP_DeepPotModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return m.ntypes(); });
}

int DP_DeepPotModelDeviGetNumbTypesSpin(DP_DeepPotModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return m.spin_types(); });
}

int DP_DeepPotModelDeviGetDimFParam(DP_DeepPotModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return m.dim_fparam(); });
}

int DP_DeepPotModelDeviGetDimAParam(DP_DeepPotModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return static_cast<int>(m.record().numb_aparam); });
}

int DP_DeepPotModelDeviGetDimChgSpin(DP_DeepPotModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return static_cast<int>(m.record().dim_chg_spin); });
}

bool DP_DeepPotModelDeviIsAParamNAll(DP_DeepPotModelDevi*) {
  return false;
}

bool DP_DeepPotModelDeviHasDefaultFParam(DP_DeepPotModelDevi* dp) {
  return asked(dp, false, [](const Model& m) { return m.has_default_fparam(); });
}

const char* DP_DeepPotModelDeviCheckOK(DP_DeepPotModelDevi* dp) {
  return message_of(dp);
}

void DP_DeepPotModelDeviSetChargeSpin(DP_DeepPotModelDevi* dp, const double* charge_spin, int size) {
  guarded(dp, [&](Handle& h) {
    for (const auto& model : h.models) model->set_charge_spin(charge_spin, size);
  });
}

void DP_DeleteDeepBaseModel(DP_DeepBaseModel* dp) {
  delete_handle(dp);
}

double DP_DeepBaseModelGetCutoff(DP_DeepBaseModel* dp) {
  return asked(dp, 0.0, [](const Model& m) { return m.record().rcut; });
}

int DP_DeepBaseModelGetNumbTypes(DP_DeepBaseModel* dp) {
  return asked(dp, 0, [](const Model& m) { return m.ntypes(); });
}

int DP_DeepBaseModelGetNumbTypesSpin(DP_DeepBaseModel* dp) {
  return asked(dp, 0, [](const Model& m) { return m.spin_types(); });
}

int DP_DeepBaseModelGetDimFParam(DP_DeepBaseModel* dp) {
  return asked(dp, 0, [](const Model& m) { return m.dim_fparam(); });
}

int DP_DeepBaseModelGetDimAParam(DP_DeepBaseModel* dp) {
  return asked(dp, 0, [](const Model& m) { return static_cast<int>(m.record().numb_aparam); });
}

bool DP_DeepBaseModelIsAParamNAll(DP_DeepBaseModel*) {
  return false;
}

bool DP_DeepBaseModelHasDefaultFParam(DP_DeepBaseModel* dp) {
  return asked(dp, false, [](const Model& m) { return m.has_default_fparam(); });
}

const char* DP_DeepBaseModelGetTypeMap(DP_DeepBaseModel* dp) {
  return copied(asked(dp, std::string(), [](const Model& m) { return m.type_map(); }));
}

const char* DP_DeepBaseModelCheckOK(DP_DeepBaseModel* dp) {
  return message_of(dp);
}

void DP_DeleteDeepBaseModelDevi(DP_DeepBaseModelDevi* dp) {
  delete_handle(dp);
}

double DP_DeepBaseModelDeviGetCutoff(DP_DeepBaseModelDevi* dp) {
  return asked(dp, 0.0, [](const Model& m) { return m.record().rcut; });
}

int DP_DeepBaseModelDeviGetNumbTypes(DP_DeepBaseModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return m.ntypes(); });
}

int DP_DeepBaseModelDeviGetNumbTypesSpin(DP_DeepBaseModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return m.spin_types(); });
}

int DP_DeepBaseModelDeviGetDimFParam(DP_DeepBaseModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return m.dim_fparam(); });
}

int DP_DeepBaseModelDeviGetDimAParam(DP_DeepBaseModelDevi* dp) {
  return asked(dp, 0, [](const Model& m) { return static_cast<int>(m.record().numb_aparam); });
}

bool DP_DeepBaseModelDeviIsAParamNAll(DP_DeepBaseModelDevi*) {
  return false;
}

bool DP_DeepBaseModelDeviHasDefaultFParam(DP_DeepBaseModelDevi* dp) {
  return asked(dp, false, [](const Model& m) { return m.has_default_fparam(); });
}

const char* DP_DeepBaseModelDeviCheckOK(DP_DeepBaseModelDevi* dp) {
  return message_of(dp);
}

bool DP_DeepPotPassesMessages(DP_DeepPot* dp) {
  return asked(dp, false, [](const Model& m) { return m.record().message_passing; });
}

void DP_DeepPotComputePart(DP_DeepPot* dp, const int natoms, const double* coord, const int* atype, const double* cell,
                           const int first, const int count, const double* fparam, const double* aparam,
                           const double* charge_spin, double* energy, double* force, double* virial,
                           double* atomic_energy, double* atomic_virial) {
  const Part part{false, first, count};
  energies<double>(dp, {1, natoms, coord, nullptr, atype, cell, 0, nullptr, 0, fparam, aparam, charge_spin, false, part},
                   {energy, force, nullptr, virial, atomic_energy, atomic_virial});
}
