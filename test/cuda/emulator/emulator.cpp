#include "emulator.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <utility>
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

/// A copy that has begun: from null, of zeros.
struct Copy {
  const void* from;
  void* to;
};
constexpr size_t copy_bytes = 16;

struct Fiber {
  void* stack = nullptr;
  dim3 index;
  State state = State::runs;
  /// Exchanges that it has begun: neighbours use the other slot, so that none overwrites what another has not read.
  unsigned exchanges = 0;
  std::vector<Copy> copies{};
};

struct Slot {
  alignas(16) std::array<unsigned char, 32> bytes;
};

Order order = Order::ascending;
std::vector<Fiber> fibers;
Fiber* running = nullptr;
void* scheduler = nullptr;
const std::function<void()>* body = nullptr;
std::array<std::array<Slot, most_threads>, 2> slots;
std::map<const void*, size_t> granted;
/// What a fiber did that CUDA forbids. The scheduler throws it, since nothing can be thrown off a fiber's stack.
const char* misuse = nullptr;

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
  fibers[number] = {top,
                    {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)},
                    State::runs,
                    0,
                    {}};
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
    if (misuse != nullptr) throw std::runtime_error(std::exchange(misuse, nullptr));
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

/// Gives `bytes` of a value to the warp and waits for all of its lanes. What lane l gave is then in slot l of those
/// that are returned, until this lane's next exchange but one.
const Slot* share(const void* mine, size_t bytes) {
  const unsigned exchange = running->exchanges++;
  std::memcpy(slot_of(number_of(*running), exchange).bytes.data(), mine, bytes);
  leave(State::waits_for_warp);
  return &slot_of(first_of_warp(), exchange);
}

/// As share, for instructions that need all lanes of a warp to exist.
template <typename Value>
std::array<Value, warp_size> gather(const Value& mine) {
  static_assert(sizeof(Value) <= sizeof(Slot::bytes));
  if (first_of_warp() + warp_size > fibers.size()) misuse = "a matrix instruction in a warp that lacks lanes";
  const Slot* given = share(&mine, sizeof mine);
  std::array<Value, warp_size> all;
  for (size_t i = 0; i < warp_size; ++i) std::memcpy(&all[i], given[i].bytes.data(), sizeof mine);
  return all;
}

/// The two bfloat16 elements of a word.
std::array<float, 2> elements_of(uint32_t word) {
  return {__uint_as_float(word << 16), __uint_as_float(word & 0xFFFF0000u)};
}

}  // namespace

void set_order(Order wanted) { order = wanted; }

void wait_for_block() { leave(State::waits_for_block); }

int lane() { return static_cast<int>(number_of(*running) % warp_size); }

void exchange(const void* mine, void* taken, size_t bytes, int source) {
  const Slot* given = share(mine, bytes);
  // Lanes that a short last warp lacks have nothing to give.
  if (first_of_warp() + static_cast<size_t>(source) < fibers.size()) {
    std::memcpy(taken, given[source].bytes.data(), bytes);
  }
}

unsigned vote(bool mine) {
  const unsigned char mark = mine ? 1 : 0;
  const Slot* given = share(&mark, sizeof mark);
  unsigned votes = 0;
  for (size_t i = 0; i < warp_size && first_of_warp() + i < fibers.size(); ++i) {
    votes |= static_cast<unsigned>(given[i].bytes[0]) << i;
  }
  return votes;
}

// Both by the layouts in the PTX ISA, "Matrix fragments for mma.m16n8k16" and "ldmatrix". How a GPU orders and rounds
// the sum of a product is not documented: here it is one float32 addition after the other.
void multiply_matrices(float (&sum)[4], const uint32_t (&left)[4], uint32_t right0, uint32_t right1) {
  struct Factors {
    std::array<uint32_t, 4> left;
    std::array<uint32_t, 2> right;
  };
  const auto given = gather(Factors{{left[0], left[1], left[2], left[3]}, {right0, right1}});
  const int group = lane() / 4;
  for (int i = 0; i < 4; ++i) {
    const int lower = i / 2;
    const int column = lane() % 4 * 2 + i % 2;
    for (int half = 0; half < 2; ++half) {
      for (int k = 0; k < 4; ++k) {
        const auto a = elements_of(given[group * 4 + k].left[lower + 2 * half]);
        const auto b = elements_of(given[column * 4 + k].right[half]);
        sum[i] += a[0] * b[0];
        sum[i] += a[1] * b[1];
      }
    }
  }
}

void load_matrices(const void* row, bool transposed, uint32_t (&words)[4]) {
  using Row = std::array<uint16_t, 8>;
  if (reinterpret_cast<uintptr_t>(row) % sizeof(Row) != 0)
    misuse = "a row of a matrix begins at no boundary of 16 bytes";
  Row mine;
  std::memcpy(&mine, row, sizeof mine);
  const auto rows = gather(mine);
  const int group = lane() / 4;
  const int pair = lane() % 4 * 2;
  for (int matrix = 0; matrix < 4; ++matrix) {
    const auto at = [&](int line, int column) { return static_cast<uint32_t>(rows[matrix * 8 + line][column]); };
    words[matrix] =
        transposed ? at(pair, group) | at(pair + 1, group) << 16 : at(group, pair) | at(group, pair + 1) << 16;
  }
}

void copy_async(const void* from, bool exists, void* to) {
  if ((exists && reinterpret_cast<uintptr_t>(from) % copy_bytes != 0) ||
      reinterpret_cast<uintptr_t>(to) % copy_bytes != 0) {
    misuse = "an asynchronous copy begins or ends at no boundary of 16 bytes";
    return;
  }
  running->copies.push_back({exists ? from : nullptr, to});
}

void wait_for_copies() {
  for (const Copy& copy : running->copies) {
    if (copy.from == nullptr) {
      std::memset(copy.to, 0, copy_bytes);
    } else {
      std::memcpy(copy.to, copy.from, copy_bytes);
    }
  }
  running->copies.clear();
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
