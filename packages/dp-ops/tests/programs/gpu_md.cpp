// In the style of molecular dynamics programs that know deepmd::DeepPot: names of types split at blanks, a neighbour list,
// results of each atom; a program of path integrals asks for the summary.
#include <sstream>

#include "deepmd/DeepPot.h"
#include "structure.h"

int main(int, char** argv) {
  deepmd::DeepPot dp;
  dp.init(argv[1], 0);
  dp.print_summary("  >> ");
  std::string names;
  dp.get_type_map(names);
  std::istringstream words(names);
  int count = 0;
  for (std::string word; words >> word;) ++count;
  if (count != dp.numb_types() || dp.numb_types_spin() || dp.dim_fparam() || dp.dim_aparam()) return 2;
  Structure s = read_structure();
  const int n = static_cast<int>(s.types.size());
  std::vector<int> ilist(n), numneigh(n, n - 1), all;
  std::vector<int*> firstneigh(n);
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      if (j != i) all.push_back(j | 1 << 30);
    }
  }
  for (int i = 0; i < n; ++i) {
    ilist[i] = i;
    firstneigh[i] = all.data() + i * (n - 1);
  }
  deepmd::InputNlist list(n, ilist.data(), numneigh.data(), firstneigh.data());
  list.set_mask(0x1FFFFFFF);
  double energy = 0;
  std::vector<double> force, virial, atom_energy, atom_virial;
  dp.compute(energy, force, virial, atom_energy, atom_virial, s.coord, s.types, s.cell, 0, list, 0);
  dp.compute(energy, force, virial, atom_energy, atom_virial, s.coord, s.types, s.cell, 0, list, 3);
  double total = 0;
  for (const double e : atom_energy) total += e;
  if (total - energy > 1e-9 || energy - total > 1e-9) return 3;
  print(energy, force, virial);
}
