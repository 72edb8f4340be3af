#pragma once

#include <string_view>

namespace tandem {

// tandem_add(mine, theirs, out, copy, first, count): out[i] = copy[i] = mine[i] + theirs[i] for
// first <= i < first + count, float32, one thread a value. `theirs` and `copy` may lie in another
// card's memory: the thread then loads and stores across the link, which is what a reduction does
// and a copy engine does not.
//
// PTX for sm_50 (Maxwell), which the driver compiles for whatever card is there (PTX ISA, "Target
// ISA": code for a target runs on every later one); so neither the build nor the machine needs a
// CUDA toolkit.
inline constexpr const char* kReductionKernelName = "tandem_add";
inline constexpr const char* kReductionPtx = R"ptx(.version 6.0
.target sm_50
.address_size 64

.visible .entry tandem_add(
  .param .u64 p_mine,
  .param .u64 p_theirs,
  .param .u64 p_out,
  .param .u64 p_copy,
  .param .u32 p_first,
  .param .u32 p_count
)
{
  .reg .pred %p<2>;
  .reg .b32 %r<8>;
  .reg .f32 %f<4>;
  .reg .b64 %rd<10>;

  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %ntid.x;
  mov.u32 %r3, %tid.x;
  mad.lo.s32 %r4, %r1, %r2, %r3;
  ld.param.u32 %r5, [p_count];
  setp.ge.u32 %p1, %r4, %r5;
  @%p1 bra DONE;
  ld.param.u32 %r6, [p_first];
  ld.param.u64 %rd1, [p_mine];
  ld.param.u64 %rd2, [p_theirs];
  ld.param.u64 %rd3, [p_out];
  ld.param.u64 %rd4, [p_copy];
  add.s32 %r7, %r4, %r6;
  mul.wide.u32 %rd5, %r7, 4;
  add.s64 %rd6, %rd1, %rd5;
  add.s64 %rd7, %rd2, %rd5;
  add.s64 %rd8, %rd3, %rd5;
  add.s64 %rd9, %rd4, %rd5;
  ld.global.f32 %f1, [%rd6];
  ld.global.f32 %f2, [%rd7];
  add.rn.f32 %f3, %f1, %f2;
  st.global.f32 [%rd8], %f3;
  st.global.f32 [%rd9], %f3;
DONE:
  ret;
}
)ptx";

}  // namespace tandem
