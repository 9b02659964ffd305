// In the style of a plane-wave program: the class chosen by a macro, the type map of the model, one structure.
#include "structure.h"

#ifdef USE_C_INTERFACE
#include "deepmd/deepmd.hpp"
namespace deepmd_compat = deepmd::hpp;
#else
#include "deepmd/DeepPot.h"
namespace deepmd_compat = deepmd;
#endif

int main(int, char** argv) {
  deepmd_compat::DeepPot dp(argv[1]);
  std::string type_map;
  dp.get_type_map(type_map);
  std::printf("types %s\n", type_map.c_str());
  Structure s = read_structure();
  double energy = 0;
  std::vector<double> force, virial, fparam, aparam;
  dp.compute(energy, force, virial, s.coord, s.types, s.cell, fparam, aparam);
  print(energy, force, virial);
}
