// The styles of this library, and the release of LAMMPS whose classes it was compiled with.
#include "compute_dedn.h"
#include "compute_tensor.h"
#include "fix_dplr.h"
#include "lammps.h"
#include "pair_deep.h"
#include "plugin_record.h"
#include "pppm_dplr.h"

using namespace LAMMPS_NS;

namespace {

constexpr const char *kAuthor = "dp";

void *new_deepmd(void *lmp) { return static_cast<Pair *>(new dp::PairDeep(static_cast<LAMMPS *>(lmp), false)); }

void *new_deepspin(void *lmp) { return static_cast<Pair *>(new dp::PairDeep(static_cast<LAMMPS *>(lmp), true)); }

void *new_tensor(void *lmp, int narg, char **arg) {
  return static_cast<Compute *>(new dp::ComputeTensor(static_cast<LAMMPS *>(lmp), narg, arg));
}

void *new_dedn(void *lmp, int narg, char **arg) {
  return static_cast<Compute *>(new dp::ComputeDedn(static_cast<LAMMPS *>(lmp), narg, arg));
}

void *new_dplr(void *lmp, int narg, char **arg) {
  return static_cast<Fix *>(new dp::FixDplr(static_cast<LAMMPS *>(lmp), narg, arg));
}

void *new_pppm(void *lmp) { return static_cast<KSpace *>(new dp::PppmDplr(static_cast<LAMMPS *>(lmp))); }

}  // namespace

extern "C" const char *dp_lammps_release() { return DP_LAMMPS_RELEASE; }

extern "C" void dp_lammps_register(void *lmp, void *handle, void *regfunc, const char *) {
  const auto add = reinterpret_cast<dp::RegisterStyle>(regfunc);
  const char *version = static_cast<LAMMPS *>(lmp)->version;
  dp::PluginRecord record{version, "pair", "deepmd", "deep potentials", kAuthor, {nullptr}, handle};
  record.creator.v1 = new_deepmd;
  add(&record, lmp);
  record.name = "deepspin";
  record.info = "deep potentials of atoms with spin";
  record.creator.v1 = new_deepspin;
  add(&record, lmp);
  record.style = "compute";
  record.name = "deeptensor/atom";
  record.info = "dipoles and polarizabilities of atoms";
  record.creator.v2 = new_tensor;
  add(&record, lmp);
  record.name = "deepmd/fparam/dedn";
  record.info = "derivative of the energy by the frame parameter";
  record.creator.v2 = new_dedn;
  add(&record, lmp);
  record.style = "fix";
  record.name = "dplr";
  record.info = "Wannier centroids and their electric forces";
  record.creator.v2 = new_dplr;
  add(&record, lmp);
  record.style = "kspace";
  record.name = "pppm/dplr";
  record.info = "PPPM that keeps its forces for fix dplr";
  record.creator.v1 = new_pppm;
  add(&record, lmp);
}
