#include "core/zero_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "core/error.h"

namespace steadytune {
namespace {

bool all_zero(const float* values, int64_t count) {
  // Bits, not numbers: a negative zero must arrive as one.
  return std::all_of(values, values + count, [](const float& value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits == 0;
  });
}

}  // namespace

at::Tensor zero_pages(int64_t elements, at::ScalarType dtype) {
  const size_t bytes = std::max<size_t>(1, static_cast<size_t>(elements) * c10::elementSize(dtype));
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return at::from_blob(memory, {elements}, [bytes](void* begin) { munmap(begin, bytes); }, at::TensorOptions(dtype));
}

void zero_again(const at::Tensor& part) {
  static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  auto* const begin = static_cast<char*>(part.mutable_data_ptr());
  char* const end = begin + part.nbytes();
  // Pages that lie wholly inside; others may belong to a neighbour as well.
  auto* const first = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page);
  auto* const last = reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(end) / page * page);
  if (first >= last) {
    std::fill(begin, end, char{0});
    return;
  }
  std::fill(begin, first, char{0});
  std::fill(last, end, char{0});
  if (madvise(first, static_cast<size_t>(last - first), MADV_DONTNEED) != 0) {
    throw Error("ERR_INTERNAL", std::string("memory could not be given back: ") + std::strerror(errno));
  }
}

void copy_to_pages(float* pages, const float* values, int64_t count) {
  constexpr int64_t block = 1024;
  for (int64_t begin = 0; begin < count; begin += block) {
    const int64_t size = std::min(block, count - begin);
    if (all_zero(values + begin, size) && all_zero(pages + begin, size)) continue;
    std::copy_n(values + begin, size, pages + begin);
  }
}

}  // namespace steadytune
