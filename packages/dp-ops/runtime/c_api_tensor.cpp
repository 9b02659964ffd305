// The C interface: tensors of atoms, and forces from Wannier centroids.
#include "deepmd/c_api.h"

#include "c_api_help.h"

using namespace dp;

DP_DeepTensor* DP_NewDeepTensor(const char* c_model) {
  return reinterpret_cast<DP_DeepTensor*>(open_models(Kind::tensor, &c_model, 1, 0, nullptr, nullptr));
}

DP_DeepTensor* DP_NewDeepTensorWithParam(const char* c_model, const int gpu_rank, const char*) {
  return reinterpret_cast<DP_DeepTensor*>(open_models(Kind::tensor, &c_model, 1, gpu_rank, nullptr, nullptr));
}

void DP_DeleteDeepTensor(DP_DeepTensor* dt) {
  delete_handle(dt);
}

void DP_DeepTensorComputeTensor(DP_DeepTensor* dt, const int natoms, const double* coord, const int* atype,
                                const double* cell, double** tensor, int* size) {
  tensors<double>(dt, natoms, coord, atype, cell, 0, nullptr, nullptr, nullptr, nullptr, tensor, nullptr, size);
}

void DP_DeepTensorComputeTensorf(DP_DeepTensor* dt, const int natoms, const float* coord, const int* atype,
                                 const float* cell, float** tensor, int* size) {
  tensors<float>(dt, natoms, coord, atype, cell, 0, nullptr, nullptr, nullptr, nullptr, tensor, nullptr, size);
}

void DP_DeepTensorComputeTensorNList(DP_DeepTensor* dt, const int natoms, const double* coord, const int* atype,
                                     const double* cell, const int nghost, const DP_Nlist* nlist, double** tensor,
                                     int* size) {
  listed_tensors<double>(dt, natoms, coord, atype, cell, nghost, nlist, nullptr, nullptr, nullptr, tensor, nullptr, size);
}

void DP_DeepTensorComputeTensorNListf(DP_DeepTensor* dt, const int natoms, const float* coord, const int* atype,
                                      const float* cell, const int nghost, const DP_Nlist* nlist, float** tensor,
                                      int* size) {
  listed_tensors<float>(dt, natoms, coord, atype, cell, nghost, nlist, nullptr, nullptr, nullptr, tensor, nullptr, size);
}

void DP_DeepTensorCompute(DP_DeepTensor* dt, const int natoms, const double* coord, const int* atype,
                          const double* cell, double* global_tensor, double* force, double* virial,
                          double** atomic_tensor, double* atomic_virial, int* size_at) {
  tensors<double>(dt, natoms, coord, atype, cell, 0, nullptr, global_tensor, force, virial, atomic_tensor,
                  atomic_virial, size_at);
}

void DP_DeepTensorComputef(DP_DeepTensor* dt, const int natoms, const float* coord, const int* atype, const float* cell,
                           float* global_tensor, float* force, float* virial, float** atomic_tensor,
                           float* atomic_virial, int* size_at) {
  tensors<float>(dt, natoms, coord, atype, cell, 0, nullptr, global_tensor, force, virial, atomic_tensor, atomic_virial,
                 size_at);
}

void DP_DeepTensorComputeNList(DP_DeepTensor* dt, const int natoms, const double* coord, const int* atype,
                               const double* cell, const int nghost, const DP_Nlist* nlist, double* global_tensor,
                               double* force, double* virial, double** atomic_tensor, double* atomic_virial,
                               int* size_at) {
  listed_tensors<double>(dt, natoms, coord, atype, cell, nghost, nlist, global_tensor, force, virial, atomic_tensor,
                  atomic_virial, size_at);
}

void DP_DeepTensorComputeNListf(DP_DeepTensor* dt, const int natoms, const float* coord, const int* atype,
                                const float* cell, const int nghost, const DP_Nlist* nlist, float* global_tensor,
                                float* force, float* virial, float** atomic_tensor, float* atomic_virial,
                                int* size_at) {
  listed_tensors<float>(dt, natoms, coord, atype, cell, nghost, nlist, global_tensor, force, virial, atomic_tensor,
                 atomic_virial, size_at);
}

