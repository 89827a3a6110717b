// Libraries that are not libsteadytune_cuda: one without its table, and one whose table has a version of long ago.
#include "kernels/cuda/table.h"

#ifdef STEADYTUNE_FAKE_TABLE
extern "C" __attribute__((visibility("default"))) const SteadytuneCudaTable* steadytune_cuda_table(int32_t version) {
  static const SteadytuneCudaTable table{};
  return version == -1 ? &table : nullptr;
}
#endif
