#pragma once

#include <c10/core/Allocator.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace steadytune {

/// libtorch's memory on the CPU, kept from step to step: a step asks for the same few hundred buffers as the one before
/// it, only longer or shorter by the tokens of its batch. Large blocks are mapped by powers of two, of which no more is
/// ever in memory than was written to, and go back to a list instead of to the system. So once the largest batch has
/// been seen, no step maps anything: the plan of memory that a list of all buffers would give, without the list.
class BlockCache final : public c10::Allocator {
 public:
  BlockCache() = default;
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  /// Makes the process's one cache libtorch's allocator. Blocks of the allocator before it go back to that one.
  static BlockCache& install();

  c10::DataPtr allocate(size_t bytes) override;
  c10::DeleterFnPtr raw_deleter() const override;
  void copy_data(void* target, const void* source, size_t bytes) const override;

  /// Gives the blocks that nobody uses back to the system.
  void release();
  /// The same for the installed cache, where there is one.
  static void release_installed();

  /// Blocks mapped since the beginning.
  int64_t mapped() const;

 private:
  struct Header;
  static constexpr size_t classes = 48;

  static void give_back(void* data);
  void keep(Header* block);
  Header* take(size_t size_class);
  Header* map(size_t size_class);

  mutable std::mutex mutex_;
  std::array<std::vector<Header*>, classes> free_;
  int64_t mapped_ = 0;
};

}  // namespace steadytune
