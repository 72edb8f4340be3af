#pragma once

// Loops over arrays that must live in registers have to be unrolled; the emulation does not care.
#if defined(TANDEM_CUDA_EMULATED)
#define TANDEM_UNROLL
#define TANDEM_NO_UNROLL
#else
#define TANDEM_UNROLL _Pragma("unroll")
#define TANDEM_NO_UNROLL _Pragma("unroll 1")
#endif
