// In the style of a mixed quantum and molecular mechanics program: a large cube as box, rows of ghosts in the list, which
// holds all atoms whatever their distance, atomic parameters of ghosts too, several models and their deviation. All atoms
// with an odd index are ghosts: they come last and have no energy of their own.
#include "deepmd/deepmd.hpp"
#include "structure.h"

int main(int argc, char** argv) {
  using namespace deepmd::hpp;
  const std::vector<std::string> names(argv + 1, argv + argc);
  DeepPot dp(names[0]);
  DeepPotModelDevi several(names);
  const Structure s = read_structure();
  const int n = static_cast<int>(s.types.size()), nlocal = (n + 1) / 2;
  std::vector<double> coord;
  std::vector<int> types, order;
  for (int odd = 0; odd < 2; ++odd) {
    for (int i = odd; i < n; i += 2) order.push_back(i);
  }
  for (const int i : order) {
    types.push_back(s.types[i]);
    coord.insert(coord.end(), s.coord.begin() + 3 * i, s.coord.begin() + 3 * i + 3);
  }
  std::vector<std::vector<int>> neighbors(n);
  for (int i = 0; i < n; ++i) {
    for (int j = n - 1; j >= 0; --j) {
      if (i != j) neighbors[i].push_back(j);
    }
  }
  std::vector<int> ilist(n), numneigh(n);
  std::vector<int*> firstneigh(n);
  InputNlist list(n, ilist.data(), numneigh.data(), firstneigh.data());
  convert_nlist(list, neighbors);
  const std::vector<double> box = {200, 0, 0, 0, 200, 0, 0, 0, 200};
  const std::vector<double> fparam(dp.dim_fparam(), 0.5), aparam(static_cast<std::size_t>(n) * dp.dim_aparam(), 0.25);
  double energy = 0;
  std::vector<double> force, virial, energies;
  dp.compute(energy, force, virial, coord, types, box, n - nlocal, list, 0, fparam, aparam);
  std::vector<std::vector<double>> forces, virials;
  several.compute(energies, forces, virials, coord, types, box, n - nlocal, list, 0, fparam, aparam);
  std::vector<double> mean, deviation;
  several.compute_avg(mean, forces);
  several.compute_std_f(deviation, mean, forces);
  if (energies.size() != names.size() || energies[0] != energy || forces[0] != force) return 2;
  if (static_cast<int>(deviation.size()) != n) return 3;
  std::vector<double> back(force);
  for (int k = 0; k < n; ++k) {
    for (int a = 0; a < 3; ++a) back[3 * order[k] + a] = force[3 * k + a];
  }
  print(energy, back, virial);
  print(0.0, deviation, std::vector<double>());
}
