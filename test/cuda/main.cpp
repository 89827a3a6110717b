#include <dlfcn.h>

#include <cstdio>

#include "../core/expect.h"
#include "operators.h"

// Compares the CUDA kernels with the CPU's:
//   cuda_kernels_test libcuda_kernels_emulated.so                       in the emulator, without a GPU
//   cuda_kernels_test .../libtorch_cuda.so .../libsteadytune_cuda.so    on the GPU

namespace kernels {

SetOrder set_order = nullptr;

}  // namespace kernels

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "usage: %s LIBRARY...\n", arguments[0]);
    return 2;
  }
  void* library = nullptr;
  for (int i = 1; i < count; ++i) {
    library = dlopen(arguments[i], RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    if (library == nullptr) {
      std::fprintf(stderr, "%s\n", dlerror());
      return 2;
    }
  }
  kernels::set_order = reinterpret_cast<kernels::SetOrder>(dlsym(library, "emulator_set_order"));
  std::printf("%s\n", kernels::set_order == nullptr ? "on the GPU" : "in the emulator");
  return expect::run_all();
}
