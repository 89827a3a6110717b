#pragma once

namespace steadytune {

/// How the blocks are computed: with everything between matrix products fused and the backward written out, or by plain
/// ATen operators and autograd, which the first is compared with.
enum class Form { fused, reference };

}  // namespace steadytune
