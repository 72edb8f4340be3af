#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "base/result.h"
#include "model/file_type.h"
#include "model/known_shapes.h"

namespace tandem {

struct SynthOptions {
  KnownShape shape;
  FileType type = FileType::kQ4_K_M;
  bool pure = false;       // all matrices of one type
  std::uint64_t seed = 0;  // the same seed gives the same file
  // A GGUF file whose tokenizer is copied; none: a synthetic one.
  std::optional<std::filesystem::path> tokenizer_from;
  // Called now and then with bytes written and bytes in all; may be empty.
  std::function<void(std::int64_t done_bytes, std::int64_t total_bytes)> progress;
};

struct SynthReport {
  ModelSpec spec;  // of what was written
  std::int64_t file_bytes = 0;
};

// Writes a valid GGUF file with random weights, for benchmarks and tests where no weights may be
// had. Blocks; writes as fast as the disk takes it. Errors: kInvalidArgument or kMalformed for a
// tokenizer that does not fit the shape, kIo where the disk is full or would be.
Result<SynthReport> synthesise_model(const SynthOptions& options,
                                     const std::filesystem::path& output);

}  // namespace tandem
