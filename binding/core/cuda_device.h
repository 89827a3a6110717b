#pragma once

#include <memory>

#include "core/device.h"

namespace steadytune {

/// The first GPU that CUDA_VISIBLE_DEVICES shows, through libtorch's device-neutral interface and the table of
/// libsteadytune_cuda: no CUDA header is needed here.
std::unique_ptr<Device> make_cuda_device();

}  // namespace steadytune
