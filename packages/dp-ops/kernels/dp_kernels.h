/* The C interface of libdp_kernels.so: plain pointers, nothing of any framework. Arrays are row-major. */
#ifndef DP_KERNELS_H
#define DP_KERNELS_H

#include <stdint.h>

#include "tables.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The instruction set that is used: the best of this processor, or of those up to DP_KERNELS_ISA in the environment:
 * "v2", "v3" or "v4" of x86-64; on other processors "base". */
const char* dp_kernels_isa(void);

/* How many threads a call for tables (tables.h), parts of descriptors or training uses; potentials are evaluated in the
 * thread of the caller alone. */
int dp_kernels_threads(void);

/* ---- Parts of descriptors. Those of libdp_kernels_cuda.so end in _cuda and take a stream as the last argument. ----
 *
 * dp_environment: the normalised rows R (n, slots, 4) of the environment matrix from vectors (n, slots, 3), with the
 * statistics (types, 4) of the type of each row; 0 in empty slots; jacobian (n, slots, 4, 3) is dR/dd, or NULL.
 * Sums of tabulated embeddings are in tables.h. */
void dp_environment_f64(int64_t n, int64_t slots, double rcut, double rcut_smth, double protection, const double* davg,
                        const double* dstd, const double* vectors, const int64_t* types, const int64_t* neighbor_types,
                        double* rows, double* jacobian);
void dp_environment_f32(int64_t n, int64_t slots, float rcut, float rcut_smth, float protection, const float* davg,
                        const float* dstd, const float* vectors, const int64_t* types, const int64_t* neighbor_types,
                        float* rows, float* jacobian);

/* ---- Potentials: the energy of every row of a table of neighbours (docs/frozen.md), and its gradient. ---- */

enum {
  DP_LINEAR = 0, DP_TANH = 1, DP_RELU = 2, DP_RELU6 = 3, DP_SOFTPLUS = 4, DP_SIGMOID = 5, DP_GELU = 6, DP_SILU = 7,
  DP_SILUT = 8
};

/* r(x) + idt · f(x·w + b), where r(x) is 0 (skip 0), x (1) or [x, x] (2). */
typedef struct {
  int64_t n_in, n_out;
  const double* w;   /* (n_in, n_out) */
  const double* b;   /* (n_out,), or NULL */
  const double* idt; /* (n_out,), or NULL */
  int32_t activation;
  int32_t skip;
  double threshold; /* of DP_SILUT */
} dp_layer;

typedef struct {
  int64_t count;
  const dp_layer* layers;
} dp_network;

/* A function of one number with `width` values: a network, or a table of quintic polynomials where there is one. */
typedef struct {
  dp_network network;         /* layers after the first; those of several functions may be the same */
  dp_layer first;             /* n_in 1, skip 0 */
  const double* first_slope;  /* (n_out of the first layer,): r(x) = first_slope·x + first_offset; NULL for none */
  const double* first_offset;
  const double* table; /* (rows, width, 6) */
  int64_t rows;
  double least, lower, upper, most; /* steps of `fine` from lower to upper, of `coarse` from least to lower and to most */
  double fine, coarse;
} dp_function;

enum { DP_ANGULAR = 0, DP_RADIAL = 1, DP_PAIRS = 2 };

/* A descriptor of the environment matrix R (slot, 4) of an atom and functions F of its first column.
 *
 * DP_ANGULAR: A = Σ R ⊗ F(R_0) / slots, descriptor A·Aᵀ cut to `axis` columns, then the vector of the own type.
 * DP_RADIAL: Σ F(R_0) / (5 · slots). DP_PAIRS: Σ e·F(e) / (sel_a · sel_b) over pairs of slots, e the product of their
 * directions. */
typedef struct {
  int32_t kind;
  int64_t ntypes, width, axis;
  double rcut, rcut_smth, protection;
  const double* davg; /* (ntypes, 4), or (ntypes, 1) of DP_RADIAL */
  const double* dstd;
  const uint8_t* excluded; /* (ntypes, ntypes): pairs that do not see each other */
  int64_t functions;
  const dp_function* function;
  const int32_t* function_of; /* (ntypes, ntypes + 1): by type of the centre and of the neighbour, the last: no type.
                                 Of DP_PAIRS: by the types of both neighbours */
  const double* gate;         /* (ntypes, ntypes + 1, width): F is F·(1 + gate); or NULL */
  int32_t smooth;             /* the gate is multiplied by the switch */
  int32_t by_type;            /* sel counts neighbours of each type, else of all together */
  int32_t cut;                /* neighbours beyond rcut are no neighbours */
  const int64_t* sel;         /* (ntypes,), or one number */
  const double* type_vectors; /* (ntypes, dim_type), or NULL */
  int64_t dim_type;
} dp_descriptor;

typedef struct {
  int64_t ntypes;
  int64_t descriptors;
  const dp_descriptor* descriptor;
  int64_t networks; /* 1, or one for each type */
  const dp_network* network;
  int64_t numb_fparam, numb_aparam, dim_case;
  const double* fparam_avg;
  const double* fparam_inv_std;
  const double* aparam_avg;
  const double* aparam_inv_std;
  const double* case_embd;
  const uint8_t* vacuum; /* (ntypes,): subtract the network of a descriptor of zeros */
  const double* factor;  /* (ntypes,): the energy of an atom is network · factor + constant */
  const double* constant;
  int32_t single; /* compute in single precision */
} dp_potential_settings;

typedef struct dp_potential dp_potential;

/* Copies what it needs. NULL if something is wrong, with a sentence in `message`, of at most `size` bytes. */
dp_potential* dp_potential_new(const dp_potential_settings* settings, char* message, int64_t size);
void dp_potential_free(dp_potential* potential);

/* Energies (n,) and their gradient (n, K, 3) by the vectors, of a table with n rows and K slots. Rows of negative types
 * have 0. Thread-safe, and in the thread of the caller alone. Returns 0, or 1 with a sentence in `message`. */
int dp_potential_evaluate(const dp_potential* potential, int64_t rows, int64_t slots, const double* vectors,
                          const int64_t* types, const int64_t* neighbor_types, const int64_t* frame,
                          const double* fparam, const double* aparam, double* energy, double* gradient, char* message,
                          int64_t size);

#ifdef __cplusplus
}
#endif
#endif
