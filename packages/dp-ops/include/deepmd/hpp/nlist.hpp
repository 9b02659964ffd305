// Neighbour lists and free functions of deepmd.hpp.
#pragma once

#include "../deepmd.hpp"

namespace deepmd {
namespace hpp {

/// Neighbours that the caller found; views of the caller's arrays, see DP_NewNlist_comm.
struct InputNlist {
  InputNlist() : InputNlist(0, nullptr, nullptr, nullptr) {}
  InputNlist(int inum_, int* ilist_, int* numneigh_, int** firstneigh_)
      : nl(DP_NewNlist(inum_, ilist_, numneigh_, firstneigh_)),
        inum(inum_),
        ilist(ilist_),
        numneigh(numneigh_),
        firstneigh(firstneigh_) {}
  InputNlist(int inum_, int* ilist_, int* numneigh_, int** firstneigh_, int nswap, int* sendnum, int* recvnum,
             int* firstrecv, int** sendlist, int* sendproc, int* recvproc, void* world, int nprocs = 1)
      : nl(DP_NewNlist_comm(inum_, ilist_, numneigh_, firstneigh_, nswap, sendnum, recvnum, firstrecv, sendlist,
                            sendproc, recvproc, world, nprocs)),
        inum(inum_),
        ilist(ilist_),
        numneigh(numneigh_),
        firstneigh(firstneigh_) {}
  ~InputNlist() { DP_DeleteNlist(nl); }
  InputNlist(const InputNlist&) = delete;
  InputNlist& operator=(const InputNlist&) = delete;
  InputNlist(InputNlist&& other) noexcept
      : nl(other.nl), inum(other.inum), ilist(other.ilist), numneigh(other.numneigh), firstneigh(other.firstneigh) {
    other.nl = nullptr;
  }
  InputNlist& operator=(InputNlist&& other) noexcept {
    std::swap(nl, other.nl);
    std::swap(inum, other.inum);
    std::swap(ilist, other.ilist);
    std::swap(numneigh, other.numneigh);
    std::swap(firstneigh, other.firstneigh);
    return *this;
  }

  void set_mask(int mask) { DP_NlistSetMask(nl, mask); }
  void set_mapping(int* mapping) { DP_NlistSetMapping(nl, mapping); }

  DP_Nlist* nl;
  int inum;
  int* ilist;
  int* numneigh;
  int** firstneigh;
};

/// Let `to`, whose arrays are large enough, be the list of which row i is of atom i.
inline void convert_nlist(InputNlist& to, std::vector<std::vector<int>>& from) {
  to.inum = static_cast<int>(from.size());
  for (int i = 0; i < to.inum; ++i) {
    to.ilist[i] = i;
    to.numneigh[i] = static_cast<int>(from[i].size());
    to.firstneigh[i] = from[i].data();
  }
  DP_DeleteNlist(to.nl);
  to.nl = DP_NewNlist(to.inum, to.ilist, to.numneigh, to.firstneigh);
}

inline void convert_pbtxt_to_pb(std::string pbtxt, std::string pb) { DP_ConvertPbtxtToPb(pbtxt.c_str(), pb.c_str()); }

/// The bytes of a file.
inline void read_file_to_string(std::string model, std::string& content) {
  int size = 0;
  const char* bytes = DP_ReadFileToChar2(model.c_str(), &size);
  const std::string found(bytes ? bytes : "", bytes ? std::abs(size) : 0);
  DP_DeleteChar(bytes);
  if (size < 0) throw deepmd_exception(found);
  content = found;
}

/// Which atoms have one of some types, see DP_SelectByType.
template <class T>
void select_by_type(std::vector<int>& fwd_map, std::vector<int>& bkw_map, int& nghost_real, const std::vector<T>& dcoord,
                    const std::vector<int>& datype, const int& nghost, const std::vector<int>& sel_type) {
  const int natoms = static_cast<int>(datype.size());
  if (dcoord.size() != 3 * datype.size()) throw deepmd_exception("coordinates and types are not of the same atoms");
  fwd_map.resize(natoms);
  bkw_map.resize(natoms);
  int nreal = 0;
  DP_SelectByType(natoms, datype.data(), nghost, static_cast<int>(sel_type.size()), sel_type.data(), fwd_map.data(),
                  &nreal, bkw_map.data(), &nghost_real);
  bkw_map.resize(nreal);
}

/// Values of the atoms that are left, `stride` for each; out gets the size that it needs.
template <class T>
void select_map(std::vector<T>& out, const std::vector<T>& in, const std::vector<int>& fwd_map, const int& stride) {
  const int most = fwd_map.empty() ? -1 : *std::max_element(fwd_map.begin(), fwd_map.end());
  out.resize(static_cast<std::size_t>(most + 1) * stride);
  for (std::size_t i = 0; i < fwd_map.size(); ++i) {
    if (fwd_map[i] < 0) continue;
    std::copy_n(in.begin() + i * stride, stride, out.begin() + static_cast<std::size_t>(fwd_map[i]) * stride);
  }
}

}  // namespace hpp
}  // namespace deepmd
