#include "expect.h"
#include "kernels/instruction_set.h"

int main() {
  std::printf("instruction set: %s\n", steadytune::kernels::instruction_set());
  return expect::run_all();
}
