#pragma once

/// Runs CUDA kernels on the CPU, one block after the other, with a fiber for each thread. A fiber runs until it waits
/// for its warp or its block, so what a kernel may not rely on is what the order decides; run in both orders, a kernel
/// that lacks a barrier gives other results. Shared memory of dynamic size begins as NaN in every block. A grid that
/// CUDA would refuse is refused, and a barrier that not all threads reach is an error.
namespace emulator {

/// The order in which blocks, warps and lanes take turns.
enum class Order { ascending, descending };

void set_order(Order order);

}  // namespace emulator

/// The same for who opens the emulator as a library.
extern "C" __attribute__((visibility("default"))) void emulator_set_order(bool ascending);
