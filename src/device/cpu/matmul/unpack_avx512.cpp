#include <immintrin.h>

#include <cstring>

#include "base/check.h"
#include "device/cpu/matmul/matmul_kernels.h"

#include "device/cpu/matmul/target_begin_avx512.h"

#include "device/cpu/matmul/packed_reader_avx512.h"

namespace tandem::avx512 {
namespace {

template <ElementType kType>
void unpack_chunk(const std::byte* chunk, int num_blocks, PanelChunk& panel) {
  constexpr PackedTraits kTraits = packed_traits(kType);
  const ChunkReader<kType> reader(chunk, num_blocks);
  for (int b = 0; b < num_blocks; ++b) {
    __m512i quads[8];
    reader.levels(b, quads);
    for (int i = 0; i < 8; ++i) _mm512_store_si512(panel.levels[b][i], quads[i]);
  }
  for (int j = 0; j < num_blocks * 32 / kTraits.sub_block; ++j) {
    _mm512_store_ps(panel.scales[j], reader.scale(j));
  }
  if constexpr (kTraits.form == ScaleForm::kHalfWithMin) {
    for (int b = 0; b < num_blocks; ++b) _mm512_store_ps(panel.shifts[b], reader.shift(b));
  }
  if constexpr (kTraits.form == ScaleForm::kSuperWithMin) {
    for (int p = 0; p < kChunkColumns / kTraits.sub_block / 2; ++p) {
      _mm512_store_si512(panel.min_pairs[p], reader.min_pair(p));
    }
    _mm512_store_ps(panel.min_scale, reader.min_scale());
  }
}

}  // namespace

void unpack(ElementType type, const std::byte* chunk, int num_blocks, PanelChunk& panel) {
  with_type(type, [&]<ElementType kType>() { unpack_chunk<kType>(chunk, num_blocks, panel); });
}

}  // namespace tandem::avx512

#include "device/cpu/matmul/target_end.h"
