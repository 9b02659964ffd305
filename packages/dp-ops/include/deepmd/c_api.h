/*
 * The C interface to models of dp.
 *
 * Units: coordinates and cells in Å, energies in eV, forces in eV/Å, virials in eV, spins in μB. Indices count from 0.
 *
 * Rules that hold for all functions
 *
 * - Objects are opaque. DP_New… never returns NULL: an object that could not be made holds the message that
 *   DP_…CheckOK returns. DP_Delete… of NULL does nothing.
 * - DP_…CheckOK returns "" if the last call with the object went well, else a message. Messages also go to stderr. A
 *   call that fails leaves its outputs as they were. No exception of C++ leaves the library.
 * - A text or block of bytes that a function returns belongs to the caller, who frees it with DP_DeleteChar.
 * - Functions of names that end in f, f2 or f3 take and give float in place of double; energies of frames stay double.
 * - Objects may be used from any thread, one call at a time; different objects at the same time.
 *
 * Parameters that many functions share
 *
 * nframes        number of frames, evaluated one after the other
 * natoms         atoms of a frame; with a neighbour list local atoms, which come first, and ghosts together
 * coord          (nframes, natoms, 3) positions, anywhere, not only inside of the cell
 * spin           (nframes, natoms, 3) magnetic moments
 * atype          (natoms) positions in the type map. Atoms of other types are virtual: they are left out, their outputs
 *                are 0
 * cell           (nframes, 9) lattice vectors as rows; NULL for open boundaries
 * nghost         how many of the atoms are ghosts
 * nlist          the neighbours of local atoms, see DP_NewNlist
 * ago            0 if the list, the types or the order of atoms changed since the last call with this object; otherwise
 *                only coordinates did, and the list of that call is used again
 * fparam         (nframes, dim_fparam) frame parameters; NULL where there are none, or for those of the model
 * aparam         (nframes, natoms, dim_aparam) atomic parameters, with a neighbour list of the local atoms alone unless
 *                …IsAParamNAll; NULL where there are none
 * charge_spin    (nframes, dim_chg_spin) total charge in e and multiplicity; NULL for those of the model
 * energy         (nframes) energies
 * force          (nframes, natoms, 3) −∂E/∂coord; ghosts get their part, which the caller adds to their owners
 * force_mag      (nframes, natoms, 3) −∂E/∂spin in eV/μB
 * virial         (nframes, 9) Σ force[a] · coord[b] over all atoms, row a, column b
 * atomic_energy  (nframes, natoms) parts of the energy
 * atomic_virial  (nframes, natoms, 9) parts of the virial, each with the neighbour that the force acts on
 *
 * Any output may be NULL and is then not written; atomic virials cost time only if they are asked for.
 */
#ifndef DEEPMD_C_API_H
#define DEEPMD_C_API_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#else
#include <stdbool.h>
#endif

/** Grows when functions are added. */
#define DP_C_API_VERSION 30

#if defined(_WIN32)
#define DP_API __declspec(dllexport)
#else
#define DP_API __attribute__((visibility("default")))
#endif

/* ---- Neighbour lists ---- */

/** Neighbours that the caller found. */
typedef struct DP_Nlist DP_Nlist;

/**
 * A full list of neighbours: each pair stands in the rows of both atoms, in any order; atoms beyond the cutoff may be in
 * it. Only pointers are kept: the arrays must live as long as computations with ago = 0 use the list.
 *
 * inum        number of rows
 * ilist       (inum) the central atom of each row; rows of ghosts are ignored
 * numneigh    by atom, how many neighbours it has
 * firstneigh  by atom, its neighbours
 */
DP_API DP_Nlist* DP_NewNlist(int inum, int* ilist, int* numneigh, int** firstneigh);

/**
 * The same, with the way in which ghosts follow their owners, for models that pass messages. Swap k takes place after
 * swap k − 1.
 *
 * nswap      number of swaps
 * sendnum    (nswap) how many atoms are sent
 * recvnum    not read: as many are received as are sent
 * firstrecv  (nswap) the first of these ghosts
 * sendlist   (nswap) the atoms that are sent
 * sendproc   not read
 * recvproc   not read
 * world      not read; nothing is sent between ranks
 * nprocs     its number of ranks
 */
DP_API DP_Nlist* DP_NewNlist_comm(int inum, int* ilist, int* numneigh, int** firstneigh, int nswap, int* sendnum,
                                  int* recvnum, int* firstrecv, int** sendlist, int* sendproc, int* recvproc,
                                  void* world, int nprocs);

/** Always "": what is wrong with a list is said by the call that reads it. */
DP_API const char* DP_NlistCheckOK(DP_Nlist* nlist);

/** Which bits of an entry of firstneigh are the number of an atom; all, unless this is called. */
DP_API void DP_NlistSetMask(DP_Nlist* nlist, int mask);

/** The local atom that each of natoms atoms is, or is a ghost of; for models that pass messages. */
DP_API void DP_NlistSetMapping(DP_Nlist* nlist, int* mapping);

/** Free a list. */
DP_API void DP_DeleteNlist(DP_Nlist* nlist);

/* ---- Potentials ---- */

/** A model of energies. */
typedef struct DP_DeepPot DP_DeepPot;

/** Open a model file of any kind. */
DP_API DP_DeepPot* DP_NewDeepPot(const char* c_model);
/**
 * The same on the graphics processor gpu_rank, if there is one. c_file_content must be NULL or empty; give bytes to
 * DP_NewDeepPotWithParam2.
 */
DP_API DP_DeepPot* DP_NewDeepPotWithParam(const char* c_model, const int gpu_rank, const char* c_file_content);
/**
 * c_file_content: size_file_content bytes of the file, read from c_model if the size is 0; the name still tells what
 * kind of file it is.
 */
DP_API DP_DeepPot* DP_NewDeepPotWithParam2(const char* c_model, const int gpu_rank, const char* c_file_content,
                                           const int size_file_content);
