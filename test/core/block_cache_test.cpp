#include "core/block_cache.h"

#include <cstring>

#include "expect.h"

using steadytune::BlockCache;

namespace {

constexpr size_t mebibyte = size_t{1} << 20;

}  // namespace

TEST("a step that asks for what the one before has given back maps nothing, whatever the batch's size") {
  BlockCache cache;
  const auto step = [&](size_t tokens) {
    std::vector<c10::DataPtr> buffers;
    for (const size_t width : {384, 1152, 384, 1536, 384}) {
      buffers.push_back(cache.allocate(tokens * width * 4));
      std::memset(buffers.back().get(), 1, tokens * width * 4);
    }
  };
  step(2600);
  step(1500);
  const int64_t mapped = cache.mapped();
  for (size_t tokens = 1301; tokens <= 2600; tokens += 97) step(tokens);
  EXPECT(cache.mapped() == mapped);
}

TEST("blocks are aligned, apart from each other, and keep what is written into them") {
  BlockCache cache;
  std::vector<c10::DataPtr> blocks;
  for (const size_t bytes : {size_t{1}, size_t{63}, size_t{65536}, mebibyte - 64, mebibyte, 3 * mebibyte}) {
    blocks.push_back(cache.allocate(bytes));
    EXPECT(reinterpret_cast<uintptr_t>(blocks.back().get()) % 64 == 0);
    std::memset(blocks.back().get(), static_cast<int>(blocks.size()), bytes);
  }
  for (size_t i = 0; i < blocks.size(); ++i) EXPECT(*static_cast<char*>(blocks[i].get()) == static_cast<char>(i + 1));
}

TEST("release gives back what nobody uses, and leaves what is in use") {
  BlockCache cache;
  c10::DataPtr kept = cache.allocate(mebibyte);
  std::memset(kept.get(), 7, mebibyte);
  cache.allocate(mebibyte).clear();
  cache.release();
  const int64_t mapped = cache.mapped();
  const c10::DataPtr fresh = cache.allocate(mebibyte);
  EXPECT(cache.mapped() == mapped + 1);
  EXPECT(static_cast<char*>(kept.get())[mebibyte - 1] == 7);
}

TEST("what cannot be had is refused as memory that ran out, and the cache goes on") {
  BlockCache cache;
  for (const size_t bytes : {size_t{1} << 47, SIZE_MAX - 8}) {
    bool refused = false;
    try {
      cache.allocate(bytes);
    } catch (const std::bad_alloc&) {
      refused = true;
    }
    EXPECT(refused);
  }
  EXPECT(cache.allocate(mebibyte).get() != nullptr);
}
