// The neighbour list of a caller.
#pragma once

/// Views of arrays that the caller owns, see include/deepmd/c_api.h.
struct DP_Nlist {
  int inum = 0;
  const int* ilist = nullptr;
  const int* numneigh = nullptr;
  int* const* firstneigh = nullptr;
  int nswap = 0;
  const int* sendnum = nullptr;
  const int* firstrecv = nullptr;
  int* const* sendlist = nullptr;
  int nprocs = 1;
  int mask = -1;
  const int* mapping = nullptr;
};
