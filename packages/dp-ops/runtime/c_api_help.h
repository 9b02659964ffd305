// What the files of the C interface share.
#pragma once

#include <string>

#include "compute.h"

namespace dp {

inline constexpr const char* kNoEdges = "This library does not compute on edges in the memory of a graphics processor.";

/// An object with a message in place of a model.
inline Handle* failed(const std::string& message) {
  Handle* handle = new (std::nothrow) Handle;
  guarded(handle, [&](Handle&) { throw Error(message); });
  return handle;
}

inline const char* message_of(const void* object) {
  const Handle* handle = handle_of(object);
  return copied(handle ? handle->message : "There is no object, or it was freed.");
}

template <class T>
void energies(const void* object, const Inputs<T>& inputs, const Outputs<T>& outputs) {
  guarded(object, [&](Handle& handle) { compute_energies(handle, inputs, outputs); });
}

inline void need_list(const DP_Nlist* list) {
  if (!list) throw Error("There is no neighbour list. Call the function without a list to have neighbours found.");
}

/// The same where the caller has to give a neighbour list.
template <class T>
void listed_energies(const void* object, const Inputs<T>& inputs, const Outputs<T>& outputs) {
  guarded(object, [&](Handle& handle) {
    need_list(inputs.nlist);
    compute_energies(handle, inputs, outputs);
  });
}

/// One frame, with a neighbour list that is read in every call.
template <class T>
Inputs<T> frame_of(int natoms, const T* coord, const int* types, const T* cell, int nghost, const DP_Nlist* nlist) {
  return {1, natoms, coord, nullptr, types, cell, nghost, nlist, 0, nullptr, nullptr, nullptr};
}

template <class T>
void tensors(const void* object, int natoms, const T* coord, const int* types, const T* cell, int nghost,
             const DP_Nlist* nlist, T* total, T* force, T* virial, T** atomic, T* atomic_virial, int* size) {
  guarded(object, [&](Handle& handle) {
    const Inputs<T> inputs = frame_of(natoms, coord, types, cell, nghost, nlist);
    compute_tensor(handle, inputs, total, force, virial, atomic, atomic_virial, size);
  });
}

/// The same where the caller has to give a neighbour list.
template <class T>
void listed_tensors(const void* object, int natoms, const T* coord, const int* types, const T* cell, int nghost,
                    const DP_Nlist* nlist, T* total, T* force, T* virial, T** atomic, T* atomic_virial, int* size) {
  guarded(object, [&](Handle& handle) {
    need_list(nlist);
    const Inputs<T> inputs = frame_of(natoms, coord, types, cell, nghost, nlist);
    compute_tensor(handle, inputs, total, force, virial, atomic, atomic_virial, size);
  });
}

}  // namespace dp
