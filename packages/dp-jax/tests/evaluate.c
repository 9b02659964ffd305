/* Loads a .savedmodel with TensorFlow's C interface alone: evaluate FOLDER INPUTS
 * Each line of INPUTS is a tensor: name, f (float64) or i (int64), number of dimensions, sizes, values.
 * Prints the outputs energy, mask and gradient, each as a line of numbers. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tensorflow/c/c_api.h>

enum { MOST = 64 };

static void check(TF_Status *status) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s\n", TF_Message(status));
  exit(1);
}

static TF_Output node(TF_Graph *graph, const char *name) {
  TF_Output output = {TF_GraphOperationByName(graph, name), 0};
  if (!output.oper) {
    fprintf(stderr, "no node %s\n", name);
    exit(1);
  }
  return output;
}

static int64_t integer(FILE *file) {
  long long value;
  if (fscanf(file, "%lld", &value) != 1) exit(3);
  return value;
}

static TF_Tensor *read_tensor(FILE *file, char kind) {
  int64_t sizes[8], count = 1, k;
  int dimensions = (int)integer(file), d;
  for (d = 0; d < dimensions; ++d) count *= sizes[d] = integer(file);
  TF_Tensor *tensor = TF_AllocateTensor(kind == 'i' ? TF_INT64 : TF_DOUBLE, sizes, dimensions, 8 * count);
  for (k = 0; k < count; ++k) {
    if (kind == 'i') ((int64_t *)TF_TensorData(tensor))[k] = integer(file);
    else if (fscanf(file, "%lf", (double *)TF_TensorData(tensor) + k) != 1) exit(3);
  }
  return tensor;
}

int main(int argc, char **argv) {
  const char *tags[] = {"serve"}, *names[] = {"energy", "mask", "gradient"};
  if (argc != 3) return 2;
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);

  TF_Output inputs[MOST], outputs[3];
  TF_Tensor *given[MOST], *found[3];
  int count = 0, k;
  char name[64], kind;
  FILE *file = fopen(argv[2], "r");
  if (!file) return 2;
  for (; count < MOST && fscanf(file, "%63s %c", name, &kind) == 2; ++count) {
    inputs[count] = node(graph, name);
    given[count] = read_tensor(file, kind);
  }
  fclose(file);
  for (k = 0; k < 3; ++k) outputs[k] = node(graph, names[k]);
  TF_SessionRun(session, NULL, inputs, given, count, outputs, found, 3, NULL, 0, NULL, status);
  check(status);
  for (k = 0; k < 3; ++k) {
    const double *values = TF_TensorData(found[k]);
    int64_t size = TF_TensorElementCount(found[k]), i;
    for (i = 0; i < size; ++i) printf("%.17g ", values[i]);
    printf("\n");
    TF_DeleteTensor(found[k]);
  }
  for (k = 0; k < count; ++k) TF_DeleteTensor(given[k]);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
