// The C interface: neighbour lists and free functions.
#include <cstdio>
#include <cstring>
#include <new>

#include "c_api_help.h"
#include "deepmd/c_api.h"
#include "loader.h"
#include "model_file.h"
#include "threads.h"

using namespace dp;

DP_Nlist* DP_NewNlist(int inum, int* ilist, int* numneigh, int** firstneigh) {
  return DP_NewNlist_comm(inum, ilist, numneigh, firstneigh, 0, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                          1);
}

DP_Nlist* DP_NewNlist_comm(int inum, int* ilist, int* numneigh, int** firstneigh, int nswap, int* sendnum, int*,
                           int* firstrecv, int** sendlist, int*, int*, void*, int nprocs) {
  DP_Nlist* list = new (std::nothrow) DP_Nlist;
  if (!list) return nullptr;
  list->inum = inum;
  list->ilist = ilist;
  list->numneigh = numneigh;
  list->firstneigh = firstneigh;
  list->nswap = nswap;
  list->sendnum = sendnum;
  list->firstrecv = firstrecv;
  list->sendlist = sendlist;
  list->nprocs = nprocs;
  return list;
}

const char* DP_NlistCheckOK(DP_Nlist*) { return copied(""); }

void DP_NlistSetMask(DP_Nlist* nlist, int mask) {
  if (nlist) nlist->mask = mask;
}

void DP_NlistSetMapping(DP_Nlist* nlist, int* mapping) {
  if (nlist) nlist->mapping = mapping;
}

void DP_DeleteNlist(DP_Nlist* nlist) { delete nlist; }

void DP_ConvertPbtxtToPb(const char* c_pbtxt, const char*) {
  report(std::string(c_pbtxt ? c_pbtxt : "The file") +
         " is the text form of a TensorFlow graph, which this library does not read: open it with the program that wrote it, and "
         "convert that model to .dp.");
}

void DP_PrintSummary(const char* c_pre) {
  const std::string prefix = c_pre ? c_pre : "";
  std::string threads;
  try {
    threads = std::to_string(thread_count());
  } catch (...) {  // a setting that is no number
    threads = current_message();
  }
  const std::string rows[][2] = {{"installed to:", library_folder()},
                                 {"source:", "dp-ops " DP_OPS_VERSION},
                                 {"source branch:", "main"},
                                 {"source commit:", "v" DP_OPS_VERSION},
                                 {"source commit at:", DP_OPS_VERSION},
                                 {"support model ver.:", "3"},
                                 {"build variant:", "cpu"},
                                 {"set tf intra_op_parallelism_threads:", threads},
                                 {"set tf inter_op_parallelism_threads:", threads}};
  for (const auto& row : rows) std::printf("%s%-20s%s\n", prefix.c_str(), (row[0] + " ").c_str(), row[1].c_str());
  std::fflush(stdout);
}

const char* DP_ReadFileToChar(const char* c_model) {
  try {
    return copied(read_file(c_model ? c_model : ""));
  } catch (...) {
    report(current_message());
    return copied("");
  }
}

const char* DP_ReadFileToChar2(const char* c_model, int* size) {
  std::string bytes;
  bool good = true;
  try {
    bytes = read_file(c_model ? c_model : "");
    if (bytes.size() > 0x7fffffff) throw Error(std::string(c_model) + " is larger than 2 GB; open it by its name.");
  } catch (...) {
    good = false;
    bytes = current_message();
  }
  const char* copy = copied(bytes);
  if (size) *size = (good ? 1 : -1) * static_cast<int>(copy ? bytes.size() : 0);
  return copy;
}

void DP_SelectByType(const int natoms, const int* atype, const int nghost, const int nsel_type, const int* sel_type, int* fwd_map,
                     int* nreal, int* bkw_map, int* nghost_real) {
  int count = 0, ghosts = 0;
  for (int i = 0; i < natoms; ++i) {
    bool selected = false;
    for (int k = 0; k < nsel_type; ++k) selected |= atype[i] == sel_type[k];
    fwd_map[i] = selected ? count : -1;
    if (!selected) continue;
    if (bkw_map) bkw_map[count] = i;
    ghosts += i >= natoms - nghost;
    ++count;
  }
  if (nreal) *nreal = count;
  if (nghost_real) *nghost_real = ghosts;
}

void DP_SelectMapInt(const int* in, const int* fwd_map, const int stride, const int nall1, const int nall2, int* out) {
  for (int i = 0; i < nall1; ++i) {
    if (fwd_map[i] < 0 || fwd_map[i] >= nall2) continue;
    std::memcpy(out + static_cast<int64_t>(fwd_map[i]) * stride, in + static_cast<int64_t>(i) * stride, sizeof(int) * stride);
  }
}

void DP_DeleteChar(const char* c_str) { delete[] c_str; }
