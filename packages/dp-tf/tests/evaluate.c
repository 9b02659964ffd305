/* Runs a frozen graph with the C library of TensorFlow alone: evaluate FILE.pb INPUTS OUTPUT...
   Each line of INPUTS is a tensor: its name, f (float64) or i (int64), number of dimensions, sizes, values.
   Prints every output as a line of numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <tensorflow/c/c_api.h>

enum { MOST = 64 };

static void check(TF_Status *status) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s\n", TF_Message(status));
  exit(1);
}

static TF_Buffer *read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) exit(2);
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  char *data = malloc((size_t)size);
  if (fread(data, 1, (size_t)size, file) != (size_t)size) exit(2);
  fclose(file);
  TF_Buffer *buffer = TF_NewBufferFromString(data, (size_t)size);
  free(data);
  return buffer;
}

static TF_Tensor *read_tensor(FILE *file, char kind) {
  int rank;
  int64_t sizes[8], count = 1;
  if (fscanf(file, "%d", &rank) != 1 || rank > 8) exit(2);
  for (int k = 0; k < rank; ++k) {
    if (fscanf(file, "%ld", &sizes[k]) != 1) exit(2);
    count *= sizes[k];
  }
  TF_Tensor *x = TF_AllocateTensor(kind == 'i' ? TF_INT64 : TF_DOUBLE, sizes, rank, (size_t)count * 8);
  for (int64_t k = 0; k < count; ++k) {
    int ok = kind == 'i' ? fscanf(file, "%ld", (int64_t *)TF_TensorData(x) + k)
                         : fscanf(file, "%lf", (double *)TF_TensorData(x) + k);
    if (ok != 1) exit(2);
  }
  return x;
}

static TF_Output find(TF_Graph *graph, const char *name) {
  TF_Output found = {TF_GraphOperationByName(graph, name), 0};
  if (!found.oper) {
    fprintf(stderr, "the graph has no %s\n", name);
    exit(1);
  }
  return found;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_ImportGraphDefOptions *import = TF_NewImportGraphDefOptions();
  TF_GraphImportGraphDef(graph, read_file(argv[1]), import, status);
  check(status);
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Session *session = TF_NewSession(graph, options, status);
  check(status);

  TF_Output inputs[MOST], outputs[MOST];
  TF_Tensor *given[MOST], *found[MOST];
  int ninputs = 0, noutputs = argc - 3;
  FILE *file = fopen(argv[2], "r");
  char name[64], kind;
  while (fscanf(file, "%63s %c", name, &kind) == 2) {
    inputs[ninputs] = find(graph, name);
    given[ninputs++] = read_tensor(file, kind);
  }
  for (int k = 0; k < noutputs; ++k) outputs[k] = find(graph, argv[3 + k]);
  TF_SessionRun(session, NULL, inputs, given, ninputs, outputs, found, noutputs, NULL, 0, NULL, status);
  check(status);
  for (int k = 0; k < noutputs; ++k) {
    const double *values = TF_TensorData(found[k]);
    for (int64_t i = 0; i < TF_TensorElementCount(found[k]); ++i) printf("%.17g ", values[i]);
    printf("\n");
  }
  return 0;
}
