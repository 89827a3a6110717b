#include "emulator.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <vector>

#include "cuda_runtime.h"
#include "kernels/cuda/stream.h"

// Saves the registers that a function must keep, and the stack, and goes on with another stack.
extern "C" void emulator_switch(void** save, void* load);
asm(R"(
  .text
  .globl emulator_switch
  .type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size emulator_switch, .-emulator_switch
)");

/// What sm_80 grants a block that asks: 163 KB.
constexpr size_t most_shared_bytes = 163 * 1024;
thread_local float4 steadytune_shared_memory[most_shared_bytes / sizeof(float4)];

namespace steadytune::kernels::cuda {

// In the place of stream.cpp: tensors of the tests lie on the CPU.
cudaStream_t current_stream(c10::Device) { return nullptr; }

}  // namespace steadytune::kernels::cuda

dim3 threadIdx;
dim3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace emulator {
namespace {

constexpr size_t stack_bytes = 64 * 1024;
constexpr size_t most_threads = 1024;
constexpr size_t unasked_shared_bytes = 48 * 1024;

enum class State { runs, waits_for_warp, waits_for_block, done };

struct Fiber {
  void* stack = nullptr;
  dim3 index;
  State state = State::runs;
  /// Exchanges that it has begun: neighbours use the other slot, so that none overwrites what another has not read.
  unsigned exchanges = 0;
};

struct Slot {
  alignas(16) std::array<unsigned char, 16> bytes;
};

Order order = Order::ascending;
std::vector<Fiber> fibers;
Fiber* running = nullptr;
void* scheduler = nullptr;
const std::function<void()>* body = nullptr;
std::array<std::array<Slot, most_threads>, 2> slots;
std::map<const void*, size_t> granted;

char* stacks() {
  static char* const memory = [] {
    void* mapped = mmap(nullptr, stack_bytes * most_threads, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) throw std::runtime_error("the emulator has no memory for stacks");
    return static_cast<char*>(mapped);
  }();
  return memory;
}

void leave(State state) {
  running->state = state;
  emulator_switch(&running->stack, scheduler);
}

void enter() {
  (*body)();
  leave(State::done);
  __builtin_unreachable();
}

void prepare(size_t number) {
  auto* top = reinterpret_cast<void**>(stacks() + (number + 1) * stack_bytes);
  // As after a call: the stack is aligned but for the return address of the function that is entered.
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&enter);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  const auto thread = static_cast<unsigned>(number);
  fibers[number] = {
      top, {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)}, State::runs, 0};
}

/// Calls visit(i) for 0 .. count - 1 in the order that is set.
template <typename Visit>
void in_order(size_t count, Visit visit) {
  for (size_t i = 0; i < count; ++i) visit(order == Order::ascending ? i : count - 1 - i);
}

bool all(size_t begin, size_t end, State state) {
  return std::all_of(fibers.begin() + begin, fibers.begin() + end,
                     [=](const Fiber& fiber) { return fiber.state == state; });
}

/// Until all of its lanes wait for the block or are done.
void run_warp(size_t begin, size_t end) {
  if (all(begin, end, State::done)) return;
  do {
    in_order(end - begin, [=](size_t lane) {
      running = &fibers[begin + lane];
      if (running->state == State::done) return;
      running->state = State::runs;
      threadIdx = running->index;
      emulator_switch(&scheduler, running->stack);
    });
  } while (all(begin, end, State::waits_for_warp));
  const bool waits = std::any_of(fibers.begin() + begin, fibers.begin() + end,
                                 [](const Fiber& fiber) { return fiber.state == State::waits_for_warp; });
  if (waits) throw std::runtime_error("not all lanes of a warp take part in an exchange");
}

void run_block(size_t shared_bytes) {
  std::memset(static_cast<void*>(steadytune_shared_memory), 0xFF, shared_bytes);
  const size_t threads = fibers.size();
  for (size_t i = 0; i < threads; ++i) prepare(i);
  const size_t warps = (threads + warp_size - 1) / warp_size;
  while (!all(0, threads, State::done)) {
    in_order(warps,
             [=](size_t warp) { run_warp(warp * warp_size, std::min<size_t>(threads, (warp + 1) * warp_size)); });
    const auto left =
        std::count_if(fibers.begin(), fibers.end(), [](const Fiber& fiber) { return fiber.state == State::done; });
    if (left != 0 && static_cast<size_t>(left) != threads) {
      throw std::runtime_error("threads end while others of their block wait at a barrier");
    }
  }
}

size_t number_of(const Fiber& fiber) { return static_cast<size_t>(&fiber - fibers.data()); }

Slot& slot_of(size_t thread, unsigned exchange) { return slots[exchange % 2][thread]; }

size_t first_of_warp() { return number_of(*running) / warp_size * warp_size; }

}  // namespace

void set_order(Order wanted) { order = wanted; }

void wait_for_block() { leave(State::waits_for_block); }

int lane() { return static_cast<int>(number_of(*running) % warp_size); }

void exchange(const void* mine, void* taken, size_t bytes, int source) {
  const unsigned exchange = running->exchanges++;
  std::memcpy(slot_of(number_of(*running), exchange).bytes.data(), mine, bytes);
  leave(State::waits_for_warp);
  const size_t from = first_of_warp() + static_cast<size_t>(source);
  // Lanes that a short last warp lacks have nothing to give.
  if (from < fibers.size()) std::memcpy(taken, slot_of(from, exchange).bytes.data(), bytes);
}

unsigned vote(bool mine) {
  const unsigned exchange = running->exchanges++;
  slot_of(number_of(*running), exchange).bytes[0] = mine ? 1 : 0;
  leave(State::waits_for_warp);
  unsigned votes = 0;
  for (size_t i = 0; i < warp_size && first_of_warp() + i < fibers.size(); ++i) {
    votes |= static_cast<unsigned>(slot_of(first_of_warp() + i, exchange).bytes[0]) << i;
  }
  return votes;
}

cudaError_t run(const cudaLaunchConfig_t& config, const void* kernel, const std::function<void()>& thread) {
  const dim3& grid = config.gridDim;
  const dim3& block = config.blockDim;
  const size_t threads = static_cast<size_t>(block.x) * block.y * block.z;
  constexpr unsigned most_blocks = 65535;
  if (threads == 0 || threads > most_threads || grid.x == 0 || grid.x > INT32_MAX || grid.y == 0 ||
      grid.y > most_blocks || grid.z == 0 || grid.z > most_blocks) {
    return cudaErrorInvalidConfiguration;
  }
  const auto found = granted.find(kernel);
  if (config.dynamicSmemBytes > (found == granted.end() ? unasked_shared_bytes : found->second)) {
    return cudaErrorInvalidValue;
  }
  blockDim = block;
  gridDim = grid;
  fibers.assign(threads, {});
  body = &thread;
  in_order(static_cast<size_t>(grid.x) * grid.y * grid.z, [&](size_t number) {
    blockIdx = {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
                static_cast<unsigned>(number / grid.x / grid.y)};
    run_block(config.dynamicSmemBytes);
  });
  return cudaSuccess;
}

}  // namespace emulator

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<size_t>(value) > most_shared_bytes) return cudaErrorInvalidValue;
  emulator::granted[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}

void emulator_set_order(bool ascending) {
  emulator::set_order(ascending ? emulator::Order::ascending : emulator::Order::descending);
}
