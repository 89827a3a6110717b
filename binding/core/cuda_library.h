#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/table.h"

namespace steadytune {

/// Opens libtorch's CUDA half and then the project's kernels for it, by absolute path; a second call does nothing. To
/// be called before anything asks libtorch for CUDA: it looks for its CUDA half once, and remembers that there was
/// none. Throws ERR_CUDA_KERNELS with the loader's reason, or where the kernels' table has another version.
void open_cuda(const std::string& libtorch_cuda, const std::string& kernels);

bool cuda_is_open();

/// Throws ERR_CUDA_KERNELS where it is not open.
const SteadytuneCudaTable& cuda_table();

/// The devices that this process may use; none where CUDA is not open or has no driver.
std::vector<SteadytuneCudaDevice> cuda_devices();

/// Throws what a function of the table has told of.
void check_cuda(const char* told);

}  // namespace steadytune
