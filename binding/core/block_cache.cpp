#include "core/block_cache.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>

namespace steadytune {
namespace {

/// Wide enough for every vector, and a cache line.
constexpr size_t block_alignment = 64;
/// Smaller ones are malloc's business.
constexpr size_t smallest_block = size_t{1} << 16;

}  // namespace

/// Stands in front of the data.
struct alignas(block_alignment) BlockCache::Header {
  /// Null for a small block.
  BlockCache* owner;
  /// The block has 2^size_class bytes, with the header.
  size_t size_class;

  void* data() { return this + 1; }
  static Header* of(void* data) { return static_cast<Header*>(data) - 1; }
};

BlockCache& BlockCache::install() {
  // Never destroyed: tensors may outlive everything else in the process.
  static BlockCache& cache = *new BlockCache();
  c10::SetCPUAllocator(&cache);
  return cache;
}

void BlockCache::release_installed() {
  if (auto* cache = dynamic_cast<BlockCache*>(c10::GetCPUAllocator())) cache->release();
}

c10::DataPtr BlockCache::allocate(size_t bytes) {
  const c10::Device cpu(c10::DeviceType::CPU);
  if (bytes == 0) return {nullptr, nullptr, &give_back, cpu};
  const size_t whole = bytes + sizeof(Header);
  if (whole < bytes) throw std::bad_alloc();
  Header* block;
  if (whole < smallest_block) {
    void* memory =
        std::aligned_alloc(block_alignment, (whole + block_alignment - 1) / block_alignment * block_alignment);
    if (memory == nullptr) throw std::bad_alloc();
    block = new (memory) Header{nullptr, 0};
  } else {
    const size_t size_class = std::bit_width(whole - 1);
    if (size_class >= classes) throw std::bad_alloc();
    block = take(size_class);
  }
  return {block->data(), block->data(), &give_back, cpu};
}

c10::DeleterFnPtr BlockCache::raw_deleter() const { return &give_back; }

void BlockCache::copy_data(void* target, const void* source, size_t bytes) const {
  default_copy_data(target, source, bytes);
}

void BlockCache::give_back(void* data) {
  if (data == nullptr) return;
  Header* block = Header::of(data);
  if (block->owner == nullptr) {
    std::free(block);
  } else {
    block->owner->keep(block);
  }
}

void BlockCache::keep(Header* block) {
  const std::lock_guard lock(mutex_);
  free_[block->size_class].push_back(block);
}

BlockCache::Header* BlockCache::take(size_t size_class) {
  const std::lock_guard lock(mutex_);
  // A block of the next size first: that of a larger batch, which will come again. Its own size then stays free, and
  // goes when another of the larger one is mapped.
  for (const size_t candidate : {size_class + 1, size_class}) {
    if (candidate >= classes || free_[candidate].empty()) continue;
    Header* block = free_[candidate].back();
    free_[candidate].pop_back();
    return block;
  }
  return map(size_class);
}

BlockCache::Header* BlockCache::map(size_t size_class) {
  std::vector<Header*>& smaller = free_[size_class - 1];
  if (!smaller.empty()) {
    munmap(smaller.back(), size_t{1} << smaller.back()->size_class);
    smaller.pop_back();
  }
  void* memory = mmap(nullptr, size_t{1} << size_class, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  ++mapped_;
  return new (memory) Header{this, size_class};
}

void BlockCache::release() {
  const std::lock_guard lock(mutex_);
  for (std::vector<Header*>& list : free_) {
    for (Header* block : list) munmap(block, size_t{1} << block->size_class);
    list.clear();
  }
}

int64_t BlockCache::mapped() const {
  const std::lock_guard lock(mutex_);
  return mapped_;
}

}  // namespace steadytune
