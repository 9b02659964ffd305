// In the style of a program that goes on with another file where one cannot be used.
#include <cstdio>

#include "deepmd/deepmd.hpp"

int main(int argc, char** argv) {
  for (int k = 1; k < argc; ++k) {
    try {
      deepmd::hpp::DeepPot model(argv[k]);
      std::printf("CUTOFF %.17g\n", model.cutoff());
    } catch (const deepmd::hpp::deepmd_exception& error) {
      std::printf("REFUSED %s\n", error.what());
    }
  }
}
