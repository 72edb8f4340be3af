// No guard: included once by each file of AVX-512 kernels after all other headers, so that only the
// kernels are compiled for it and the program runs on any x86-64. target_end.h closes it.
#ifdef __clang__
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,avx2,f16c")
#endif
