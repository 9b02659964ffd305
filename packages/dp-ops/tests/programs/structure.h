// What the programs in C++ read from standard input: number of atoms, types, cell (or 0), coordinates.
#pragma once

#include <cstdio>
#include <iostream>
#include <vector>

struct Structure {
  std::vector<int> types;
  std::vector<double> cell, coord;
};

inline Structure read_structure() {
  Structure s;
  std::size_t n = 0, cell = 0;
  std::cin >> n;
  s.types.resize(n);
  for (int& t : s.types) std::cin >> t;
  std::cin >> cell;
  s.cell.resize(cell);
  for (double& x : s.cell) std::cin >> x;
  s.coord.resize(3 * n);
  for (double& x : s.coord) std::cin >> x;
  return s;
}

template <class T>
void print(double energy, const std::vector<T>& force, const std::vector<T>& virial) {
  std::printf("RESULT %.17g", energy);
  for (const T x : force) std::printf(" %.17g", static_cast<double>(x));
  for (const T x : virial) std::printf(" %.17g", static_cast<double>(x));
  std::printf("\n");
}
