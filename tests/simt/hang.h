#pragma once

namespace simt {

// GPUs that hang. Thread-safe.

// What a stream of `device` executes after `after` others does not begin, and neither does anything
// that the device's streams execute later, until release_hangs().
void inject_hang(int device, int after);
void release_hangs();

}  // namespace simt
