#pragma once

#include <filesystem>

#include "base/result.h"
#include "machine/survey.h"

namespace tandem {

// How much of a recording is read. What lies beyond is named in Survey::sources.
struct RecordingLimits {
  std::size_t file_bytes = 64u << 20;
  std::size_t total_bytes = 128u << 20;
  std::size_t files = 20000;
  double seconds = 6;  // for finding, reading and comparing; one file more may follow
};

// Reads a folder of recordings of one machine (or a single file): finds out by content what each
// file is, however it is named. Follows no symbolic links except inside a recorded /sys tree, and
// opens regular files only. Errors: nothing there, nothing known there, or files of two machines.
// A file that is known but damaged is left out and named in Survey::sources.
Result<Survey> read_recording_folder(const std::filesystem::path& path,
                                     const RecordingLimits& limits = {});

}  // namespace tandem