/** Free a potential. */
DP_API void DP_DeleteDeepPot(DP_DeepPot* dp);

/** One frame, neighbours found by the library. */
DP_API void DP_DeepPotCompute(DP_DeepPot* dp, const int natoms, const double* coord, const int* atype,
                              const double* cell, double* energy, double* force, double* virial, double* atomic_energy,
                              double* atomic_virial);
DP_API void DP_DeepPotComputef(DP_DeepPot* dp, const int natoms, const float* coord, const int* atype,
                               const float* cell, double* energy, float* force, float* virial, float* atomic_energy,
                               float* atomic_virial);
/** Frames with parameters, neighbours found by the library. */
DP_API void DP_DeepPotCompute2(DP_DeepPot* dp, const int nframes, const int natoms, const double* coord,
                               const int* atype, const double* cell, const double* fparam, const double* aparam,
                               double* energy, double* force, double* virial, double* atomic_energy,
                               double* atomic_virial);
DP_API void DP_DeepPotComputef2(DP_DeepPot* dp, const int nframes, const int natoms, const float* coord,
                                const int* atype, const float* cell, const float* fparam, const float* aparam,
                                double* energy, float* force, float* virial, float* atomic_energy,
                                float* atomic_virial);
/** Frames with parameters, charge and multiplicity, neighbours found by the library. */
DP_API void DP_DeepPotCompute3(DP_DeepPot* dp, const int nframes, const int natoms, const double* coord,
                               const int* atype, const double* cell, const double* fparam, const double* aparam,
                               const double* charge_spin, double* energy, double* force, double* virial,
                               double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepPotComputef3(DP_DeepPot* dp, const int nframes, const int natoms, const float* coord,
                                const int* atype, const float* cell, const float* fparam, const float* aparam,
                                const float* charge_spin, double* energy, float* force, float* virial,
                                float* atomic_energy, float* atomic_virial);
/** One frame, neighbours from the caller. */
DP_API void DP_DeepPotComputeNList(DP_DeepPot* dp, const int natoms, const double* coord, const int* atype,
                                   const double* cell, const int nghost, const DP_Nlist* nlist, const int ago,
                                   double* energy, double* force, double* virial, double* atomic_energy,
                                   double* atomic_virial);
DP_API void DP_DeepPotComputeNListf(DP_DeepPot* dp, const int natoms, const float* coord, const int* atype,
                                    const float* cell, const int nghost, const DP_Nlist* nlist, const int ago,
                                    double* energy, float* force, float* virial, float* atomic_energy,
                                    float* atomic_virial);
/** Frames with parameters, neighbours from the caller. */
DP_API void DP_DeepPotComputeNList2(DP_DeepPot* dp, const int nframes, const int natoms, const double* coord,
                                    const int* atype, const double* cell, const int nghost, const DP_Nlist* nlist,
                                    const int ago, const double* fparam, const double* aparam, double* energy,
                                    double* force, double* virial, double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepPotComputeNListf2(DP_DeepPot* dp, const int nframes, const int natoms, const float* coord,
                                     const int* atype, const float* cell, const int nghost, const DP_Nlist* nlist,
                                     const int ago, const float* fparam, const float* aparam, double* energy,
                                     float* force, float* virial, float* atomic_energy, float* atomic_virial);
/** Frames with parameters, charge and multiplicity, neighbours from the caller. */
DP_API void DP_DeepPotComputeNList3(DP_DeepPot* dp, const int nframes, const int natoms, const double* coord,
                                    const int* atype, const double* cell, const int nghost, const DP_Nlist* nlist,
                                    const int ago, const double* fparam, const double* aparam,
                                    const double* charge_spin, double* energy, double* force, double* virial,
                                    double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepPotComputeNListf3(DP_DeepPot* dp, const int nframes, const int natoms, const float* coord,
                                     const int* atype, const float* cell, const int nghost, const DP_Nlist* nlist,
                                     const int ago, const float* fparam, const float* aparam, const float* charge_spin,
                                     double* energy, float* force, float* virial, float* atomic_energy,
                                     float* atomic_virial);

/** Frames of different composition: atype is (nframes, natoms), −1 for places without an atom. */
DP_API void DP_DeepPotComputeMixedType(DP_DeepPot* dp, const int nframes, const int natoms, const double* coord,
                                       const int* atype, const double* cell, const double* fparam, const double* aparam,
                                       double* energy, double* force, double* virial, double* atomic_energy,
                                       double* atomic_virial);
DP_API void DP_DeepPotComputeMixedTypef(DP_DeepPot* dp, const int nframes, const int natoms, const float* coord,
                                        const int* atype, const float* cell, const float* fparam, const float* aparam,
                                        double* energy, float* force, float* virial, float* atomic_energy,
                                        float* atomic_virial);

/** Radius within which atoms are neighbours, Å. */
DP_API double DP_DeepPotGetCutoff(DP_DeepPot* dp);
/** Number of types. */
DP_API int DP_DeepPotGetNumbTypes(DP_DeepPot* dp);
/** Number of types that have a spin. */
DP_API int DP_DeepPotGetNumbTypesSpin(DP_DeepPot* dp);
/** Numbers of parameters of a frame. */
DP_API int DP_DeepPotGetDimFParam(DP_DeepPot* dp);
/** Numbers of parameters of an atom. */
DP_API int DP_DeepPotGetDimAParam(DP_DeepPot* dp);
/** 2 if the model depends on charge and multiplicity, else 0. */
DP_API int DP_DeepPotGetDimChgSpin(DP_DeepPot* dp);
/** Whether aparam beside a neighbour list is of all atoms, ghosts included. */
DP_API bool DP_DeepPotIsAParamNAll(DP_DeepPot* dp);
/** Whether fparam may be NULL although the model has frame parameters. */
DP_API bool DP_DeepPotHasDefaultFParam(DP_DeepPot* dp);
/** Names of the types, with blanks in between. */
DP_API const char* DP_DeepPotGetTypeMap(DP_DeepPot* dp);
/** The message of the last call, "" if it went well. */
DP_API const char* DP_DeepPotCheckOK(DP_DeepPot* dp);
/** Charge and multiplicity for all calls that give none; size numbers. */
DP_API void DP_DeepPotSetChargeSpin(DP_DeepPot* dp, const double* charge_spin, int size);

/**
 * Edges and outputs in the memory of a graphics processor. No engine of this library computes so: the function fails with
 * a message, and the questions below are answered with false.
 *
 * d_atom_energy, d_force, d_atom_virial  outputs of all nodes
 * d_coord, d_atype                       (nall_nodes, 3), (nall_nodes)
 * d_edge_index                           (2, nedge) neighbours, then central atoms
 * d_edge_vec                             (nedge, 3) coord of the neighbour − coord of the central atom
 * nloc, nedge, nall_nodes                numbers of local atoms, of edges, of all atoms
 * fparam, fparam_size, aparam, aparam_size  parameters, in plain memory
 * comm_nlist                             how ghosts follow their owners, or NULL
 */
DP_API void DP_DeepPotComputeEdgesGPU(DP_DeepPot* dp, double* d_atom_energy, double* d_force, double* d_atom_virial,
                                      const double* d_coord, const int* d_atype, const int* d_edge_index,
                                      const double* d_edge_vec, int nloc, int nedge, const double* fparam,
                                      int64_t fparam_size, const double* aparam, int64_t aparam_size, int nall_nodes,
                                      const DP_Nlist* comm_nlist);
DP_API void DP_DeepPotComputeEdgesGPUFloat32(DP_DeepPot* dp, double* d_atom_energy, double* d_force,
                                             double* d_atom_virial, const double* d_coord, const int* d_atype,
                                             const int* d_edge_index, const float* d_edge_vec, int nloc, int nedge,
                                             const double* fparam, int64_t fparam_size, const double* aparam,
                                             int64_t aparam_size, int nall_nodes, const DP_Nlist* comm_nlist);

/**
 * The same with edges sorted by central atom, and their order by neighbour.
 *
 * atom_energy, force, atom_virial  outputs of all nodes
 * atype                            (nall_nodes)
 * source, edge_vec                 (nedge), (nedge, 3)
 * destination_row_ptr              (nall_nodes + 1) where the edges of each central atom begin
 * source_row_ptr, source_order     (nall_nodes + 1), (nedge) the edges of each neighbour
 */
DP_API void DP_DeepPotComputeCanonicalGraphGPU(DP_DeepPot* dp, double* atom_energy, double* force, double* atom_virial,
                                               const int64_t* atype, const uint32_t* source, const float* edge_vec,
                                               const int64_t* destination_row_ptr, const int64_t* source_row_ptr,
                                               const uint32_t* source_order, int nloc, int nall_nodes, int64_t nedge);
/** Whether DP_DeepPotComputeEdgesGPU works. */
DP_API bool DP_DeepPotSupportsDeviceEdgeInference(DP_DeepPot* dp);
/** Whether DP_DeepPotComputeEdgesGPUFloat32 is the one to call. */
DP_API bool DP_DeepPotUsesFP32EdgeVectors(DP_DeepPot* dp);
/** Whether DP_DeepPotComputeCanonicalGraphGPU is the one to call. */
DP_API bool DP_DeepPotUsesCanonicalGraphInference(DP_DeepPot* dp);

/* ---- Potentials of atoms with spins ---- */

/** A model of energies that depend on spins. */
typedef struct DP_DeepSpin DP_DeepSpin;

/** Open a model file of any kind. */
DP_API DP_DeepSpin* DP_NewDeepSpin(const char* c_model);
/** As DP_NewDeepPotWithParam2. */
DP_API DP_DeepSpin* DP_NewDeepSpinWithParam2(const char* c_model, const int gpu_rank, const char* c_file_content,
                                             const int size_file_content);
/** Free a potential. */
DP_API void DP_DeleteDeepSpin(DP_DeepSpin* dp);

/** Frames with parameters, neighbours found by the library. */
DP_API void DP_DeepSpinCompute2(DP_DeepSpin* dp, const int nframes, const int natoms, const double* coord,
                                const double* spin, const int* atype, const double* cell, const double* fparam,
                                const double* aparam, double* energy, double* force, double* force_mag, double* virial,
                                double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepSpinComputef2(DP_DeepSpin* dp, const int nframes, const int natoms, const float* coord,
                                 const float* spin, const int* atype, const float* cell, const float* fparam,
                                 const float* aparam, double* energy, float* force, float* force_mag, float* virial,
                                 float* atomic_energy, float* atomic_virial);
/** Frames with parameters, charge and multiplicity, neighbours found by the library. */
DP_API void DP_DeepSpinCompute3(DP_DeepSpin* dp, const int nframes, const int natoms, const double* coord,
                                const double* spin, const int* atype, const double* cell, const double* fparam,
                                const double* aparam, const double* charge_spin, double* energy, double* force,
                                double* force_mag, double* virial, double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepSpinComputef3(DP_DeepSpin* dp, const int nframes, const int natoms, const float* coord,
                                 const float* spin, const int* atype, const float* cell, const float* fparam,
                                 const float* aparam, const float* charge_spin, double* energy, float* force,
                                 float* force_mag, float* virial, float* atomic_energy, float* atomic_virial);
/** Frames with parameters, neighbours from the caller. */
DP_API void DP_DeepSpinComputeNList2(DP_DeepSpin* dp, const int nframes, const int natoms, const double* coord,
                                     const double* spin, const int* atype, const double* cell, const int nghost,
                                     const DP_Nlist* nlist, const int ago, const double* fparam, const double* aparam,
                                     double* energy, double* force, double* force_mag, double* virial,
                                     double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepSpinComputeNListf2(DP_DeepSpin* dp, const int nframes, const int natoms, const float* coord,
                                      const float* spin, const int* atype, const float* cell, const int nghost,
                                      const DP_Nlist* nlist, const int ago, const float* fparam, const float* aparam,
                                      double* energy, float* force, float* force_mag, float* virial,
                                      float* atomic_energy, float* atomic_virial);
/** Frames with parameters, charge and multiplicity, neighbours from the caller. */
DP_API void DP_DeepSpinComputeNList3(DP_DeepSpin* dp, const int nframes, const int natoms, const double* coord,
                                     const double* spin, const int* atype, const double* cell, const int nghost,
                                     const DP_Nlist* nlist, const int ago, const double* fparam, const double* aparam,
                                     const double* charge_spin, double* energy, double* force, double* force_mag,
                                     double* virial, double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepSpinComputeNListf3(DP_DeepSpin* dp, const int nframes, const int natoms, const float* coord,
                                      const float* spin, const int* atype, const float* cell, const int nghost,
                                      const DP_Nlist* nlist, const int ago, const float* fparam, const float* aparam,
                                      const float* charge_spin, double* energy, float* force, float* force_mag,
                                      float* virial, float* atomic_energy, float* atomic_virial);

/** Radius within which atoms are neighbours, Å. */
DP_API double DP_DeepSpinGetCutoff(DP_DeepSpin* dp);
/** Number of types. */
DP_API int DP_DeepSpinGetNumbTypes(DP_DeepSpin* dp);
/** Number of types that have a spin. */
DP_API int DP_DeepSpinGetNumbTypesSpin(DP_DeepSpin* dp);
/** Numbers of parameters of a frame. */
DP_API int DP_DeepSpinGetDimFParam(DP_DeepSpin* dp);
/** Numbers of parameters of an atom. */
DP_API int DP_DeepSpinGetDimAParam(DP_DeepSpin* dp);
/** 2 if the model depends on charge and multiplicity, else 0. */
DP_API int DP_DeepSpinGetDimChgSpin(DP_DeepSpin* dp);
/** Whether aparam beside a neighbour list is of all atoms, ghosts included. */
DP_API bool DP_DeepSpinIsAParamNAll(DP_DeepSpin* dp);
/** Whether fparam may be NULL although the model has frame parameters. */
DP_API bool DP_DeepSpinHasDefaultFParam(DP_DeepSpin* dp);
/** Names of the types, with blanks in between. */
DP_API const char* DP_DeepSpinGetTypeMap(DP_DeepSpin* dp);
/** The message of the last call, "" if it went well. */
DP_API const char* DP_DeepSpinCheckOK(DP_DeepSpin* dp);
/** Charge and multiplicity for all calls that give none; size numbers. */
DP_API void DP_DeepSpinSetChargeSpin(DP_DeepSpin* dp, const double* charge_spin, int size);
/** Whether spins enter the model as they are, not as virtual atoms. */
DP_API bool DP_DeepSpinUsesNativeSpinScheme(DP_DeepSpin* dp);
/** As DP_DeepPotComputeCanonicalGraphGPU; spin: (nall_nodes, 3). */
DP_API void DP_DeepSpinComputeCanonicalGraphGPU(DP_DeepSpin* dp, double* atom_energy, double* force, double* force_mag,
                                                double* atom_virial, const int64_t* atype, const uint32_t* source,
                                                const float* edge_vec, const int64_t* destination_row_ptr,
                                                const int64_t* source_row_ptr, const uint32_t* source_order,
                                                const float* spin, int nloc, int nall_nodes, int64_t nedge);
/** Whether DP_DeepSpinComputeCanonicalGraphGPU works. */
DP_API bool DP_DeepSpinUsesCanonicalGraphInference(DP_DeepSpin* dp);

/* ---- Several models of the same system ---- */

/**
 * Models of the kind DP_DeepPot that agree in cutoff, number of types and parameters. Every output holds the models one
 * after the other: energy (n_models), force (n_models, natoms, 3), …; nframes must be 1.
 */
typedef struct DP_DeepPotModelDevi DP_DeepPotModelDevi;

/** Open model files. */
DP_API DP_DeepPotModelDevi* DP_NewDeepPotModelDevi(const char** c_models, int n_models);
/**
 * The same on a graphics processor, if there is one. c_file_contents, size_file_contents: bytes of the files, of
 * n_models or (n_file_contents 0) none.
 */
DP_API DP_DeepPotModelDevi* DP_NewDeepPotModelDeviWithParam(const char** c_model, const int n_models,
                                                            const int gpu_rank, const char** c_file_contents,
                                                            const int n_file_contents, const int* size_file_contents);
/** Free the models. */
DP_API void DP_DeleteDeepPotModelDevi(DP_DeepPotModelDevi* dp);

/** One frame, neighbours found by the library. */
DP_API void DP_DeepPotModelDeviCompute(DP_DeepPotModelDevi* dp, const int natoms, const double* coord, const int* atype,
                                       const double* cell, double* energy, double* force, double* virial,
                                       double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepPotModelDeviComputef(DP_DeepPotModelDevi* dp, const int natoms, const float* coord, const int* atype,
                                        const float* cell, double* energy, float* force, float* virial,
                                        float* atomic_energy, float* atomic_virial);
/** One frame with parameters, neighbours found by the library. */
DP_API void DP_DeepPotModelDeviCompute2(DP_DeepPotModelDevi* dp, const int nframes, const int natoms,
                                        const double* coord, const int* atype, const double* cell, const double* fparam,
                                        const double* aparam, double* energy, double* force, double* virial,
                                        double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepPotModelDeviComputef2(DP_DeepPotModelDevi* dp, const int nframes, const int natoms,
                                         const float* coord, const int* atype, const float* cell, const float* fparam,
                                         const float* aparam, double* energy, float* force, float* virial,
                                         float* atomic_energy, float* atomic_virial);
/** One frame with parameters, charge and multiplicity, neighbours found by the library. */
DP_API void DP_DeepPotModelDeviCompute3(DP_DeepPotModelDevi* dp, const int nframes, const int natoms,
                                        const double* coord, const int* atype, const double* cell, const double* fparam,
                                        const double* aparam, const double* charge_spin, double* energy, double* force,
                                        double* virial, double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepPotModelDeviComputef3(DP_DeepPotModelDevi* dp, const int nframes, const int natoms,
                                         const float* coord, const int* atype, const float* cell, const float* fparam,
                                         const float* aparam, const float* charge_spin, double* energy, float* force,
                                         float* virial, float* atomic_energy, float* atomic_virial);
/** One frame, neighbours from the caller. */
DP_API void DP_DeepPotModelDeviComputeNList(DP_DeepPotModelDevi* dp, const int natoms, const double* coord,
                                            const int* atype, const double* cell, const int nghost,
                                            const DP_Nlist* nlist, const int ago, double* energy, double* force,
                                            double* virial, double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepPotModelDeviComputeNListf(DP_DeepPotModelDevi* dp, const int natoms, const float* coord,
                                             const int* atype, const float* cell, const int nghost,
                                             const DP_Nlist* nlist, const int ago, double* energy, float* force,
                                             float* virial, float* atomic_energy, float* atomic_virial);
/** One frame with parameters, neighbours from the caller. */
DP_API void DP_DeepPotModelDeviComputeNList2(DP_DeepPotModelDevi* dp, const int nframes, const int natoms,
                                             const double* coord, const int* atype, const double* cell,
                                             const int nghost, const DP_Nlist* nlist, const int ago,
                                             const double* fparam, const double* aparam, double* energy, double* force,
                                             double* virial, double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepPotModelDeviComputeNListf2(DP_DeepPotModelDevi* dp, const int nframes, const int natoms,
                                              const float* coord, const int* atype, const float* cell, const int nghost,
                                              const DP_Nlist* nlist, const int ago, const float* fparam,
                                              const float* aparam, double* energy, float* force, float* virial,
                                              float* atomic_energy, float* atomic_virial);
/** One frame with parameters, charge and multiplicity, neighbours from the caller. */
DP_API void DP_DeepPotModelDeviComputeNList3(DP_DeepPotModelDevi* dp, const int nframes, const int natoms,
                                             const double* coord, const int* atype, const double* cell,
                                             const int nghost, const DP_Nlist* nlist, const int ago,
                                             const double* fparam, const double* aparam, const double* charge_spin,
                                             double* energy, double* force, double* virial, double* atomic_energy,
                                             double* atomic_virial);
DP_API void DP_DeepPotModelDeviComputeNListf3(DP_DeepPotModelDevi* dp, const int nframes, const int natoms,
                                              const float* coord, const int* atype, const float* cell, const int nghost,
                                              const DP_Nlist* nlist, const int ago, const float* fparam,
                                              const float* aparam, const float* charge_spin, double* energy,
                                              float* force, float* virial, float* atomic_energy, float* atomic_virial);

/** Radius within which atoms are neighbours, Å. */
DP_API double DP_DeepPotModelDeviGetCutoff(DP_DeepPotModelDevi* dp);
/** Number of types. */
DP_API int DP_DeepPotModelDeviGetNumbTypes(DP_DeepPotModelDevi* dp);
/** Number of types that have a spin. */
DP_API int DP_DeepPotModelDeviGetNumbTypesSpin(DP_DeepPotModelDevi* dp);
/** Numbers of parameters of a frame. */
DP_API int DP_DeepPotModelDeviGetDimFParam(DP_DeepPotModelDevi* dp);
/** Numbers of parameters of an atom. */
DP_API int DP_DeepPotModelDeviGetDimAParam(DP_DeepPotModelDevi* dp);
/** 2 if the model depends on charge and multiplicity, else 0. */
DP_API int DP_DeepPotModelDeviGetDimChgSpin(DP_DeepPotModelDevi* dp);
/** Whether aparam beside a neighbour list is of all atoms, ghosts included. */
DP_API bool DP_DeepPotModelDeviIsAParamNAll(DP_DeepPotModelDevi* dp);
/** Whether fparam may be NULL although the model has frame parameters. */
DP_API bool DP_DeepPotModelDeviHasDefaultFParam(DP_DeepPotModelDevi* dp);
/** The message of the last call, "" if it went well. */
DP_API const char* DP_DeepPotModelDeviCheckOK(DP_DeepPotModelDevi* dp);
/** Charge and multiplicity for all calls that give none; size numbers. */
DP_API void DP_DeepPotModelDeviSetChargeSpin(DP_DeepPotModelDevi* dp, const double* charge_spin, int size);

/**
 * Models of the kind DP_DeepSpin that agree in cutoff, number of types and parameters. Every output holds the models one
 * after the other: energy (n_models), force (n_models, natoms, 3), …; nframes must be 1.
 */
typedef struct DP_DeepSpinModelDevi DP_DeepSpinModelDevi;

/** Open model files. */
DP_API DP_DeepSpinModelDevi* DP_NewDeepSpinModelDevi(const char** c_models, int n_models);
/**
 * The same on a graphics processor, if there is one. c_file_contents, size_file_contents: bytes of the files, of
 * n_models or (n_file_contents 0) none.
 */
DP_API DP_DeepSpinModelDevi* DP_NewDeepSpinModelDeviWithParam(const char** c_model, const int n_models,
                                                              const int gpu_rank, const char** c_file_contents,
                                                              const int n_file_contents, const int* size_file_contents);
/** Free the models. */
DP_API void DP_DeleteDeepSpinModelDevi(DP_DeepSpinModelDevi* dp);

/** One frame with parameters, neighbours found by the library. */
DP_API void DP_DeepSpinModelDeviCompute2(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms,
                                         const double* coord, const double* spin, const int* atype, const double* cell,
                                         const double* fparam, const double* aparam, double* energy, double* force,
                                         double* force_mag, double* virial, double* atomic_energy,
                                         double* atomic_virial);
DP_API void DP_DeepSpinModelDeviComputef2(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms,
                                          const float* coord, const float* spin, const int* atype, const float* cell,
                                          const float* fparam, const float* aparam, double* energy, float* force,
                                          float* force_mag, float* virial, float* atomic_energy, float* atomic_virial);
/** One frame with parameters, charge and multiplicity, neighbours found by the library. */
DP_API void DP_DeepSpinModelDeviCompute3(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms,
                                         const double* coord, const double* spin, const int* atype, const double* cell,
                                         const double* fparam, const double* aparam, const double* charge_spin,
                                         double* energy, double* force, double* force_mag, double* virial,
                                         double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepSpinModelDeviComputef3(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms,
                                          const float* coord, const float* spin, const int* atype, const float* cell,
                                          const float* fparam, const float* aparam, const float* charge_spin,
                                          double* energy, float* force, float* force_mag, float* virial,
                                          float* atomic_energy, float* atomic_virial);
/** One frame with parameters, neighbours from the caller. */
DP_API void DP_DeepSpinModelDeviComputeNList2(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms,
                                              const double* coord, const double* spin, const int* atype,
                                              const double* cell, const int nghost, const DP_Nlist* nlist,
                                              const int ago, const double* fparam, const double* aparam, double* energy,
                                              double* force, double* force_mag, double* virial, double* atomic_energy,
                                              double* atomic_virial);
DP_API void DP_DeepSpinModelDeviComputeNListf2(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms,
                                               const float* coord, const float* spin, const int* atype,
                                               const float* cell, const int nghost, const DP_Nlist* nlist,
                                               const int ago, const float* fparam, const float* aparam, double* energy,
                                               float* force, float* force_mag, float* virial, float* atomic_energy,
                                               float* atomic_virial);
/** One frame with parameters, charge and multiplicity, neighbours from the caller. */
DP_API void DP_DeepSpinModelDeviComputeNList3(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms,
                                              const double* coord, const double* spin, const int* atype,
                                              const double* cell, const int nghost, const DP_Nlist* nlist,
                                              const int ago, const double* fparam, const double* aparam,
                                              const double* charge_spin, double* energy, double* force,
                                              double* force_mag, double* virial, double* atomic_energy,
                                              double* atomic_virial);
DP_API void DP_DeepSpinModelDeviComputeNListf3(DP_DeepSpinModelDevi* dp, const int nframes, const int natoms,
                                               const float* coord, const float* spin, const int* atype,
                                               const float* cell, const int nghost, const DP_Nlist* nlist,
                                               const int ago, const float* fparam, const float* aparam,
                                               const float* charge_spin, double* energy, float* force, float* force_mag,
                                               float* virial, float* atomic_energy, float* atomic_virial);

/** Radius within which atoms are neighbours, Å. */
DP_API double DP_DeepSpinModelDeviGetCutoff(DP_DeepSpinModelDevi* dp);
/** Number of types. */
DP_API int DP_DeepSpinModelDeviGetNumbTypes(DP_DeepSpinModelDevi* dp);
/** Number of types that have a spin. */
DP_API int DP_DeepSpinModelDeviGetNumbTypesSpin(DP_DeepSpinModelDevi* dp);
/** Numbers of parameters of a frame. */
DP_API int DP_DeepSpinModelDeviGetDimFParam(DP_DeepSpinModelDevi* dp);
/** Numbers of parameters of an atom. */
DP_API int DP_DeepSpinModelDeviGetDimAParam(DP_DeepSpinModelDevi* dp);
/** 2 if the model depends on charge and multiplicity, else 0. */
DP_API int DP_DeepSpinModelDeviGetDimChgSpin(DP_DeepSpinModelDevi* dp);
/** Whether aparam beside a neighbour list is of all atoms, ghosts included. */
DP_API bool DP_DeepSpinModelDeviIsAParamNAll(DP_DeepSpinModelDevi* dp);
/** Whether fparam may be NULL although the model has frame parameters. */
DP_API bool DP_DeepSpinModelDeviHasDefaultFParam(DP_DeepSpinModelDevi* dp);
/** The message of the last call, "" if it went well. */
DP_API const char* DP_DeepSpinModelDeviCheckOK(DP_DeepSpinModelDevi* dp);
/** Charge and multiplicity for all calls that give none; size numbers. */
DP_API void DP_DeepSpinModelDeviSetChargeSpin(DP_DeepSpinModelDevi* dp, const double* charge_spin, int size);

/* ---- What potentials with and without spins have in common ---- */

/** A DP_DeepPot or DP_DeepSpin: pointers to these may be cast to it. */
typedef struct DP_DeepBaseModel DP_DeepBaseModel;

/** Free a potential. */
DP_API void DP_DeleteDeepBaseModel(DP_DeepBaseModel* dp);
/** Radius within which atoms are neighbours, Å. */
DP_API double DP_DeepBaseModelGetCutoff(DP_DeepBaseModel* dp);
/** Number of types. */
DP_API int DP_DeepBaseModelGetNumbTypes(DP_DeepBaseModel* dp);
/** Number of types that have a spin. */
DP_API int DP_DeepBaseModelGetNumbTypesSpin(DP_DeepBaseModel* dp);
/** Numbers of parameters of a frame. */
DP_API int DP_DeepBaseModelGetDimFParam(DP_DeepBaseModel* dp);
/** Numbers of parameters of an atom. */
DP_API int DP_DeepBaseModelGetDimAParam(DP_DeepBaseModel* dp);
/** Whether aparam beside a neighbour list is of all atoms, ghosts included. */
DP_API bool DP_DeepBaseModelIsAParamNAll(DP_DeepBaseModel* dp);
/** Whether fparam may be NULL although the model has frame parameters. */
DP_API bool DP_DeepBaseModelHasDefaultFParam(DP_DeepBaseModel* dp);
/** Names of the types, with blanks in between. */
DP_API const char* DP_DeepBaseModelGetTypeMap(DP_DeepBaseModel* dp);
/** The message of the last call, "" if it went well. */
DP_API const char* DP_DeepBaseModelCheckOK(DP_DeepBaseModel* dp);

/** A DP_DeepPotModelDevi or DP_DeepSpinModelDevi: pointers to these may be cast to it. */
typedef struct DP_DeepBaseModelDevi DP_DeepBaseModelDevi;

/** Free the models. */
DP_API void DP_DeleteDeepBaseModelDevi(DP_DeepBaseModelDevi* dp);
/** Radius within which atoms are neighbours, Å. */
DP_API double DP_DeepBaseModelDeviGetCutoff(DP_DeepBaseModelDevi* dp);
/** Number of types. */
DP_API int DP_DeepBaseModelDeviGetNumbTypes(DP_DeepBaseModelDevi* dp);
/** Number of types that have a spin. */
DP_API int DP_DeepBaseModelDeviGetNumbTypesSpin(DP_DeepBaseModelDevi* dp);
/** Numbers of parameters of a frame. */
DP_API int DP_DeepBaseModelDeviGetDimFParam(DP_DeepBaseModelDevi* dp);
/** Numbers of parameters of an atom. */
DP_API int DP_DeepBaseModelDeviGetDimAParam(DP_DeepBaseModelDevi* dp);
/** Whether aparam beside a neighbour list is of all atoms, ghosts included. */
DP_API bool DP_DeepBaseModelDeviIsAParamNAll(DP_DeepBaseModelDevi* dp);
/** Whether fparam may be NULL although the model has frame parameters. */
DP_API bool DP_DeepBaseModelDeviHasDefaultFParam(DP_DeepBaseModelDevi* dp);
/** The message of the last call, "" if it went well. */
DP_API const char* DP_DeepBaseModelDeviCheckOK(DP_DeepBaseModelDevi* dp);

/* ---- Dipoles, polarizabilities and other atomic tensors ---- */

/**
 * A model of an atomic tensor with output_dim components.
 *
 * Computations allocate arrays of changing size, *tensor or *atomic_tensor, with nsel · output_dim numbers (*size,
 * *size_at): the tensors of the local atoms whose type has one, in order of atoms. Free them as DP_DeleteChar frees, or
 * with delete[].
 *
 * global_tensor  (output_dim) the sum over local atoms
 * force          (output_dim, natoms, 3) −∂global_tensor/∂coord
 * virial         (output_dim, 9)
 * atomic_virial  (output_dim, natoms, 9)
 */
typedef struct DP_DeepTensor DP_DeepTensor;

/** Open a model file of any kind. */
DP_API DP_DeepTensor* DP_NewDeepTensor(const char* c_model);
/**
 * The same on a graphics processor, if there is one. c_name_scope: which part of a file with several models; files of
 * dp hold one, so that every name means it.
 */
DP_API DP_DeepTensor* DP_NewDeepTensorWithParam(const char* c_model, const int gpu_rank, const char* c_name_scope);
/** Free a model. */
DP_API void DP_DeleteDeepTensor(DP_DeepTensor* dt);

/** Atomic tensors, neighbours found by the library. */
DP_API void DP_DeepTensorComputeTensor(DP_DeepTensor* dt, const int natoms, const double* coord, const int* atype,
                                       const double* cell, double** tensor, int* size);
DP_API void DP_DeepTensorComputeTensorf(DP_DeepTensor* dt, const int natoms, const float* coord, const int* atype,
                                        const float* cell, float** tensor, int* size);
/** Atomic tensors, neighbours from the caller. */
DP_API void DP_DeepTensorComputeTensorNList(DP_DeepTensor* dt, const int natoms, const double* coord, const int* atype,
                                            const double* cell, const int nghost, const DP_Nlist* nlist,
                                            double** tensor, int* size);
DP_API void DP_DeepTensorComputeTensorNListf(DP_DeepTensor* dt, const int natoms, const float* coord, const int* atype,
                                             const float* cell, const int nghost, const DP_Nlist* nlist, float** tensor,
                                             int* size);
/** All outputs, neighbours found by the library. */
DP_API void DP_DeepTensorCompute(DP_DeepTensor* dt, const int natoms, const double* coord, const int* atype,
                                 const double* cell, double* global_tensor, double* force, double* virial,
                                 double** atomic_tensor, double* atomic_virial, int* size_at);
DP_API void DP_DeepTensorComputef(DP_DeepTensor* dt, const int natoms, const float* coord, const int* atype,
                                  const float* cell, float* global_tensor, float* force, float* virial,
                                  float** atomic_tensor, float* atomic_virial, int* size_at);
/** All outputs, neighbours from the caller. */
DP_API void DP_DeepTensorComputeNList(DP_DeepTensor* dt, const int natoms, const double* coord, const int* atype,
                                      const double* cell, const int nghost, const DP_Nlist* nlist,
                                      double* global_tensor, double* force, double* virial, double** atomic_tensor,
                                      double* atomic_virial, int* size_at);
DP_API void DP_DeepTensorComputeNListf(DP_DeepTensor* dt, const int natoms, const float* coord, const int* atype,
                                       const float* cell, const int nghost, const DP_Nlist* nlist, float* global_tensor,
                                       float* force, float* virial, float** atomic_tensor, float* atomic_virial,
                                       int* size_at);

/** Radius within which atoms are neighbours, Å. */
DP_API double DP_DeepTensorGetCutoff(DP_DeepTensor* dt);
/** Number of types. */
DP_API int DP_DeepTensorGetNumbTypes(DP_DeepTensor* dt);
/** Number of components. */
DP_API int DP_DeepTensorGetOutputDim(DP_DeepTensor* dt);
/** The types whose atoms have a tensor, as many as DP_DeepTensorGetNumbSelTypes; the array belongs to the object. */
DP_API int* DP_DeepTensorGetSelTypes(DP_DeepTensor* dt);
/** How many types have a tensor. */
DP_API int DP_DeepTensorGetNumbSelTypes(DP_DeepTensor* dt);
/** Names of the types, with blanks in between. */
DP_API const char* DP_DeepTensorGetTypeMap(DP_DeepTensor* dt);
/** The message of the last call, "" if it went well. */
DP_API const char* DP_DeepTensorCheckOK(DP_DeepTensor* dt);

/* ---- Forces on atoms from forces on Wannier centroids ---- */

/** A model of the places of Wannier centroids. */
typedef struct DP_DipoleChargeModifier DP_DipoleChargeModifier;

/** Open a model file of any kind. */
DP_API DP_DipoleChargeModifier* DP_NewDipoleChargeModifier(const char* c_model);
/** As DP_NewDeepTensorWithParam. */
DP_API DP_DipoleChargeModifier* DP_NewDipoleChargeModifierWithParam(const char* c_model, const int gpu_rank,
                                                                    const char* c_name_scope);
/** Free a model. */
DP_API void DP_DeleteDipoleChargeModifier(DP_DipoleChargeModifier* dcm);
/**
 * Spread the electric forces on centroids over the atoms that they depend on.
 *
 * Centroids are the local atoms of virtual types. pairs: (npairs, 2) a real atom and its centroid; delef_: (local atoms, 3)
 * electric forces on all local atoms, eV/Å; dfcorr_: (natoms, 3) forces on atoms; dvcorr_: (9) their virial.
 */
DP_API void DP_DipoleChargeModifierComputeNList(DP_DipoleChargeModifier* dcm, const int natoms, const double* coord,
                                                const int* atype, const double* cell, const int* pairs,
                                                const int npairs, const double* delef_, const int nghost,
                                                const DP_Nlist* nlist, double* dfcorr_, double* dvcorr_);
DP_API void DP_DipoleChargeModifierComputeNListf(DP_DipoleChargeModifier* dcm, const int natoms, const float* coord,
                                                 const int* atype, const float* cell, const int* pairs,
                                                 const int npairs, const float* delef_, const int nghost,
                                                 const DP_Nlist* nlist, float* dfcorr_, float* dvcorr_);
/** Radius within which atoms are neighbours, Å. */
DP_API double DP_DipoleChargeModifierGetCutoff(DP_DipoleChargeModifier* dcm);
/** Number of types. */
DP_API int DP_DipoleChargeModifierGetNumbTypes(DP_DipoleChargeModifier* dcm);
/** The types whose atoms have a centroid; the array belongs to the object. */
DP_API int* DP_DipoleChargeModifierGetSelTypes(DP_DipoleChargeModifier* dcm);
/** How many types have a centroid. */
DP_API int DP_DipoleChargeModifierGetNumbSelTypes(DP_DipoleChargeModifier* dcm);
/** The message of the last call, "" if it went well. */
DP_API const char* DP_DipoleChargeModifierCheckOK(DP_DipoleChargeModifier* dcm);

/* ---- Beyond the interface of DeePMD-kit: look these functions up by name, where another library may be linked ---- */

/** Whether the energy of an atom depends on the neighbours of its neighbours, so that ghosts need owners. */
DP_API bool DP_DeepPotPassesMessages(DP_DeepPot* dp);
DP_API bool DP_DeepSpinPassesMessages(DP_DeepSpin* dp);
/**
 * The energy of count atoms of a frame from the atom `first` on, and its derivatives by the coordinates of all atoms; the
 * library finds neighbours among all. Outputs of several parts add up to those of the frame, so that each rank of a
 * parallel program may evaluate a part, whatever the model. aparam is of all atoms.
 */
DP_API void DP_DeepPotComputePart(DP_DeepPot* dp, const int natoms, const double* coord, const int* atype,
                                  const double* cell, const int first, const int count, const double* fparam,
                                  const double* aparam, const double* charge_spin, double* energy, double* force,
                                  double* virial, double* atomic_energy, double* atomic_virial);
DP_API void DP_DeepSpinComputePart(DP_DeepSpin* dp, const int natoms, const double* coord, const double* spin,
                                   const int* atype, const double* cell, const int first, const int count,
                                   const double* fparam, const double* aparam, const double* charge_spin,
                                   double* energy, double* force, double* force_mag, double* virial,
                                   double* atomic_energy, double* atomic_virial);
/** Radius of a neighbour list that has all pairs of virtual atoms within the cutoff, Å: max_spin is the longest spin, μB. */
DP_API double DP_DeepSpinGetListCutoff(DP_DeepSpin* dp, const double max_spin);

/* ---- Free functions ---- */

/** Turn the text form c_pbtxt of a TensorFlow graph into the binary form c_pb. */
DP_API void DP_ConvertPbtxtToPb(const char* c_pbtxt, const char* c_pb);
/** What this library is, to standard output, each line after the prefix c_pre. */
DP_API void DP_PrintSummary(const char* c_pre);
/** The content of a file as a text that ends with a zero byte. */
DP_API const char* DP_ReadFileToChar(const char* c_model);
/** The content of a file and the number of its bytes. If *size is negative, −*size bytes of a message instead. */
DP_API const char* DP_ReadFileToChar2(const char* c_model, int* size);
/**
 * Which atoms have one of nsel_type types sel_type. Of the natoms atoms the last nghost are ghosts.
 *
 * fwd_map: (natoms) the new number of an atom, −1 if it is left out; bkw_map: (natoms, *nreal used) the old one; nghost_real:
 * ghosts that are left.
 */
DP_API void DP_SelectByType(const int natoms, const int* atype, const int nghost, const int nsel_type,
                            const int* sel_type, int* fwd_map, int* nreal, int* bkw_map, int* nghost_real);
/**
 * Numbers of the atoms that are left: in (nall1, stride) -> out (nall2, stride). nall1 is the number of atoms before, nall2
 * after.
 */
DP_API void DP_SelectMapInt(const int* in, const int* fwd_map, const int stride, const int nall1, const int nall2,
                            int* out);
/** Free what a function of this library returned. */
DP_API void DP_DeleteChar(const char* c_str);

#ifdef __cplusplus
}
#endif

#endif
