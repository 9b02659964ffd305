// From the arrays of C callers to frames and back, in both precisions.
#pragma once

#include "handle.h"

namespace dp {

/// The inputs of a call, see include/deepmd/c_api.h.
template <class T>
struct Inputs {
  int nframes, natoms;
  const T* coord;
  const T* spin;
  const int* types;
  const T* cell;
  int nghost;
  const DP_Nlist* nlist;
  int ago;
  const T *fparam, *aparam, *charge_spin;
  bool mixed = false;  // types of each frame
  Part part;           // of the atoms, without neighbour list
};

/// Where outputs go; each may be null.
template <class T>
struct Outputs {
  double* energy;
  T *force, *force_mag, *virial, *atomic_energy, *atomic_virial;
};

/// Energies, forces and virials of frames, of one model or of several one after the other. Raises Error.
template <class T>
void compute_energies(Handle& handle, const Inputs<T>& inputs, const Outputs<T>& outputs);

/// Tensors of one frame; all pointers but `atomic` and `size` may be null. Raises Error.
template <class T>
void compute_tensor(Handle& handle, const Inputs<T>& inputs, T* total, T* force, T* virial, T** atomic, T* atomic_virial,
                    int* size);

/// Forces on atoms from the electric forces on their Wannier centroids. Raises Error.
template <class T>
void compute_charge_forces(Handle& handle, const Inputs<T>& inputs, const int* pairs, int npairs, const T* electric,
                           T* force, T* virial);

}  // namespace dp
