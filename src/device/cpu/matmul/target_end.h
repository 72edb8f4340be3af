// No guard: see target_begin_avx512.h.
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
