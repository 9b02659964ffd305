// In the style of a Fortran program that binds to C: five outputs, a cell, no questions about errors, and a pointer to the
// pointer at the end. argv: model, then natoms, and from standard input types, cell and coordinates.
#include <stdio.h>
#include <stdlib.h>

#include "deepmd/c_api.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int n = atoi(argv[2]);
  double* x = malloc(sizeof(double) * 3 * n);
  int* types = malloc(sizeof(int) * n);
  double cell[9], energy = 0, virial[9];
  for (int i = 0; i < n; ++i) {
    if (scanf("%d", types + i) != 1) return 3;
  }
  for (int i = 0; i < 9; ++i) {
    if (scanf("%lf", cell + i) != 1) return 3;
  }
  for (int i = 0; i < 3 * n; ++i) {
    if (scanf("%lf", x + i) != 1) return 3;
  }
  double *force = malloc(sizeof(double) * 3 * n), *atomic = malloc(sizeof(double) * n);
  double* atomic_virial = malloc(sizeof(double) * 9 * n);
  DP_DeepPot* pot = DP_NewDeepPot(argv[1]);
  DP_DeepPotCompute(pot, n, x, types, cell, &energy, force, virial, atomic, atomic_virial);
  printf("RESULT %.17g", energy);
  for (int i = 0; i < 3 * n; ++i) printf(" %.17g", force[i]);
  for (int i = 0; i < 9; ++i) printf(" %.17g", virial[i]);
  printf("\n");
  DP_DeleteDeepPot((DP_DeepPot*)&pot);  // as that program does, by mistake
  DP_DeleteDeepPot(pot);
  free(x);
  free(types);
  free(force);
  free(atomic);
  free(atomic_virial);
  return 0;
}
