// In the style of a force of a molecular dynamics library: the model opened later, from bytes; no neighbours, open
// boundaries as an empty box; and the same once more in single precision with what is of each atom.
#include "deepmd/deepmd.hpp"
#include "structure.h"

int main(int, char** argv) {
  using deepmd::hpp::DeepPot;
  std::string content;
  deepmd::hpp::read_file_to_string(argv[1], content);
  DeepPot dp;
  dp.init(argv[1], 0, content);
  if (!(dp.cutoff() > 0) || dp.numb_types() < 1) return 2;
  Structure s = read_structure();
  double energy = 0;
  std::vector<double> force, virial;
  dp.compute(energy, force, virial, s.coord, s.types, s.cell);
  print(energy, force, virial);

  const std::vector<float> coord(s.coord.begin(), s.coord.end()), box(s.cell.begin(), s.cell.end());
  std::vector<float> force4, virial4, atom_energy, atom_virial;
  dp.compute(energy, force4, virial4, atom_energy, atom_virial, coord, s.types, box);
  if (atom_energy.size() != s.types.size() || atom_virial.size() != 9 * s.types.size()) return 3;
  print(energy, force4, virial4);

  std::vector<double> energies;
  std::vector<double> twice(s.coord), boxes(s.cell);
  twice.insert(twice.end(), s.coord.begin(), s.coord.end());
  boxes.insert(boxes.end(), s.cell.begin(), s.cell.end());
  dp.compute(energies, force, virial, twice, s.types, boxes);
  if (energies.size() != 2 || energies[0] != energies[1]) return 4;

  try {
    DeepPot missing("no/such.dp");
    return 5;
  } catch (const deepmd::hpp::deepmd_exception& error) {
    std::printf("%s\n", error.what());
  }
  DeepPot second;
  try {
    second.init("no/such.dp");
    return 7;
  } catch (const deepmd::hpp::deepmd_exception&) {
    second.init(argv[1]);
  }
  if (second.cutoff() != dp.cutoff()) return 8;
  try {
    dp.compute(energy, force, virial, s.coord, s.types, std::vector<double>(7));
    return 6;
  } catch (const std::runtime_error& error) {
    std::printf("%s\n", error.what());
  }
}