double DP_DeepTensorGetCutoff(DP_DeepTensor* dt) {
  return asked(dt, 0.0, [](const Model& m) { return m.record().rcut; });
}

int DP_DeepTensorGetNumbTypes(DP_DeepTensor* dt) {
  return asked(dt, 0, [](const Model& m) { return m.ntypes(); });
}

int DP_DeepTensorGetOutputDim(DP_DeepTensor* dt) {
  return asked(dt, 0, [](const Model& m) { return m.components(); });
}

int* DP_DeepTensorGetSelTypes(DP_DeepTensor* dt) {
  Handle* h = handle_of(dt);
  return h ? h->selected_types.data() : nullptr;
}

int DP_DeepTensorGetNumbSelTypes(DP_DeepTensor* dt) {
  const Handle* h = handle_of(dt);
  return h ? static_cast<int>(h->selected_types.size()) : 0;
}

const char* DP_DeepTensorGetTypeMap(DP_DeepTensor* dt) {
  return copied(asked(dt, std::string(), [](const Model& m) { return m.type_map(); }));
}

const char* DP_DeepTensorCheckOK(DP_DeepTensor* dt) {
  return message_of(dt);
}

DP_DipoleChargeModifier* DP_NewDipoleChargeModifier(const char* c_model) {
  return reinterpret_cast<DP_DipoleChargeModifier*>(open_models(Kind::dipole, &c_model, 1, 0, nullptr, nullptr));
}

DP_DipoleChargeModifier* DP_NewDipoleChargeModifierWithParam(const char* c_model, const int gpu_rank, const char*) {
  return reinterpret_cast<DP_DipoleChargeModifier*>(open_models(Kind::dipole, &c_model, 1, gpu_rank, nullptr, nullptr));
}

void DP_DeleteDipoleChargeModifier(DP_DipoleChargeModifier* dcm) {
  delete_handle(dcm);
}

void DP_DipoleChargeModifierComputeNList(DP_DipoleChargeModifier* dcm, const int natoms, const double* coord,
                                         const int* atype, const double* cell, const int* pairs, const int npairs,
                                         const double* delef_, const int nghost, const DP_Nlist* nlist, double* dfcorr_,
                                         double* dvcorr_) {
  guarded(dcm, [&](Handle& h) {
    const Inputs<double> inputs = frame_of<double>(natoms, coord, atype, cell, nghost, nlist);
    compute_charge_forces(h, inputs, pairs, npairs, delef_, dfcorr_, dvcorr_);
  });
}

void DP_DipoleChargeModifierComputeNListf(DP_DipoleChargeModifier* dcm, const int natoms, const float* coord,
                                          const int* atype, const float* cell, const int* pairs, const int npairs,
                                          const float* delef_, const int nghost, const DP_Nlist* nlist, float* dfcorr_,
                                          float* dvcorr_) {
  guarded(dcm, [&](Handle& h) {
    const Inputs<float> inputs = frame_of<float>(natoms, coord, atype, cell, nghost, nlist);
    compute_charge_forces(h, inputs, pairs, npairs, delef_, dfcorr_, dvcorr_);
  });
}

double DP_DipoleChargeModifierGetCutoff(DP_DipoleChargeModifier* dcm) {
  return asked(dcm, 0.0, [](const Model& m) { return m.record().rcut; });
}

int DP_DipoleChargeModifierGetNumbTypes(DP_DipoleChargeModifier* dcm) {
  return asked(dcm, 0, [](const Model& m) { return m.ntypes(); });
}

int* DP_DipoleChargeModifierGetSelTypes(DP_DipoleChargeModifier* dcm) {
  Handle* h = handle_of(dcm);
  return h ? h->selected_types.data() : nullptr;
}

int DP_DipoleChargeModifierGetNumbSelTypes(DP_DipoleChargeModifier* dcm) {
  const Handle* h = handle_of(dcm);
  return h ? static_cast<int>(h->selected_types.size()) : 0;
}

const char* DP_DipoleChargeModifierCheckOK(DP_DipoleChargeModifier* dcm) {
  return message_of(dcm);
}
