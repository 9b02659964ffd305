/* Sums over neighbours of a tabulated number, and their derivative: what a compressed model is evaluated with. Plain
 * pointers, nothing of any framework; arrays are row-major. Every function is thread-safe, and results do not depend on
 * the number of threads, to the last bit. They return 0, or 1 if there was no memory for what they need beside the
 * arrays; their outputs then mean nothing. */
#ifndef DP_TABLES_H
#define DP_TABLES_H

#include <stdint.h>

#include "isa.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A = sum over k of R_k x G_k, with G_k = F(R_k0) · (1 + w_k t_k): R is (rows, slots, components), A (rows, components,
 * width); slots with R = 0 are empty. F is a table of quintic polynomials of x - start. t_k is the row index_k of gates. */
typedef struct {
  int64_t rows, slots, components;
  const void* r;
  int64_t count, width;     /* of the table, whose last two rows are for what is below and beyond it */
  const void* coefficients; /* (count, 6, width) */
  const void* starts;       /* (count,) */
  double grid[10];          /* three times begin, width and number of intervals, 0 for none, and the end of the last */
  const void* gates;        /* (any, width); or NULL for t = 0 */
  const int64_t* index;     /* (rows, slots) */
  const void* weights;      /* w, (rows, slots); or NULL for 1 */
  int64_t float64;          /* whether numbers are double, else float */
} dp_table;

/* The sum a (rows, components, width). */
DP_EXPORT int dp_table_sum(const dp_table* t, void* a);

/* The derivative by r (rows, slots, components) of the sum of ga · A, and by the weights (rows, slots), or NULL. Both are
 * 0 in empty slots. */
DP_EXPORT int dp_table_slope(const dp_table* t, const void* ga, void* gr, void* gweights);

#ifdef __cplusplus
}
#endif
#endif
